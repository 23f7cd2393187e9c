//! The demo's data and meters: 28,834 flights out of New York in March 2013, as CloudEvents with the
//! carrier as subject.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Client, ClientError};
use crate::meters::NewMeter;
use crate::output::Failure;
use crate::send::source::Source;
use crate::send::{self};

/// Inside the program, so that the demo works from anywhere.
const FLIGHTS: &[u8] = include_bytes!("../../../examples/flights-2013-03.ndjson.gz");

const HTTP_CONFLICT: u16 = 409;

/// Slug, aggregation, value and group-bys of each meter.
const METERS: [(&str, &str, Option<&str>, &[&str]); 4] = [
    ("distance", "SUM", Some("$.distance"), &["origin", "dest"]),
    ("tailnums", "UNIQUE_COUNT", Some("$.tailnum"), &["origin"]),
    ("air_time", "AVG", Some("$.air_time"), &["origin"]),
    ("flights", "COUNT", None, &["origin"]),
];

/// Makes the meters that are not there yet; returns a line about it.
pub(super) async fn make_meters(client: &Client) -> Result<String, Failure> {
    let mut told = Vec::new();
    for (slug, aggregation, value, group_by) in METERS {
        let meter = NewMeter {
            slug: slug.to_owned(),
            event_type: "flight".to_owned(),
            aggregation: aggregation.to_owned(),
            value: value.map(str::to_owned),
            group_by: group_by.iter().map(|key| ((*key).to_owned(), format!("$.{key}"))).collect(),
            name: None,
            description: None,
            event_from: None,
        };
        match client.create_meter(&meter.body()).await {
            Ok(_) => {}
            // The demo ran in this folder before.
            Err(ClientError::Refused(problem)) if problem.status == HTTP_CONFLICT => {}
            Err(error) => return Err(error.into()),
        }
        told.push(match value {
            Some(path) => format!("{slug} = {aggregation}({path})"),
            None => format!("{slug} = {aggregation}"),
        });
    }
    Ok(format!("{} meters: {}", told.len(), told.join(", ")))
}

/// Sends every flight; returns how many were taken, the position that includes them, and the time.
pub(super) async fn send(client: &Client) -> Result<(u64, Option<String>, Duration), Failure> {
    let options = send::Options {
        files: Vec::new(),
        batch_events: 1_000,
        concurrency: 4,
        retry_for: Duration::from_secs(30),
    };
    let begin = Instant::now();
    let outcome = send::send(client, Source::embedded("flights-2013-03", FLIGHTS), &options).await;
    match outcome.failure {
        Some(failure) => Err(failure),
        None => Ok((outcome.taken, outcome.position, begin.elapsed())),
    }
}
