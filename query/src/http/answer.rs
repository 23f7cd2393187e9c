//! Answers on their way out. What an answer holds is counted until its last byte has left, and one that its
//! client does not read is thrown away: nobody can fill the memory of queries by not reading.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io, mem};

use axum::body::{Body, Bytes};
use futures::stream;
use http::HeaderValue;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::budget::Share;
use crate::error::QueryError;
use crate::metrics;
use crate::service::QueryService;

/// Bytes that are handed to a connection at a time. An answer that has no more is handed over whole.
const CHUNK_BYTES: usize = 64 << 10;
/// An answer as it is sent.
pub(super) struct Written<T> {
    /// What is left of it for the head of the response.
    pub(super) rest: T,
    pub(super) length: HeaderValue,
    pub(super) body: Body,
}

/// Writes an answer that `share` holds, on a thread of its own if it is a large one. `write` lets go of what
/// it has written and returns the rest.
pub(super) async fn written<T: Send + 'static>(
    service: &QueryService,
    share: Arc<Share>,
    is_large: bool,
    write: impl FnOnce(&mut Chunks) -> Result<T, QueryError> + Send + 'static,
) -> Result<Written<T>, QueryError> {
    let write = move || Chunks::new(share).filled(write);
    let (rest, chunks) = if is_large {
        spawn_blocking(write).await.map_err(|error| QueryError::internal("answer", error))??
    } else {
        write()?
    };
    let length = HeaderValue::from(chunks.bytes);
    let body = chunks.body(service.options.unread_wait);
    Ok(Written { rest, length, body })
}

/// Text in pieces that are given back one by one, taken from a share as it is written.
pub(super) struct Chunks {
    share: Arc<Share>,
    full: VecDeque<Bytes>,
    open: Vec<u8>,
    bytes: usize,
    /// Why nothing more was written.
    refused: Option<QueryError>,
}

impl Chunks {
    fn new(share: Arc<Share>) -> Self {
        Self { share, full: VecDeque::new(), open: Vec::new(), bytes: 0, refused: None }
    }

    /// Writes into these; from then on the text is all that the share holds.
    fn filled<T>(
        mut self,
        write: impl FnOnce(&mut Self) -> Result<T, QueryError>,
    ) -> Result<(T, Self), QueryError> {
        let outcome = write(&mut self);
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        let rest = outcome?;
        self.share.keep(self.bytes);
        Ok((rest, self))
    }

    fn push(&mut self, text: &[u8]) -> Result<(), QueryError> {
        self.open.extend_from_slice(text);
        self.bytes = self.bytes.saturating_add(text.len());
        if self.open.len() >= CHUNK_BYTES {
            let chunk = mem::replace(&mut self.open, Vec::with_capacity(CHUNK_BYTES));
            self.share.grow(chunk.len())?;
            self.full.push_back(chunk.into());
        }
        Ok(())
    }

    fn body(mut self, unread_wait: Duration) -> Body {
        if self.full.is_empty() {
            // No more than what a connection holds of any answer.
            return Body::from(self.open);
        }
        self.full.push_back(self.open.into());
        let unsent = Arc::new(Mutex::new(Some(Unsent { share: self.share, chunks: self.full, taken: 0 })));
        let watch = Watch(tokio::spawn(throw_away_unread(Arc::clone(&unsent), unread_wait)));
        Body::from_stream(stream::unfold((unsent, watch), async |(unsent, watch)| {
            let next = next(&unsent)?;
            Some((next, (unsent, watch)))
        }))
    }
}

impl io::Write for Chunks {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self.push(text) {
            Ok(()) => Ok(text.len()),
            Err(refused) => {
                self.refused = Some(refused);
                Err(io::ErrorKind::OutOfMemory.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Chunks {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).map_err(|refused| {
            self.refused = Some(refused);
            fmt::Error
        })
    }
}

/// What has not been handed to its connection.
struct Unsent {
    share: Arc<Share>,
    chunks: VecDeque<Bytes>,
    /// Chunks that the connection took.
    taken: u64,
}

/// Shared by the connection and the watch; None once the answer was thrown away.
type Shared = Arc<Mutex<Option<Unsent>>>;

/// Ends the watch when the answer has left or its client has.
struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn next(unsent: &Shared) -> Option<io::Result<Bytes>> {
    let mut unsent = unsent.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(unsent) = unsent.as_mut() else {
        return Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer was not read in time")));
    };
    let chunk = unsent.chunks.pop_front()?;
    unsent.taken = unsent.taken.saturating_add(1);
    unsent.share.shrink(chunk.len());
    Some(Ok(chunk))
}

async fn throw_away_unread(unsent: Shared, unread_wait: Duration) {
    let mut seen = 0;
    loop {
        tokio::time::sleep(unread_wait).await;
        let mut unsent = unsent.lock().unwrap_or_else(PoisonError::into_inner);
        match unsent.as_ref() {
            Some(left) if left.chunks.is_empty() => return,
            Some(left) if left.taken != seen => seen = left.taken,
            _ => {
                metrics::unread();
                metrics::refused("query_unread_wait");
                *unsent = None;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;
    use crate::budget::Budget;

    fn answer(budget: &Arc<Budget>, bytes: usize) -> Chunks {
        let share = budget.share(usize::MAX);
        let mut chunks = Chunks::new(share);
        for byte in 0..bytes {
            chunks.push(&[b'a' + (byte % 26) as u8]).unwrap();
        }
        chunks
    }

    #[tokio::test]
    async fn an_answer_leaves_byte_by_byte_and_gives_its_memory_back() {
        let budget = Budget::new(1 << 20);
        for bytes in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 7] {
            let mut chunks = answer(&budget, bytes).body(Duration::from_secs(60)).into_data_stream();
            let mut sent = Vec::new();
            while let Some(chunk) = chunks.next().await {
                sent.extend_from_slice(&chunk.unwrap());
                assert!(budget.held() <= bytes - sent.len());
            }
            assert_eq!(sent, (0..bytes).map(|byte| b'a' + (byte % 26) as u8).collect::<Vec<_>>());
            drop(chunks);
            assert_eq!(budget.held(), 0, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_reads_is_thrown_away() {
        let budget = Budget::new(1 << 20);
        let wait = Duration::from_secs(30);
        let mut chunks = answer(&budget, 6 * CHUNK_BYTES).body(wait).into_data_stream();
        // One that reads slowly is not disturbed.
        for _ in 0..3 {
            tokio::time::sleep(wait * 2 / 3).await;
            chunks.next().await.unwrap().unwrap();
        }
        assert!(budget.held() > 0);
        tokio::time::sleep(wait * 2).await;
        assert_eq!(budget.held(), 0);
        assert!(chunks.next().await.unwrap().is_err(), "what is missing is not taken for the end");
        // One whose client has gone needs no waiting.
        let gone = answer(&budget, 6 * CHUNK_BYTES).body(wait);
        assert!(budget.held() > 0);
        drop(gone);
        tokio::task::yield_now().await;
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn writing_stops_where_memory_ends() {
        use io::Write as _;
        let budget = Budget::new(2 * CHUNK_BYTES);
        let mut chunks = answer(&budget, 2 * CHUNK_BYTES);
        assert!(chunks.write_all(&[b'a'; CHUNK_BYTES]).is_err());
        let busy = chunks.refused.take().unwrap();
        assert_eq!(busy.limit(), Some("query_memory_total_max"));
    }
}
