//! Ready after kill -9: events are stored, the server is killed under load, and the time until it is ready,
//! has answered a query and has acknowledged an event is measured beside reading what its log still has.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Bench, ingest::senders};
use crate::calendar::{now, second_text};
use crate::corpus::{Form, event_text, probe_meter, request_head};
use crate::load::{Pace, Until};
use crate::process::Weir;
use crate::recount::Recount;
use crate::report::{Bound, Report, Row};
use crate::wire::Http;
use crate::{Fail, because};

const FORM: Form = Form::Batch(1_000);
/// The load before each kill lasts so long and a part more, so that kills fall anywhere between flushes.
const LOAD_BEFORE_KILL: Duration = Duration::from_millis(1_500);
const LIMIT_S: f64 = 5.0;

pub async fn run(bench: &Bench, events: u64) -> Result<Report, Fail> {
    let mut report = Report::new("restart");
    let folder = bench.folder()?;
    let mut server = bench.fresh_weir(folder.path(), &["--query-deadline 10m"]).await?;
    let mut generator = bench.generator(FORM, senders(FORM));
    generator.run(server.address(), Pace::FlatOut, Until::Events(events)).await?;
    server.all_visible().await?;

    let (mut pairs, mut rounds, mut probes) = (Vec::new(), Vec::new(), 0);
    for round in 1..=bench.rounds {
        // Every request is answered before the kill: what was acknowledged is known exactly. That a kill in
        // the middle of a request loses nothing is what the crash suite shows.
        let load = LOAD_BEFORE_KILL.mul_f64(1.0 + f64::from(round) * 0.37 % 1.0);
        generator.run(server.address(), Pace::FlatOut, Until::Elapsed(load)).await?;
        server.process.kill();

        let (tail_s, tail_bytes) = read_all(&folder.path().join("weir-data/log"))?;
        let begin = Instant::now();
        server = bench.weir(folder.path(), &["--query-deadline 10m"]).await?;
        let listening = begin.elapsed();
        ready(&server).await?;
        let ready = begin.elapsed();
        let mut http = Http::connect(server.address()).await?;
        http.get(&format!("/api/v1/meters/{}/query?subject=customer-00001", probe_meter()), "").await?;
        let queried = begin.elapsed();
        acknowledge(&mut http, round).await?;
        probes += 1;
        let all = begin.elapsed();
        server.all_visible().await?;
        Recount::of(&generator).check_count(server.address(), probes).await?;

        eprintln!(
            "round {round}: ready after {ready:?}, in all {all:?}; {tail_bytes} bytes of log read in {tail_s:.3} s"
        );
        pairs.push((all.as_secs_f64(), tail_s));
        rounds.push(json!({
            "listening_s": listening.as_secs_f64(), "ready_s": ready.as_secs_f64(),
            "first_answer_s": queried.as_secs_f64(), "first_acknowledgement_s": all.as_secs_f64(),
            "log_bytes": tail_bytes, "log_read_s": tail_s,
        }));
    }
    server.process.kill();
    let seconds: Vec<(f64, f64)> = pairs.iter().map(|(ours, _)| (*ours, LIMIT_S)).collect();
    let mut row = Row::of("ready, answering and acknowledging after kill -9", "5 s", "s", &seconds);
    row.must = Some(Bound::AtMost(1.0));
    report.row(row);
    let mut row = Row::of("the same", "reading the log's files", "s", &pairs);
    row.aim = Some(Bound::AtMost(1.5));
    report.row(row);
    report.note(format!(
        "at least {events} events stored; nothing acknowledged was lost or counted twice; files in the page cache \
         on both sides"
    ));
    report.detail("rounds", rounds.into());
    Ok(report)
}

async fn ready(server: &Weir) -> Result<(), Fail> {
    let mut http = Http::connect(server.address()).await?;
    loop {
        let answer = http.exchange(b"GET /healthz/ready HTTP/1.1\r\nhost: weir\r\n\r\n").await?;
        match answer.status {
            200 => return Ok(()),
            503 => sleep(Duration::from_millis(2)).await,
            status => return Err(because(format!("ready was answered {status}"))),
        }
    }
}

async fn acknowledge(http: &mut Http, round: u32) -> Result<(), Fail> {
    let time = format!("{}Z", second_text(now().0 - 1));
    let body = event_text(&format!("after-{round}-{}", now().1), "probe", &time, "{}");
    let answer = http.exchange(&[request_head(true, body.len()), body.into_bytes()].concat()).await?;
    if answer.status != 204 {
        return Err(because(format!("the first event was answered {}", answer.status)));
    }
    Ok(())
}

/// Reads every file of a folder; how long that took, and how many bytes they were.
fn read_all(folder: &Path) -> Result<(f64, u64), Fail> {
    let begin = Instant::now();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += read_all(&entry.path())?.1;
            continue;
        }
        let mut file = File::open(entry.path())?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => bytes += n as u64,
            }
        }
    }
    Ok((begin.elapsed().as_secs_f64(), bytes))
}
