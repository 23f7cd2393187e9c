//! The demo's story against a server that answers as it is told: every flight is sent once, and every
//! question carries the position that includes them all.

use std::sync::Mutex;

use axum::http::StatusCode;
use serde_json::Value;
use serde_json::value::RawValue;
use weir::client::Client;
use weir::output::Style;

use crate::fake::{Answer, Fake, problem};

const FLIGHTS: usize = 28_834;

fn answered(rows: &str) -> Answer {
    (StatusCode::OK, Vec::new(), format!(r#"{{"data":[{rows}]}}"#))
}

fn row(value: &str, subject: &str, origin: &str) -> String {
    format!(
        r#"{{"value":{value},"windowStart":"2013-03-10T00:00:00-05:00","windowEnd":"2013-03-11T00:00:00-04:00","subject":{subject},"groupBy":{{"origin":"{origin}"}}}}"#
    )
}

#[tokio::test]
async fn every_flight_is_sent_and_every_question_waits_for_them() {
    let made = || (StatusCode::CREATED, Vec::new(), "{}".to_owned());
    let batches = FLIGHTS.div_ceil(1_000);
    let mut script =
        vec![made(), problem(StatusCode::CONFLICT, "conflict error: there", "{}"), made(), made()];
    script.extend((0..batches).map(|_| (StatusCode::NO_CONTENT, Vec::new(), String::new())));
    script.extend([
        answered(&row("231659", "\"UA\"", "")),
        answered(&[row("1839", "null", "EWR"), row("1848", "null", "LGA")].join(",")),
        answered(&row("204.7958851089834810", "\"UA\"", "")),
        answered(&row("28834", "null", "")),
    ]);
    let (fake, url) = Fake::start(script).await;
    let said = Mutex::new(String::new());
    let say = |text: &str| {
        said.lock().unwrap().push_str(text);
        Ok(())
    };
    weir::demo::tell(&Client::new(&url).unwrap(), Style::PLAIN, &say).await.unwrap();

    let seen = fake.seen();
    let sent: Vec<&str> =
        seen.iter().filter(|seen| seen.uri == "/api/v1/events").map(|seen| seen.body.as_str()).collect();
    assert_eq!(sent.len(), batches);
    let events: Vec<Vec<&RawValue>> = sent.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(events.iter().map(Vec::len).sum::<usize>(), FLIGHTS);
    let questions: Vec<_> = seen.iter().filter(|seen| seen.uri.ends_with("/query")).collect();
    assert_eq!(questions.len(), 4);
    // The position of the last batch, which was sent when all others had been taken.
    let position = format!("position-{}", 4 + batches);
    assert!(questions.iter().all(|seen| seen.position.as_deref() == Some(&position)));
    let days: Value = serde_json::from_str(&questions[0].body).unwrap();
    assert_eq!(days["windowTimeZone"], "America/New_York");

    // All but the timings, which differ from run to run.
    let said = said.into_inner().unwrap();
    let steady: Vec<&str> = said
        .lines()
        .filter(|line| !line.contains("events/s"))
        .map(|line| line.split("  (").next().unwrap())
        .collect();
    insta::assert_snapshot!(steady.join("\n"));
}
