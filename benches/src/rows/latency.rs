//! Acknowledgement at half load: our p99 beside the limit program's p99 under the same load, plus the p99 of
//! an fdatasync of as many bytes as one request has. (Group commit syncs more at once; comparing with one
//! request's bytes is the harder comparison.)

use std::time::Duration;

use serde_json::json;

use super::ingest::senders;
use super::{Bench, Limit, Percentiles};
use crate::Fail;
use crate::corpus::Form;
use crate::load::{Pace, Until};
use crate::recount::Recount;
use crate::report::{Bound, Report, Row};

const FDATASYNCS: u32 = 2_000;

/// Events a second, or half of what a fresh server turns out to take in a tenth of a minute.
pub async fn half_load(bench: &Bench, form: Form, rate: Option<f64>, time: Duration) -> Result<f64, Fail> {
    match rate {
        Some(rate) => Ok(rate),
        None => Ok(bench.capacity(form, senders(form), time).await? / 2.0),
    }
}

pub async fn run(bench: &Bench, form: Form, rate: Option<f64>, time: Duration) -> Result<Report, Fail> {
    let single = form == Form::Single;
    let (name, what, limit) = match single {
        true => ("latency-singles", "acknowledgement p99 at half load, singles", Limit::Answer),
        false => ("latency-batches", "acknowledgement p99 at half load, batches", Limit::Parse),
    };
    let mut report = Report::new(name);
    let rate = half_load(bench, form, rate, time).await?;
    let pace = Pace::EventsPerSecond(rate);

    let folder = bench.folder()?;
    let server = bench.fresh_weir(folder.path(), &["--query-deadline 10m"]).await?;
    let mut generator = bench.generator(form, senders(form));
    bench.warm(&mut generator, &server.process).await?;
    server.all_visible().await?;
    let (mut pairs, mut medians, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.rounds {
        let sent = generator.run(server.address(), pace, Until::Elapsed(time)).await?;
        let request_bytes = (sent.body_bytes / sent.requests.max(1)) as usize;
        let ours = Percentiles::of(&sent);
        let theirs = {
            let folder = bench.folder()?;
            let process = bench.limit(limit, folder.path()).await?;
            let mut generator = bench.generator(form, senders(form));
            bench.warm(&mut generator, &process).await?;
            Percentiles::of(&generator.run(process.address, pace, Until::Elapsed(time)).await?)
        };
        let sync = bench.fdatasync(request_bytes, FDATASYNCS, folder.path())?;
        eprintln!("round {round}: ours {ours:?}, {} {theirs:?}, fdatasync {sync:?}", limit.describe());
        pairs.push((ours.p99, theirs.p99 + sync.p99));
        medians.push((ours.p50, theirs.p50 + sync.p50));
        rounds.push(json!({
            "ours": ours, "handler": theirs, "fdatasync": sync, "request_bytes": request_bytes,
            "requests": sent.requests, "events_per_s": sent.events_per_s(), "refused": sent.refused,
        }));
    }
    Recount::of(&generator).check(server.address()).await?;
    server.process.kill();

    let beside = format!("{} + fdatasync", limit.describe());
    let row = Row::of(what, &beside, "µs", &pairs);
    report.row(row.bounds(Bound::AtMost(6.0), Bound::AtMost(2.5)));
    report.row(Row::of("the same, p50", &beside, "µs", &medians));
    report.note(format!("{rate:.0} events/s on both sides, counted from the time in the schedule"));
    report.detail("events_per_s", rate.into());
    report.detail("rounds", rounds.into());
    Ok(report)
}
