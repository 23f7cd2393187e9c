//! From acknowledgement to being part of an answer, at half load. A probe event with a subject of its own is
//! posted; its position goes into a query of that subject; the time until the answer is there, and counts
//! one event, is what a caller waits. Beside it: the acknowledgement's p99 plus the p50 of the same query
//! when it has nothing to wait for.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::ingest::senders;
use super::latency::half_load;
use super::{Bench, Percentiles};
use crate::calendar::{now, second_text};
use crate::corpus::{Form, event_text, probe_meter, request_head};
use crate::load::{Pace, Until, percentile};
use crate::recount::Recount;
use crate::report::{Bound, Report, Row};
use crate::wire::Http;
use crate::{Fail, because};

/// Few enough that the queries are a small part of the load.
const PROBES_EVERY: Duration = Duration::from_millis(50);

/// In microseconds, unsorted.
#[derive(Debug, Default)]
struct Probes {
    visible: Vec<u32>,
    query: Vec<u32>,
    next: u32,
}

pub async fn run(bench: &Bench, form: Form, rate: Option<f64>, time: Duration) -> Result<Report, Fail> {
    let mut report = Report::new("visible");
    let rate = half_load(bench, form, rate, time).await?;
    let folder = bench.folder()?;
    let server = bench.fresh_weir(folder.path(), &[]).await?;
    let mut generator = bench.generator(form, senders(form));
    bench.warm(&mut generator, &server.process).await?;
    server.all_visible().await?;

    let (mut pairs, mut rounds, mut probed) = (Vec::new(), Vec::new(), 0);
    for round in 1..=bench.rounds {
        let end = Instant::now() + time;
        let (sent, probes) = tokio::try_join!(
            generator.run(server.address(), Pace::EventsPerSecond(rate), Until::Elapsed(time)),
            probe(server.address(), end, probed),
        )?;
        probed = probes.next;
        let (visible, query) = (sorted(probes.visible), sorted(probes.query));
        let acknowledged = Percentiles::of(&sent);
        let ours = percentile(&visible, 99.0);
        let beside = acknowledged.p99 + percentile(&query, 50.0);
        eprintln!(
            "round {round}: visible after {ours} µs, acknowledged {acknowledged:?}, beside {beside} µs"
        );
        pairs.push((ours, beside));
        rounds.push(json!({
            "visible_p50_us": percentile(&visible, 50.0), "visible_p99_us": ours,
            "query_p50_us": percentile(&query, 50.0), "query_p99_us": percentile(&query, 99.0),
            "acknowledged_us": acknowledged, "probes": visible.len(), "events_per_s": sent.events_per_s(),
        }));
    }
    server.all_visible().await?;
    Recount::of(&generator).check_count(server.address(), u64::from(probed)).await?;
    server.process.kill();

    let row = Row::of("acknowledged to visible, p99, half load", "ingest p99 + query p50", "µs", &pairs);
    report.row(row.bounds(Bound::AtMost(4.0), Bound::AtMost(1.0)));
    report.note(format!("{rate:.0} events/s; each probe's answer was checked to count exactly its event"));
    if probed / bench.rounds.max(1) < 100 {
        report.note("beware: fewer than 100 probes a round, the p99 is their maximum");
    }
    report.detail("rounds", rounds.into());
    Ok(report)
}

async fn probe(address: SocketAddr, end: Instant, first: u32) -> Result<Probes, Fail> {
    let (mut ingest, mut query) = (Http::connect(address).await?, Http::connect(address).await?);
    let mut probes = Probes { next: first, ..Probes::default() };
    let mut due = Instant::now();
    let data =
        r#"{"model":"probe","kind":"input","tokens":1,"duration_ms":1,"route":"/probe","user":"probe"}"#;
    while due < end {
        sleep_until(due).await;
        due += PROBES_EVERY;
        let subject = format!("probe-{}", probes.next);
        let id = format!("{subject}-{}", now().1);
        let body = event_text(&id, &subject, &format!("{}Z", second_text(now().0 - 1)), data);
        let request = [request_head(true, body.len()), body.into_bytes()].concat();
        let answer = ingest.exchange(&request).await?;
        if answer.status != 204 {
            return Err(because(format!("a probe was answered {}", answer.status)));
        }
        let acknowledged = Instant::now();
        probes.next += 1;
        let position = ingest.header(&answer, "weir-position").unwrap_or_default().to_owned();
        let path = format!("/api/v1/meters/{}/query?subject={subject}", probe_meter());
        let found = query.get(&path, &format!("weir-position: {position}\r\n")).await?;
        probes.visible.push(micros(acknowledged));
        let found: serde_json::Value = serde_json::from_slice(&found)?;
        if found["data"][0]["value"] != 1 {
            return Err(because(format!("{subject} was acknowledged, and its position answers {found}")));
        }
        let begin = Instant::now();
        query.get(&path, "").await?;
        probes.query.push(micros(begin));
    }
    Ok(probes)
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}

fn sorted(mut values: Vec<u32>) -> Vec<u32> {
    values.sort_unstable();
    values
}
