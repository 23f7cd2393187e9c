//! Writing a flush: sorted rows, windows and members, each into a file of its own. Counts are checked
//! before writing and read back after.

use metrics::histogram;
use tokio::time::Instant;
use weir_meter::segment::{Coverage, Generations, SegmentKind};
use weir_meter::window::FOLD_VERSION;
use weir_meter::{SegmentId, WriterId};

mod contents;
mod segment;

use self::contents::Contents;
pub(super) use self::segment::{Made, SegmentWriter};
use super::Shared;
use crate::metrics::WRITE_SECONDS;
use crate::{FlushPiece, StoreError, schema};

/// Size of the windows that a flush brings.
pub(super) const WINDOW_SIZE_S: u32 = 60;

/// One segment of each kind. A piece whose meters met no event brings windows and members without a
/// row and without a file: what it folded has to be covered all the same. If one fails, the files of
/// all are gone: the caller gets none, so nothing could ever list them, and on a full disk the next
/// attempt needs the room.
pub(super) fn write(
    shared: &Shared,
    writer: WriterId,
    piece: &FlushPiece,
    ids: [(SegmentKind, SegmentId); 3],
) -> Result<Made, StoreError> {
    let mut made = Made::default();
    if piece.ranges.is_empty() {
        return Ok(made);
    }
    let began = Instant::now();
    contents::check(piece)?;
    for (kind, id) in ids {
        // No meter lives at this revision, so there is nothing that windows could cover.
        if kind != SegmentKind::Rows && piece.generations.is_empty() {
            continue;
        }
        made.join(write_segment(shared, writer, piece, kind, id)?);
    }
    histogram!(WRITE_SECONDS).record(began.elapsed().as_secs_f64());
    Ok(made)
}

fn write_segment(
    shared: &Shared,
    writer: WriterId,
    piece: &FlushPiece,
    kind: SegmentKind,
    segment: SegmentId,
) -> Result<Made, StoreError> {
    let contents = Contents::of(piece, kind)?;
    let coverage = Coverage {
        ranges: piece.ranges.clone(),
        revision: piece.revision,
        fold_version: FOLD_VERSION,
        window_size_s: if kind == SegmentKind::Rows { 0 } else { WINDOW_SIZE_S },
        generations: Generations::AllBut(piece.left_out.clone()),
    };
    let mut file = SegmentWriter::new(shared, writer, segment, kind, coverage);
    for batch in contents.batches(writer, &schema::of_kind(kind)) {
        let (batch, text_bytes) = batch?;
        file.push(&batch, text_bytes)?;
    }
    if file.row_count() != contents.len() as u64 {
        return Err(StoreError::Inconsistent(format!(
            "{} of its {} {} were written",
            file.row_count(),
            contents.len(),
            kind.name()
        )));
    }
    file.finish()
}
