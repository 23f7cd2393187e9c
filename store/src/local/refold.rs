//! Writing what a refold makes: chunks of windows and members arrive one by one, each sorted here, and
//! leave as one segment of each kind. Chunks come in the order at rest, so nothing waits for another.

use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use weir_meter::segment::{Coverage, Generations, NewSegment, SegmentKind};
use weir_meter::{Generation, Namespace, SegmentId, WriterId};

use super::write::{Made, SegmentWriter};
use super::{Shared, blocking};
use crate::convert::{
    MemberRow, WindowRow, chunks_by_text, member_rows_in_order, members_to_batch, window_rows_in_order,
    windows_to_batch,
};
use crate::{StoreError, WindowChunk, WindowChunks, schema};

/// Each of the two files may hold this part of maintenance's memory.
const GROUP_SHARE: usize = 32;

/// What is sent to the thread that writes. Only after `End` is a file whole: a stream that breaks off
/// just ends.
enum Sent {
    /// With what is dropped once it is written.
    Chunk(WindowChunk, oneshot::Sender<()>),
    End,
}

/// On any error nothing is left of what was written. A chunk is taken only once the one before is written:
/// they may be large.
pub(super) async fn write(
    shared: Arc<Shared>,
    writer: WriterId,
    coverage: Coverage,
    ids: [(SegmentKind, SegmentId); 2],
    mut chunks: WindowChunks,
) -> Result<Vec<NewSegment>, StoreError> {
    let (sender, mut receiver) = mpsc::channel(1);
    let sending = async move {
        while let Some(chunk) = chunks.next().await {
            let (being_written, written) = oneshot::channel();
            if sender.send(Sent::Chunk(chunk?, being_written)).await.is_err() {
                // The writer failed, and says why.
                return Ok(());
            }
            // Nothing is ever sent: this ends when the other side is dropped.
            let _ = written.await;
        }
        let _ = sender.send(Sent::End).await;
        Ok::<(), StoreError>(())
    };
    let writing = blocking("writing windows", move || {
        let mut files = Files::new(&shared, writer, coverage, ids);
        loop {
            match receiver.blocking_recv() {
                Some(Sent::Chunk(chunk, being_written)) => {
                    files.add(&chunk)?;
                    drop((chunk, being_written));
                }
                Some(Sent::End) => return files.finish(),
                None => return Err(StoreError::Stopped),
            }
        }
    });
    let (sent, written) = tokio::join!(sending, writing);
    sent?;
    written.map(Made::keep)
}

struct Files<'s> {
    coverage: Coverage,
    windows: SegmentWriter<'s>,
    members: SegmentWriter<'s>,
    /// The last subject of the last chunk that had anything, and that subject's last window start.
    last: Option<(Namespace, Generation, Box<str>, i64)>,
}

impl<'s> Files<'s> {
    fn new(
        shared: &'s Shared,
        writer: WriterId,
        coverage: Coverage,
        [windows, members]: [(SegmentKind, SegmentId); 2],
    ) -> Self {
        let file = |(kind, id)| SegmentWriter::new(shared, writer, id, kind, coverage.clone());
        let (mut windows, mut members) = (file(windows), file(members));
        windows.set_group_bytes_max(shared.maintenance_memory_max / GROUP_SHARE);
        members.set_group_bytes_max(shared.maintenance_memory_max / GROUP_SHARE);
        Self { coverage, windows, members, last: None }
    }

    fn add(&mut self, chunk: &WindowChunk) -> Result<(), StoreError> {
        let (namespace, generation) = (&chunk.namespace, chunk.generation);
        let size = self.coverage.window_size_s;
        let windows: Vec<WindowRow<'_>> =
            window_rows_in_order(namespace, generation, size, &chunk.windows).collect();
        let members: Vec<MemberRow<'_>> =
            member_rows_in_order(namespace, generation, size, &chunk.windows).collect();
        let keys = || windows.iter().map(|row| row.key).chain(members.iter().map(|row| row.key));
        let size_us = i64::from(size).saturating_mul(1_000_000);
        if let Some(key) = keys().find(|key| key.start_us.checked_rem_euclid(size_us) != Some(0)) {
            return Err(wrong(chunk, &format!("a window of {size} s cannot begin at {} us", key.start_us)));
        }
        let firsts = windows.first().map(|row| row.key).into_iter().chain(members.first().map(|row| row.key));
        let lasts = windows.last().map(|row| row.key).into_iter().chain(members.last().map(|row| row.key));
        let first = firsts.map(|key| (key.subject, key.start_us)).min();
        let last = lasts.map(|key| (key.subject, key.start_us)).max();
        self.check_order(chunk, first)?;
        if let Some((subject, start_us)) = last {
            self.last = Some((namespace.clone(), generation, subject.into(), start_us));
        }
        let schema = schema::windows();
        for (rows, bytes) in chunks_by_text(&windows, |row| row.key.text_bytes()) {
            self.windows.push(&windows_to_batch(rows, &schema)?, bytes)?;
        }
        let schema = schema::members();
        for (rows, bytes) in chunks_by_text(&members, |row| row.key.text_bytes()) {
            self.members.push(&members_to_batch(rows, &schema)?, bytes)?;
        }
        Ok(())
    }

    fn check_order(&self, chunk: &WindowChunk, first: Option<(&str, i64)>) -> Result<(), StoreError> {
        let covered = match &self.coverage.generations {
            Generations::AllBut(except) => !except.contains(&chunk.generation),
            Generations::Only(list) => list.contains(&chunk.generation),
        };
        if !covered {
            return Err(wrong(chunk, "the coverage leaves this generation out"));
        }
        let (Some((subject, start_us)), Some((namespace, generation, last, last_us))) = (first, &self.last)
        else {
            return Ok(());
        };
        let this = (&chunk.namespace, chunk.generation);
        if this > (namespace, *generation)
            || (this == (namespace, *generation) && (subject, start_us) > (&**last, *last_us))
        {
            return Ok(());
        }
        Err(wrong(
            chunk,
            &format!(
                "subject {subject:?} at {start_us} us comes after subject {last:?} at {last_us} us of meter {} generation {} in namespace {namespace}",
                generation.meter, generation.generation
            ),
        ))
    }

    fn finish(self) -> Result<Made, StoreError> {
        let mut made = self.windows.finish()?;
        made.join(self.members.finish()?);
        Ok(made)
    }
}

fn wrong(chunk: &WindowChunk, what: &str) -> StoreError {
    StoreError::Inconsistent(format!(
        "windows of meter {} generation {} in namespace {}: {what}",
        chunk.generation.meter, chunk.generation.generation, chunk.namespace
    ))
}
