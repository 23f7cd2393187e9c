//! Resident bytes per remembered identity. What a server needs besides does not grow with identities, so
//! the growth from half of them to all of them is told apart from the whole.

use std::time::Duration;

use serde_json::json;

use super::{Bench, ingest::senders};
use crate::Fail;
use crate::corpus::Form;
use crate::load::{Pace, Until};
use crate::recount::Recount;
use crate::report::{Bound, Report, Row};

const FORM: Form = Form::Batch(1_000);
/// As `rows::disk` has it: the head has to be at rest before memory is looked at.
const FLUSH_INTERVAL: &str = "--flush-interval 15s";
const IDLE: Duration = Duration::from_secs(20);
const SETTLE_LIMIT: Duration = Duration::from_secs(1_800);
/// Redis 7.0, SET NX EX with a key of 22 characters, measured on a machine of this kind.
const REDIS_BYTES: f64 = 145.0;

pub async fn run(bench: &Bench, identities: u64) -> Result<Report, Fail> {
    let mut report = Report::new("memory");
    let folder = bench.folder()?;
    let server = bench.fresh_weir(folder.path(), &[FLUSH_INTERVAL]).await?;
    let mut generator = bench.generator(FORM, senders(FORM));
    let empty = server.rss_anon()?;
    let mut halves = Vec::new();
    for _ in 0..2 {
        generator.run(server.address(), Pace::FlatOut, Until::Events(identities / 2)).await?;
        server.all_visible().await?;
        server.settle(IDLE, SETTLE_LIMIT).await?;
        let remembered = Recount::of(&generator).events;
        halves.push((remembered as f64, server.rss_anon()? as f64));
        eprintln!("{remembered} identities: {} bytes resident", server.rss_anon()?);
    }
    server.stop().await?;
    let server = bench.weir(folder.path(), &[]).await?;
    server.settle(Duration::from_secs(5), SETTLE_LIMIT).await?;
    let restarted = server.rss_anon()? as f64;
    Recount::of(&generator).check_count(server.address(), 0).await?;
    server.process.kill();

    let [(half, half_bytes), (all, all_bytes)] = halves[..] else { return Err("two halves".into()) };
    let whole = |bytes: f64| [(bytes / all, REDIS_BYTES)];
    let row = |what: &str, pairs: &[(f64, f64)]| {
        Row::of(what, "Redis, measured before", "B", pairs).bounds(Bound::AtMost(0.10), Bound::AtMost(0.03))
    };
    report.row(row("RssAnon per identity, all of the process", &whole(all_bytes)));
    report.row(row("the same after a restart", &whole(restarted)));
    report.row(row("growth only, second half", &[((all_bytes - half_bytes) / (all - half), REDIS_BYTES)]));
    report.note(format!("{all:.0} identities; the table's row asks for 100 M of them"));
    report.detail(
        "bytes",
        json!({
            "empty": empty, "half_identities": half, "half": half_bytes, "identities": all, "all": all_bytes,
            "restarted": restarted,
        }),
    );
    Ok(report)
}
