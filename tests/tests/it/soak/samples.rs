//! What is written down of the soak's server every few seconds, and whether any of it grows.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use tokio::time::Instant;
use weir_tests::folder;
use weir_tests::http::Api;
use weir_tests::plain::event;
use weir_tests::process::{self, Metrics};
use weir_tests::server::Server;

use super::clients::Clients;
use super::faults::Fault;

const MIB: f64 = (1 << 20) as f64;
/// Of the time, until caches are full and compaction has found its rhythm.
const WARM_UP: f64 = 0.25;
/// What may be there more at the end than after the warm-up: of a figure's size, and beyond that.
const GROWTH_MAX: f64 = 0.25;

#[derive(Clone, Debug)]
struct Sample {
    elapsed: Duration,
    rss_anon_mib: f64,
    open_files: f64,
    freshness_ms: f64,
    folder_mib: f64,
    listed_segments: f64,
    identities: f64,
    events: u64,
    /// What happened since the last sample.
    faults: Vec<Fault>,
}

#[derive(Debug)]
pub(super) struct Samples {
    begun: Instant,
    all: Vec<Sample>,
    faults: Vec<Fault>,
    probes: u64,
}

impl Samples {
    pub(super) fn new(begun: Instant) -> Self {
        Self { begun, all: Vec::new(), faults: Vec::new(), probes: 0 }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) async fn take(&mut self, server: &Server, data: &Path, clients: &Clients) {
        let metrics = Metrics::of(server).await;
        let sample = Sample {
            elapsed: self.begun.elapsed(),
            freshness_ms: self.freshness(&Api::new(&server.url)).await,
            rss_anon_mib: process::rss_anon(server.pid()).unwrap() as f64 / MIB,
            open_files: process::open_files(server.pid()).unwrap() as f64,
            folder_mib: folder::bytes(data) as f64 / MIB,
            listed_segments: metrics.sum("weir_catalog_listed_segments", ""),
            identities: metrics.sum("weir_aggregator_identities", ""),
            events: clients.events(),
            faults: std::mem::take(&mut self.faults),
        };
        self.all.push(sample);
    }

    /// Milliseconds from sending an event until an answer has it; not a number if the server had no time.
    async fn freshness(&mut self, api: &Api) -> f64 {
        self.probes += 1;
        let id = format!("probe-{}", self.probes);
        // Of a type that no meter counts: the waiting is what is measured.
        let probe = event(&id, "s", 1_780_272_000, "{}").replace("request", "probe");
        let begun = Instant::now();
        let body = probe.into_bytes();
        let headers = [("content-type", weir_tests::http::SINGLE)];
        let Ok(taken) = api.try_send(Method::POST, "/api/v1/events", &headers, body).await else {
            return f64::NAN;
        };
        let position = taken.header("weir-position").to_owned();
        let path = "/api/v1/meters/count/query?subject=nobody";
        let asked = api.try_send(Method::GET, path, &[("weir-position", &position)], Vec::new()).await;
        match asked {
            Ok(reply) if taken.status == 204 && reply.status == 200 => begun.elapsed().as_secs_f64() * 1e3,
            _ => f64::NAN,
        }
    }

    pub(super) fn write(&self, file: &Path) {
        let mut text = "elapsed_s,rss_anon_mib,open_files,freshness_ms,folder_mib,listed_segments,identities,events,faults\n".to_owned();
        for sample in &self.all {
            let faults: Vec<String> = sample.faults.iter().map(|fault| format!("{fault:?}")).collect();
            text += &format!(
                "{:.1},{:.1},{},{:.1},{:.1},{},{},{},{}\n",
                sample.elapsed.as_secs_f64(),
                sample.rss_anon_mib,
                sample.open_files,
                sample.freshness_ms,
                sample.folder_mib,
                sample.listed_segments,
                sample.identities,
                sample.events,
                faults.join(" "),
            );
        }
        fs::write(file, text).unwrap();
        println!("soak: {} samples in {}", self.all.len(), file.display());
    }

    pub(super) fn growth(&self) -> Growth {
        let from = self.all.last().map_or(Duration::ZERO, |last| last.elapsed.mul_f64(WARM_UP));
        let settled: Vec<&Sample> = self.all.iter().filter(|sample| sample.elapsed >= from).collect();
        let figure = |name, unit, slack, of: fn(&Sample) -> f64| {
            let values: Vec<f64> =
                settled.iter().map(|sample| of(sample)).filter(|value| value.is_finite()).collect();
            let half = values.len() / 2;
            let hours: Vec<(f64, f64)> = settled
                .iter()
                .map(|sample| (sample.elapsed.as_secs_f64() / 3_600.0, of(sample)))
                .filter(|(_, value)| value.is_finite())
                .collect();
            Figure {
                name,
                unit,
                slack,
                first: median(&values[..half]),
                last: median(&values[half..]),
                most: values.iter().copied().fold(f64::NAN, f64::max),
                per_hour: slope(&hours),
            }
        };
        Growth(vec![
            figure("memory", "MiB", 32.0, |s| s.rss_anon_mib),
            figure("open files", "", 40.0, |s| s.open_files),
            figure("freshness", "ms", 250.0, |s| s.freshness_ms),
            figure("listed segments", "", 30.0, |s| s.listed_segments),
            figure("bytes a listed event", "B", 20.0, |s| s.folder_mib * MIB / s.events.max(1) as f64),
        ])
    }
}

/// One figure over the soak.
#[derive(Debug)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    /// What it may grow by however small it is.
    slack: f64,
    /// Medians of the first and of the second half after the warm-up.
    first: f64,
    last: f64,
    most: f64,
    /// The median of the slopes between all pairs: single outliers do not move it.
    per_hour: f64,
}

impl Figure {
    fn is_flat(&self) -> bool {
        self.last <= self.first * (1.0 + GROWTH_MAX) + self.slack
    }
}

#[derive(Debug)]
pub(super) struct Growth(Vec<Figure>);

impl Growth {
    pub(super) fn expect_flat(&self) {
        let grown: Vec<_> = self.0.iter().filter(|figure| !figure.is_flat()).collect();
        assert!(grown.is_empty(), "these grew: {grown:?}");
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Figure { name, unit, first, last, most, per_hour, .. } in &self.0 {
            writeln!(
                f,
                "soak: {name}: median {first:.1} {unit}, later {last:.1}, at most {most:.1}; {per_hour:+.1} an hour"
            )?;
        }
        Ok(())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Theil and Sen's estimate, a unit of the second by a unit of the first.
fn slope(points: &[(f64, f64)]) -> f64 {
    let pairs = points
        .iter()
        .enumerate()
        .flat_map(|(n, (x, y))| points[n + 1..].iter().map(move |(later, value)| (value - y) / (later - x)));
    median(&pairs.filter(|slope| slope.is_finite()).collect::<Vec<_>>())
}
