//! The log's part of a check: every frame's checksum, offsets without a gap, and that the log is the one
//! whose records the catalog's frontiers speak of.

use std::path::Path;

use weir_catalog::EpochRow;
use weir_log::local::inspect::{Inspection, Place, inspect, partition_folder};

use super::{Facts, Report};
use crate::data::blocking;
use crate::output::Failure;

pub(super) async fn check(dir: &Path, facts: &Facts, report: &mut Report) -> Result<(), Failure> {
    for epoch in &facts.epochs {
        for partition in 0..epoch.partitions {
            check_partition(dir, facts, epoch, partition, report).await?;
        }
    }
    for frontier in &facts.listing.frontiers {
        let known =
            facts.epochs.iter().any(|e| e.epoch == frontier.epoch && frontier.partition < e.partitions);
        if !known {
            report.problem(format!(
                "the catalog has a frontier of epoch {} partition {}, which no epoch of it has",
                frontier.epoch, frontier.partition
            ));
        }
    }
    Ok(())
}

async fn check_partition(
    dir: &Path,
    facts: &Facts,
    epoch: &EpochRow,
    partition: u32,
    report: &mut Report,
) -> Result<(), Failure> {
    let frontier =
        facts.listing.frontiers.iter().find(|f| f.epoch == epoch.epoch && f.partition == partition);
    let next_offset = frontier.map_or(0, |f| f.next_offset);
    let last = next_offset.checked_sub(1);
    let (installation, number, path) = (facts.installation, epoch.epoch, dir.to_owned());
    let look = blocking(move || inspect(Place { dir: &path, installation, epoch: number, partition }, last));
    let folder = partition_folder(dir, epoch.epoch, partition);
    let found = match look.await? {
        Ok(found) => found,
        Err(error) => {
            report.problem(error.to_string());
            return Ok(());
        }
    };
    report.log_files = report.log_files.saturating_add(found.files);
    report.log_records = report.log_records.saturating_add(found.records);
    report.log_bytes = report.log_bytes.saturating_add(found.bytes);
    // An epoch that was drained and sealed may lose its log.
    if epoch.sealed_at_us.is_some() && found.files == 0 {
        return Ok(());
    }
    report.problems.extend(found.problems.iter().map(ToString::to_string));
    ends(&folder.display().to_string(), &found, next_offset, report);
    let Some((frontier, last)) = frontier.zip(last) else { return Ok(()) };
    match &found.wanted {
        Some(record) if facts.hash_key.record(&record.record.value) != frontier.last_record_hash => {
            report.problem(format!(
                "{}: the record at offset {last} is not the one that was folded: this is another log than the \
                 catalog's",
                folder.display()
            ));
        }
        None if found.start <= last && last < found.end => report.problem(format!(
            "{}: the record at offset {last}, the last one below the frontier, cannot be read",
            folder.display()
        )),
        _ => {}
    }
    Ok(())
}

/// The log must hold everything from the frontier on.
fn ends(folder: &str, found: &Inspection, frontier: u64, report: &mut Report) {
    for name in &found.foreign {
        report.note(format!("{folder}/{name} is no file of the log; the log leaves it alone"));
    }
    if found.torn_bytes > 0 {
        report.note(format!(
            "{folder}: the last {} bytes are what a crash left of an append that was never acknowledged; the next \
             start cuts them off",
            found.torn_bytes
        ));
    }
    if found.start > frontier {
        report.problem(format!(
            "{folder}: the log starts at offset {}, above the frontier {frontier}: records {frontier} to {} are in \
             neither log nor store",
            found.start,
            found.start.saturating_sub(1)
        ));
    }
    if found.end < frontier {
        report.problem(format!(
            "{folder}: the log ends at offset {}, below the frontier {frontier}: an older copy, or its end is lost",
            found.end
        ));
    }
}
