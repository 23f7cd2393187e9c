//! Bytes on disk per event with everything included, and bytes written per byte of JSON received. Events are
//! sent flat out; then the server is given time to flush, compact and cut its log by itself. What the log
//! still keeps then is at rest already, and a constant however many events there are: it is told apart.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, bytes_below};
use crate::Fail;
use crate::corpus::Form;
use crate::load::{Pace, Until};
use crate::recount::Recount;
use crate::report::{Bound, Report, Row};

const SENDERS: usize = 16;
/// An idle head is flushed after so long, so that the last events need not be waited for longer. Under
/// load, flushes go by count and the setting plays no part.
const FLUSH_INTERVAL: &str = "--flush-interval 15s";
const IDLE: Duration = Duration::from_secs(20);
const SETTLE_LIMIT: Duration = Duration::from_secs(1_800);
/// What the table's row is measured against.
const JSON_BYTES: f64 = 300.0;

pub async fn run(bench: &Bench, events: u64, batch: usize) -> Result<Report, Fail> {
    let mut report = Report::new("disk");
    let (mut sizes, mut with_log) = (Vec::new(), Vec::new());
    let (mut writes, mut rounds) = (Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let folder = bench.folder()?;
        let server = bench.fresh_weir(folder.path(), &[FLUSH_INTERVAL, "--query-deadline 10m"]).await?;
        let before = server.io()?;
        let mut generator = bench.generator(Form::Batch(batch), SENDERS);
        let sent = generator.run(server.address(), Pace::FlatOut, Until::Events(events)).await?;
        server.all_visible().await?;
        let settled = server.settle(IDLE, SETTLE_LIMIT).await?;
        let io = server.io()?;
        let recount = Recount::of(&generator);
        recount.check(server.address()).await?;
        let metrics = server.metrics().await?;
        server.stop().await?;

        let data = folder.path().join("weir-data");
        let on_disk = bytes_below(&data)?.1;
        let written = io.write_bytes - before.write_bytes;
        let cancelled = io.cancelled_write_bytes - before.cancelled_write_bytes;
        // Events sent twice are no second event: they must not make the figure smaller.
        let parts = parts(&data)?;
        let log = parts["log"].as_u64().unwrap_or_default();
        let per_event = (on_disk - log) as f64 / recount.events as f64;
        with_log.push((on_disk as f64 / recount.events as f64, JSON_BYTES));
        let amplification = written as f64 / sent.body_bytes as f64;
        eprintln!(
            "round {round}: {per_event:.1} bytes an event, {amplification:.2} written per byte received"
        );
        sizes.push((per_event, JSON_BYTES));
        writes.push((amplification, 1.0));
        rounds.push(json!({
            "events": recount.events, "body_bytes": sent.body_bytes, "on_disk_bytes": on_disk,
            "parts": parts, "write_bytes": written, "cancelled_write_bytes": cancelled,
            "settled_after_s": settled.as_secs_f64(), "metrics": metrics,
        }));
    }
    let row = |what: &str, pairs: &[(f64, f64)]| {
        Row::of(what, "300 B of JSON", "B", pairs).bounds(Bound::AtMost(0.35), Bound::AtMost(0.2))
    };
    report.row(row("bytes on disk per event, log cut", &sizes));
    report.row(row("with what the log keeps until the next commits", &with_log));
    let row = Row::of("bytes written per byte of JSON received", "1", "B", &writes);
    report.row(row.bounds(Bound::AtMost(2.5), Bound::AtMost(1.3)));
    for (part, bytes) in rounds.last().and_then(|round| round["parts"].as_object()).into_iter().flatten() {
        let per_event = bytes.as_f64().unwrap_or_default() / events as f64;
        report.note(format!("{part}: {per_event:.1} B an event"));
    }
    report.note(format!(
        "{events} events in batches of {batch}; blocks of all files after a clean stop; written: write_bytes of \
         /proc, without taking off what was removed again before it reached the disk; {FLUSH_INTERVAL}; flags {:?}",
        bench.flags
    ));
    report.detail("rounds", rounds.into());
    Ok(report)
}

/// Blocks by part of the data folder.
fn parts(data: &Path) -> Result<Value, Fail> {
    let mut parts = serde_json::Map::new();
    for name in ["log", "store/rows", "store/windows", "store/members"] {
        let folder = data.join(name);
        let bytes = if folder.is_dir() { bytes_below(&folder)?.1 } else { 0 };
        parts.insert(name.to_owned(), bytes.into());
    }
    let known: u64 = parts.values().filter_map(Value::as_u64).sum();
    parts.insert("everything else".to_owned(), (bytes_below(data)?.1 - known).into());
    Ok(parts.into())
}
