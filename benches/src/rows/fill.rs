//! Fills a data folder for the query rows: a month of events whose number of minute windows is chosen, not
//! left to chance. Each subject is active in as many minutes, spread by a hash; in each of them it sends as
//! many events with the same group values. Events come in the order of time, as a month of traffic would.
//! `scripts/bench/queries` opens the folder, and finds in `manifest.json` what was sent.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::Bench;
use crate::calendar::{DAY_S, now, second_text};
use crate::corpus::{Fact, MODELS, Numbers, event_text, request_head, subject_name};
use crate::draw::{Draw, mix};
use crate::wire::Http;
use crate::{Fail, because};

const DAYS: i64 = 30;
const MINUTES: i64 = DAYS * 1_440;
const BATCH: usize = 1_000;
const CONNECTIONS: usize = 8;
const IDLE: Duration = Duration::from_secs(5);
const SETTLE_LIMIT: Duration = Duration::from_secs(3_600);

/// The meter that all window rows belong to.
const METER: &str = r#"{"slug":"tokens","eventType":"prompt","aggregation":"SUM","valueProperty":"$.tokens","groupBy":{"model":"$.model","route":"$.route"}}"#;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Month {
    pub subjects: u32,
    /// Minutes in which a subject is active, on average, and so its window rows.
    pub minutes_per_subject: u64,
    /// Two or three for 2.5, and so on.
    pub events_per_window: f64,
    pub seed: u64,
}

/// What was sent.
#[derive(Debug, Default)]
struct Told {
    events: u64,
    windows: u64,
    tokens: u64,
    by_model: BTreeMap<&'static str, u64>,
}

/// Makes `weir-data` and `manifest.json` in the folder.
pub async fn run(bench: &Bench, month: Month, folder: &Path) -> Result<(), Fail> {
    std::fs::create_dir_all(folder)?;
    if folder.join("weir-data").exists() {
        return Err(because(format!("{} has been filled before", folder.display())));
    }
    let server = bench.weir(folder, &[]).await?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Http::connect(server.address()).await?);
    }
    let answer = connections[0].post_json("/api/v1/meters", METER).await?;
    if answer.status != 201 {
        return Err(because(connections[0].body_text(&answer)));
    }

    let first_minute = (now().0.div_euclid(DAY_S) - DAYS) * 1_440;
    let mut told = Told::default();
    let mut draw = Draw::new(month.seed);
    let (mut events, mut batches) = (Vec::new(), Vec::new());
    for minute in 0..MINUTES {
        for subject in 0..month.subjects {
            let chance =
                mix(month.seed ^ mix(u64::from(subject)) ^ (minute as u64).wrapping_mul(0x9e37_79b9));
            if (u128::from(chance) * MINUTES as u128) >> 64 >= u128::from(month.minutes_per_subject) {
                continue;
            }
            window(&mut draw, &month, subject, first_minute + minute, &mut events, &mut told);
        }
        while events.len() >= BATCH {
            let rest = events.split_off(BATCH);
            batches.push(std::mem::replace(&mut events, rest));
            if batches.len() == CONNECTIONS {
                send(&mut connections, &mut batches).await?;
            }
        }
    }
    batches.push(events);
    send(&mut connections, &mut batches).await?;
    eprintln!("{} events in {} windows sent; bringing all of it to rest", told.events, told.windows);
    server.stop().await?;

    // A start has its whole head at rest, and compaction does what is left.
    let server = bench.weir(folder, &[]).await?;
    let settled = server.settle(IDLE, SETTLE_LIMIT).await?;
    let metrics = server.metrics().await?;
    server.stop().await?;
    let manifest = json!({
        "events": told.events, "windows": told.windows, "tokens": told.tokens, "tokens_by_model": told.by_model,
        "subjects": month.subjects, "from": format!("{}Z", second_text(first_minute * 60)),
        "to": format!("{}Z", second_text((first_minute + MINUTES) * 60)),
        "settled_after_s": settled.as_secs_f64(), "metrics": metrics,
    });
    std::fs::write(folder.join("manifest.json"), serde_json::to_string_pretty(&manifest)?)?;
    println!("{}", folder.display());
    Ok(())
}

/// All events of one subject and minute.
fn window(
    draw: &mut Draw,
    month: &Month,
    subject: u32,
    minute: i64,
    events: &mut Vec<String>,
    told: &mut Told,
) {
    let fact = Fact { subject, ..Fact::draw(draw, month.subjects) };
    let whole = month.events_per_window.floor();
    let one_more = (draw.below(1_000) as f64) < (month.events_per_window - whole) * 1_000.0;
    told.windows += 1;
    for _ in 0..whole as u64 + u64::from(one_more) {
        let numbers = Numbers::draw(draw);
        let (high, low) = (draw.number(), draw.number());
        let id = format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        );
        let (second, millis) = (draw.below(60), draw.below(1_000));
        let time = format!("{}.{millis:03}Z", second_text(minute * 60 + second as i64));
        events.push(event_text(&id, &subject_name(subject), &time, &fact.data(numbers)));
        told.events += 1;
        told.tokens += u64::from(numbers.tokens);
        *told.by_model.entry(MODELS[usize::from(fact.model)]).or_default() += u64::from(numbers.tokens);
    }
}

async fn send(connections: &mut [Http], batches: &mut Vec<Vec<String>>) -> Result<(), Fail> {
    let requests = connections.iter_mut().zip(batches.drain(..)).map(|(http, events)| async move {
        let body = format!("[{}]", events.join(","));
        let request = [request_head(false, body.len()), body.into_bytes()].concat();
        loop {
            let answer = http.exchange(&request).await?;
            match answer.status {
                204 => return Ok::<(), Fail>(()),
                503 => tokio::time::sleep(Duration::from_millis(50)).await,
                status => return Err(because(format!("answered {status}: {}", http.body_text(&answer)))),
            }
        }
    });
    futures::future::try_join_all(requests).await?;
    Ok(())
}
