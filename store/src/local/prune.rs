//! Skipping what cannot match: row groups and pages whose bounds rule a condition out. Only ever a
//! saving, never an answer: every row that remains is still asked.

use std::ops::Range;

use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::errors::Result;

use super::condition::Condition;

/// What is left to read of a file.
#[derive(Debug)]
pub(super) struct Remaining {
    pub(super) row_groups: Vec<usize>,
    /// Rows within those row groups, counted through; None means all.
    pub(super) selection: Option<RowSelection>,
}

pub(super) fn prune(footer: &ArrowReaderMetadata, conditions: &[Condition]) -> Result<Remaining> {
    let mut row_groups: Vec<usize> = (0..footer.metadata().num_row_groups()).collect();
    for condition in conditions {
        let Some(bounds) = converter(footer, condition)? else { continue };
        let groups = || row_groups.iter().filter_map(|group| footer.metadata().row_groups().get(*group));
        let least = bounds.row_group_mins(groups())?;
        let greatest = bounds.row_group_maxes(groups())?;
        let keep = condition.may_match(&least, &greatest);
        row_groups =
            row_groups.into_iter().zip(keep).filter_map(|(group, keep)| keep.then_some(group)).collect();
    }

    let mut selected: Vec<Range<usize>> = Vec::new();
    let mut total_rows: usize = 0;
    for group in &row_groups {
        let rows = rows_of(footer, *group);
        let mut ranges: Vec<Range<usize>> = std::iter::once(0..rows).collect();
        for condition in conditions {
            if let Some(pages) = matching_pages(footer, condition, *group, rows)? {
                ranges = intersect(&ranges, &pages);
            }
        }
        selected.extend(ranges.into_iter().map(|r| r.start + total_rows..r.end + total_rows));
        total_rows += rows;
    }
    let all = selected.iter().map(Range::len).sum::<usize>() == total_rows;
    let selection = (!all).then(|| RowSelection::from_consecutive_ranges(selected.into_iter(), total_rows));
    Ok(Remaining { row_groups, selection })
}

fn rows_of(footer: &ArrowReaderMetadata, group: usize) -> usize {
    let rows = footer.metadata().row_groups().get(group).map_or(0, |g| g.num_rows());
    usize::try_from(rows).unwrap_or(0)
}

fn converter<'f>(
    footer: &'f ArrowReaderMetadata,
    condition: &Condition,
) -> Result<Option<StatisticsConverter<'f>>> {
    let Some(column) = condition.bounded_column() else { return Ok(None) };
    StatisticsConverter::try_new(column, footer.schema(), footer.parquet_schema()).map(Some)
}

/// The rows of the pages that may match, in order; None if the pages' bounds are not known.
fn matching_pages(
    footer: &ArrowReaderMetadata,
    condition: &Condition,
    group: usize,
    rows: usize,
) -> Result<Option<Vec<Range<usize>>>> {
    let Some(bounds) = converter(footer, condition)? else { return Ok(None) };
    let metadata = footer.metadata();
    let (Some(columns), Some(offsets), Some(column)) =
        (metadata.column_index(), metadata.offset_index(), bounds.parquet_column_index())
    else {
        return Ok(None);
    };
    // The converter indexes without asking, so a footer that lacks a part is left alone.
    let (Some(_), Some(pages)) = (
        columns.get(group).and_then(|of_group| of_group.get(column)),
        offsets.get(group).and_then(|of_group| of_group.get(column)),
    ) else {
        return Ok(None);
    };
    let least = bounds.data_page_mins(columns, offsets, [&group])?;
    let greatest = bounds.data_page_maxes(columns, offsets, [&group])?;
    let keep = condition.may_match(&least, &greatest);
    let starts: Vec<usize> = pages
        .page_locations()
        .iter()
        .map(|page| usize::try_from(page.first_row_index).unwrap_or(0))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([rows]);
    if keep.len() != starts.len() || !starts.is_sorted() || starts.last().is_some_and(|last| *last > rows) {
        return Ok(None);
    }
    let ranges = starts.iter().zip(ends).zip(keep).filter(|(_, keep)| *keep).map(|((s, e), _)| *s..e);
    Ok(Some(ranges.collect()))
}

/// Rows in both lists; each is in order and without overlaps, and so is the result.
fn intersect(left: &[Range<usize>], right: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut common = Vec::new();
    let (mut lefts, mut rights) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(l), Some(r)) = (lefts.peek(), rights.peek()) {
        let both = l.start.max(r.start)..l.end.min(r.end);
        if l.end <= r.end {
            lefts.next();
        } else {
            rights.next();
        }
        if !both.is_empty() {
            common.push(both);
        }
    }
    common
}
