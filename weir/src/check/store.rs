//! The store's part of a check: the file of every listed segment, byte for byte, and files that no listing
//! knows.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use weir_catalog::Catalog;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::time::format_utc;
use weir_meter::{SegmentId, WriterId};
use weir_store::Store;

use super::{Facts, Report};
use crate::data::AtRest;
use crate::output::Failure;

/// Gives the segments whose files are not what they should be: nobody needs to look into these.
pub(super) async fn check(
    folder: &Path,
    at_rest: &AtRest,
    facts: &Facts,
    report: &mut Report,
) -> Result<HashSet<SegmentId>, Failure> {
    let mut bad = HashSet::new();
    let segments: Vec<&Arc<Segment>> = facts.listing.segments.iter().chain(&facts.listing.retired).collect();
    for segment in &segments {
        report.segments = report.segments.saturating_add(1);
        report.segment_bytes = report.segment_bytes.saturating_add(segment.new.byte_count);
        if let Err(error) = at_rest.store.verify(&[Arc::clone(segment)], true).await {
            tell(segment, &error.to_string(), report);
            bad.insert(segment.new.segment);
        }
    }
    unknown(folder, at_rest, report).await;
    Ok(bad)
}

/// Says what is wrong with a segment's file. Of retired ones the listing has windows and members only, and these
/// are a cache of rows: questions of old positions read the rows that count today.
pub(super) fn tell(segment: &Segment, wrong: &str, report: &mut Report) {
    match segment.delisted_at_us {
        Some(at_us) if segment.new.kind != SegmentKind::Rows => report.note(format!(
            "{wrong}; it may be left as it is: it was retired at {}, was a cache of rows, and goes in time",
            format_utc(at_us)
        )),
        _ => report.problem(wrong),
    }
}

/// Files that no listing knows. What a writer of this catalog left behind is swept at the next start; all
/// else hints at a catalog and a store that do not belong together.
async fn unknown(folder: &Path, at_rest: &AtRest, report: &mut Report) {
    let incarnation = at_rest.catalog.installation().incarnation;
    let (kept, writers) = match (at_rest.catalog.kept_segments().await, at_rest.catalog.writers().await) {
        (Ok(kept), Ok(writers)) => (kept, writers),
        (Err(error), _) | (_, Err(error)) => {
            report.problem(error.to_string());
            return;
        }
    };
    let kept: HashSet<SegmentId> = kept.into_iter().collect();
    let known = |writer: WriterId| writers.iter().find(|w| w.writer == writer).map(|w| w.incarnation);
    for kind in [SegmentKind::Rows, SegmentKind::Windows, SegmentKind::Members] {
        let path = folder.join(kind.name());
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                report.problem(format!("{} cannot be listed: {error}", path.display()));
                continue;
            }
        };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        for name in names {
            let ids = ids_of(&name);
            if ids.is_some_and(|(_, segment)| kept.contains(&segment)) {
                continue;
            }
            let shown = path.join(&name);
            match ids.and_then(|(writer, _)| known(writer)) {
                Some(under) if under == incarnation => report.note(format!(
                    "{} is not listed: a write that broke off, or one whose turn is over; the next start removes it",
                    shown.display()
                )),
                Some(_) => report.note(format!(
                    "{} is not listed and was written before the catalog was restored from a copy; no start removes \
                     it, you may",
                    shown.display()
                )),
                None => report.problem(format!(
                    "{} is known to no listing and was written by nobody whom the catalog knows; it does not count \
                     and is never deleted",
                    shown.display()
                )),
            }
        }
    }
}

/// Whose a file is, by the name that the store gives it.
fn ids_of(name: &str) -> Option<(WriterId, SegmentId)> {
    let (writer, segment) = name.strip_suffix(".parquet")?.split_once('-')?;
    Some((writer.parse().ok()?, segment.parse().ok()?))
}
