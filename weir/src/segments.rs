//! `weir segments`: the segments that count, read from the catalog beside a running server. It shows what
//! compaction has done and what it has left to do.

use serde::Serialize;
use weir_catalog::{Catalog, Listing};
use weir_meter::segment::{Generations, Segment, SegmentKind};
use weir_meter::time::format_utc;

use crate::data::{Place, open_catalog, unreadable, up_to};
use crate::output::{self, Column, Failure, Grid, Style, grouped_digits};

/// Ranges and generations that a cell of the table names before it counts the rest.
const NAMED_MAX: usize = 2;

/// What `weir segments` was asked.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// With those that others have replaced and that are kept for old positions.
    pub all: bool,
    pub json: bool,
}

pub async fn run(place: &Place, options: Options) -> Result<(), Failure> {
    place.check_there()?;
    let catalog = open_catalog(&place.catalog).await?;
    let listing = catalog.listing().await.map_err(unreadable(&place.catalog))?;
    catalog.close().await;
    if options.json {
        return output::data(&json(&listing, options.all)?);
    }
    output::data(&table(&listing, options.all, Style::of_stdout()))
}

fn shown(listing: &Listing, all: bool) -> impl Iterator<Item = &Segment> {
    let retired = listing.retired.iter().filter(move |_| all);
    listing.segments.iter().chain(retired).map(|segment| &**segment)
}

/// For people.
pub fn table(listing: &Listing, all: bool, style: Style) -> String {
    let mut grid = Grid::new(vec![
        Column::text("kind"),
        Column::text("size"),
        Column::number("level"),
        Column::number("rows"),
        Column::number("bytes"),
        Column::text("offsets"),
        Column::number("revision"),
        Column::text("generations"),
        Column::text("first time"),
        Column::text("last time"),
        Column::text("listed at"),
        Column::text("segment"),
    ]);
    for segment in shown(listing, all) {
        let new = &segment.new;
        let ranges: Vec<String> = new
            .coverage
            .ranges
            .iter()
            .map(|range| format!("{}/{}:{}-{}", range.epoch, range.partition, range.from, range.to))
            .collect();
        let retired = segment.delisted_at_us.map(|at| format!(", retired {}", format_utc(at)));
        grid.row(vec![
            new.kind.name().to_owned(),
            size(new.coverage.window_size_s).to_owned(),
            new.level.to_string(),
            grouped_digits(&new.row_count.to_string()),
            grouped_digits(&new.byte_count.to_string()),
            few(&ranges),
            new.coverage.revision.to_string(),
            if new.kind == SegmentKind::Rows {
                String::new()
            } else {
                generations(&new.coverage.generations)
            },
            new.time_range_us.map(|(first, _)| format_utc(first)).unwrap_or_default(),
            new.time_range_us.map(|(_, last)| format_utc(last)).unwrap_or_default(),
            format_utc(segment.listed_at_us) + &retired.unwrap_or_default(),
            new.segment.to_string(),
        ]);
    }
    let mut text = grid.table(style);
    text.push('\n');
    for total in totals(listing, all) {
        text.push_str(&format!(
            "{}{}: {}, {} rows, {} bytes\n",
            if total.retired { "retired " } else { "" },
            match size(total.window_size_s) {
                "" => total.kind.to_owned(),
                size => format!("{} by {size}", total.kind),
            },
            counted(total.segments, "segment"),
            grouped_digits(&total.rows.to_string()),
            grouped_digits(&total.bytes.to_string()),
        ));
    }
    text.push_str(&format!(
        "at revision {}; at rest up to {}\n",
        listing.revision,
        up_to(&listing.frontiers)
    ));
    text
}

/// What a window's size is called; rows have none.
fn size(window_size_s: u32) -> &'static str {
    match window_size_s {
        0 => "",
        60 => "minute",
        3_600 => "hour",
        _ => "other",
    }
}

fn few(texts: &[String]) -> String {
    let named = texts.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(" ");
    match texts.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn generations(generations: &Generations) -> String {
    let names = |list: &[weir_meter::Generation]| -> Vec<String> {
        list.iter().map(|key| format!("{}#{}", key.meter, key.generation)).collect()
    };
    match generations {
        Generations::AllBut(except) if except.is_empty() => "all".to_owned(),
        Generations::AllBut(except) => format!("all but {}", few(&names(except))),
        Generations::Only(only) => few(&names(only)),
    }
}

/// `1 segment`, `2 segments`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let number = grouped_digits(&count.to_string());
    if count == 1 { format!("{number} {what}") } else { format!("{number} {what}s") }
}

/// Segments of one kind and size.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Total {
    kind: &'static str,
    window_size_s: u32,
    retired: bool,
    segments: u64,
    rows: u64,
    bytes: u64,
}

fn totals(listing: &Listing, all: bool) -> Vec<Total> {
    let mut totals: Vec<Total> = Vec::new();
    for segment in shown(listing, all) {
        let new = &segment.new;
        let (kind, window_size_s, retired) =
            (new.kind.name(), new.coverage.window_size_s, segment.delisted_at_us.is_some());
        let key = (retired, kind, window_size_s);
        let at = totals.iter().position(|t| (t.retired, t.kind, t.window_size_s) == key);
        let at = at.unwrap_or_else(|| {
            totals.push(Total { kind, window_size_s, retired, segments: 0, rows: 0, bytes: 0 });
            totals.len().saturating_sub(1)
        });
        if let Some(total) = totals.get_mut(at) {
            total.segments = total.segments.saturating_add(1);
            total.rows = total.rows.saturating_add(new.row_count);
            total.bytes = total.bytes.saturating_add(new.byte_count);
        }
    }
    totals.sort_by_key(|total| (total.retired, total.kind == "members", total.kind, total.window_size_s));
    totals
}

/// For programs: everything that the catalog knows of each segment.
pub fn json(listing: &Listing, all: bool) -> Result<String, Failure> {
    let segments: Vec<serde_json::Value> = shown(listing, all)
        .map(|segment| {
            let new = &segment.new;
            let ranges: Vec<serde_json::Value> = new
                .coverage
                .ranges
                .iter()
                .map(|r| {
                    serde_json::json!({"epoch": r.epoch, "partition": r.partition, "from": r.from, "to": r.to})
                })
                .collect();
            let named = |list: &[weir_meter::Generation]| -> Vec<serde_json::Value> {
                list.iter()
                    .map(|key| serde_json::json!({"meter": key.meter.to_string(), "generation": key.generation}))
                    .collect()
            };
            let generations = match &new.coverage.generations {
                Generations::AllBut(except) => serde_json::json!({"allBut": named(except)}),
                Generations::Only(only) => serde_json::json!({"only": named(only)}),
            };
            serde_json::json!({
                "segment": new.segment.to_string(),
                "kind": new.kind.name(),
                "windowSizeSeconds": new.coverage.window_size_s,
                "level": new.level,
                "rows": new.row_count,
                "droppedRows": new.dropped_rows,
                "bytes": new.byte_count,
                "checksum": format!("{:08x}", new.checksum),
                "location": new.location,
                "ranges": ranges,
                "revision": new.coverage.revision,
                "foldVersion": new.coverage.fold_version,
                "generations": generations,
                "firstTime": new.time_range_us.map(|(first, _)| format_utc(first)),
                "lastTime": new.time_range_us.map(|(_, last)| format_utc(last)),
                "writer": segment.writer.to_string(),
                "listedAt": format_utc(segment.listed_at_us),
                "retiredAt": segment.delisted_at_us.map(format_utc),
            })
        })
        .collect();
    let frontiers: Vec<serde_json::Value> = listing
        .frontiers
        .iter()
        .map(|f| serde_json::json!({"epoch": f.epoch, "partition": f.partition, "offset": f.next_offset}))
        .collect();
    let document = serde_json::json!({
        "revision": listing.revision,
        "frontiers": frontiers,
        "totals": totals(listing, all),
        "segments": segments,
    });
    let text = serde_json::to_string_pretty(&document);
    text.map(|text| text + "\n").map_err(|error| Failure::new(format!("cannot write JSON: {error}")))
}
