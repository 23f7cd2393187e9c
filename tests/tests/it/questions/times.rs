//! Times: late, early, future and out of order, around every kind of change that clocks make, at the ends
//! of months in odd zones. What an answer says is what the reference counts, whose zones are another crate's.

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use weir_tests::http::{self, BATCH, POSITION};
use weir_tests::plain::{event, meter, rfc3339, send};
use weir_tests::reference::model::Events;
use weir_tests::reference::{Aggregation, Query, Row, WindowSize, answer};

use super::own;

/// Zones with something odd about them, each with a moment at which it happens.
const ODD: [(&str, i64); 11] = [
    ("Pacific/Kiritimati", 1_772_272_800), // 14 hours ahead: March 2026 begins there
    ("Pacific/Kiritimati", 788_868_000),   // and where a day went missing, at the end of 1994
    ("Pacific/Pago_Pago", 1_772_362_800),  // 11 hours behind: March 2026 begins there
    ("Pacific/Apia", 1_325_239_200),       // 30 December 2011 never was
    ("Australia/Lord_Howe", 1_728_142_200), // springs forward by half an hour
    ("Australia/Lord_Howe", 1_775_314_800), // falls back by half an hour
    ("Pacific/Chatham", 1_775_311_200),    // 13:45 ahead, falls back
    ("Asia/Kathmandu", 1_772_302_500),     // 5:45 ahead: March 2026 begins there
    ("Antarctica/Troll", 1_774_746_000),   // two hours at once
    ("America/St_Johns", 1_772_947_800),   // half hours, springs forward
    ("Europe/Dublin", 1_774_746_000),      // where winter is the exception
];
/// Seconds around a moment.
const NEAR: [i64; 15] =
    [-90_000, -7_201, -3_600, -1_801, -1_800, -61, -1, 0, 1, 59, 1_799, 1_800, 3_600, 7_199, 90_000];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_equal_a_recount_in_odd_zones_whatever_the_order() {
    let server = own(&["--flush-interval", "100ms", "--flush-events", "60", "--compaction-fanout", "2"]);
    let rng = &mut ChaCha8Rng::seed_from_u64(11);
    let meters = [Aggregation::Sum, Aggregation::Latest]
        .map(|aggregation| meter(&aggregation.name().to_lowercase(), aggregation, &[]));
    for meter in &meters {
        server.api.create_meter(meter).await;
    }
    // Also what lies far behind and ahead of everything else.
    let moments = ODD.iter().flat_map(|(_, moment)| NEAR.iter().map(move |near| moment + near));
    let mut seconds: Vec<i64> = moments.chain([0, 1, 59, 4_070_908_799, 3_000_000_000]).collect();
    // Which of two values of one instant is the latest is for other tests.
    seconds.sort_unstable();
    seconds.dedup();
    seconds.shuffle(rng);
    let texts: Vec<String> = seconds
        .iter()
        .enumerate()
        .map(|(n, second)| {
            let data = format!(r#"{{"value":{}}}"#, rng.random_range(1..1_000_000));
            event(&n.to_string(), "s", *second, &data)
        })
        .collect();
    let mut events = Events::default();
    let mut position = String::new();
    // Some come when others are long at rest.
    for batch in texts.chunks(texts.len() / 4 + 1) {
        batch.iter().for_each(|text| assert!(events.add(text)));
        position = send(&server.api, batch).await;
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    for (zone, moment) in ODD {
        for window in WindowSize::ALL {
            for meter in &meters {
                // Whole, and cut inside an hour and inside a minute.
                for (from, to) in
                    [(None, None), (Some(moment - 1_800), Some(moment + 1_799)), (Some(moment - 1), None)]
                {
                    let us = |second: i64| second * 1_000_000;
                    let query = Query {
                        from_us: from.map(us),
                        to_us: to.map(us),
                        window: Some(window),
                        zone: Some(zone),
                        ..Query::default()
                    };
                    // One window tells whether the latest is the latest.
                    if meter.aggregation == Aggregation::Latest
                        && (window != WindowSize::Day || from.is_some())
                    {
                        continue;
                    }
                    // Minutes of all time are asked once.
                    if window == WindowSize::Minute && from.is_none() && moment != ODD[0].1 {
                        continue;
                    }
                    let headers = [(POSITION, position.as_str())];
                    let reply = server.api.query(&meter.slug, &query, true, &headers).await.expect(200);
                    let expected: Vec<Row> = answer(&events.accepted, meter, &query);
                    assert_eq!(
                        http::rows(&reply),
                        expected,
                        "{} by {window:?} in {zone}, {from:?} to {to:?}",
                        meter.slug
                    );
                }
            }
        }
    }
    server.server.stop();
}

/// A second 60 is no time here, as clocks of the contract have none; the last microsecond before it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leap_seconds_are_refused_and_their_neighbours_counted() {
    let server = own(&[]);
    server.api.create_meter(&meter("count", Aggregation::Count, &[])).await;
    let at = |id: &str, time: &str| event(id, "s", 0, "{}").replace(&rfc3339(0), time);
    for time in [
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:60.5Z",
        "2017-01-01T01:59:60+02:00",
        "2016-12-31T24:00:00Z",
    ] {
        let body = format!("[{},{}]", at("a", "2016-12-31T23:59:59Z"), at("b", time));
        let detail = server.api.post("/api/v1/events", BATCH, body).await.expect_problem(400);
        assert!(detail.contains("time"), "{time}: {detail}");
    }
    let counted = [
        "2016-12-31T23:59:59.999999999Z",
        "2017-01-01T00:00:00Z",
        "2017-01-01T13:59:59+14:00",
        "2016-12-31T12:59:59-11:00",
    ];
    let events: Vec<String> = counted.iter().enumerate().map(|(n, time)| at(&n.to_string(), time)).collect();
    let position = server.api.ingest(&events).await;
    let path = "/api/v1/meters/count/query?windowSize=DAY";
    let reply = server.api.get_at(path, &position).await.expect(200);
    let days: Vec<(String, i64)> =
        http::rows(&reply).iter().map(|row| (row.value.clone(), row.window_start)).collect();
    assert_eq!(days, [("3".to_owned(), 1_483_142_400), ("1".to_owned(), 1_483_228_800)], "{}", reply.body);
    server.server.stop();
}
