//! The promise of the planner: however events are split between segments, pieces of the head and
//! rows that no window covers, every query gives the numbers of the obvious computation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use weir_catalog::Catalog as _;
use weir_meter::zone::{WindowSize, Windows, zone};
use weir_meter::{Aggregation, Decimal};
use weir_query::{Compare, Filter, UsageParams, UsageRequest};

use crate::world::{NOW_US, Sent, World};

const S: i64 = 1_000_000;

#[derive(Clone, Debug)]
struct Given {
    partition: u32,
    subject: u8,
    time_us: i64,
    /// Tenths; None is a value that is not there.
    value: Option<i64>,
    model: u8,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take(usize),
    Freeze,
    Flush {
        drop_pieces: bool,
    },
    /// Events after it are folded for the new meters only once a piece is begun.
    MakeMeters {
        freeze: bool,
    },
}

fn a_given() -> impl Strategy<Value = Given> {
    // Around minutes and hours, where mistakes are; some at an hour of Liberia in 1972, when its
    // clocks were 44 minutes and 30 seconds behind.
    let base = prop_oneof![4 => Just(NOW_US), 1 => Just(63_589_470 * S)];
    (0u32..2, 0u8..3, base, -3i64..4, -2i64..3, 0i64..3, prop::option::weighted(0.8, -50i64..50), 0u8..3)
        .prop_map(|(partition, subject, base, minute, second, micro, value, model)| Given {
            partition,
            subject,
            time_us: base + minute * 60 * S + second * S + micro,
            value,
            model,
        })
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..6).prop_map(Step::Take),
        1 => Just(Step::Freeze),
        2 => any::<bool>().prop_map(|drop_pieces| Step::Flush { drop_pieces }),
        2 => any::<bool>().prop_map(|freeze| Step::MakeMeters { freeze }),
    ]
}

fn a_request() -> impl Strategy<Value = UsageRequest> {
    let sizes = prop_oneof![
        Just(None),
        Just(Some(WindowSize::Minute)),
        Just(Some(WindowSize::Hour)),
        Just(Some(WindowSize::Day)),
    ];
    let zones = prop_oneof![Just(None), Just(Some("Asia/Kolkata")), Just(Some("Africa/Monrovia"))];
    let seconds = prop::option::of(-190i64..190);
    (sizes, zones, seconds, 1i64..300, any::<(bool, bool, bool)>(), prop::option::weighted(0.3, 0u8..3))
        .prop_map(|(window_size, zone_name, from, length, (to, by_subject, by_model), subject)| {
            UsageRequest {
                from_us: from.map(|from| NOW_US + from * S),
                to_us: to.then(|| NOW_US + (from.unwrap_or(-100) + length) * S),
                window_size,
                zone: zone_name.map(|name| zone(name).unwrap()),
                subjects: subject.map(|subject| vec![format!("s{subject}")]),
                by_subject: by_subject || subject.is_some(),
                group_by: if by_model { vec![("model".to_owned(), 0)] } else { Vec::new() },
                filters: if length % 3 == 0 {
                    vec![(0, Filter::Compare(Compare::NotEqual, "m1".to_owned()))]
                } else {
                    Vec::new()
                },
            }
        })
}

type Rows = BTreeMap<(Option<i64>, Option<String>, Vec<String>), String>;

/// The obvious computation. `events` come with the order in which they are in the log.
fn expected(events: &[(Given, (u32, u64))], aggregation: Aggregation, request: &UsageRequest) -> Rows {
    let zone = request.zone.clone().unwrap_or(jiff::tz::TimeZone::UTC);
    let mut groups: BTreeMap<_, Vec<&(Given, (u32, u64))>> = BTreeMap::new();
    for event in events {
        let (given, _) = event;
        let subject = format!("s{}", given.subject);
        let model = format!("m{}", given.model);
        let selected = request.from_us.is_none_or(|from| from <= given.time_us)
            && request.to_us.is_none_or(|to| given.time_us < to)
            && request.subjects.as_ref().is_none_or(|subjects| subjects.contains(&subject))
            && (request.filters.is_empty() || model != "m1");
        if selected {
            let window =
                request.window_size.map(|size| Windows::new(size, zone.clone()).window(given.time_us).0);
            let model = if request.group_by.is_empty() { vec![] } else { vec![model] };
            groups.entry((window, request.by_subject.then_some(subject), model)).or_default().push(event);
        }
    }
    groups.into_iter().filter_map(|(key, events)| Some((key, value(&events, aggregation)?))).collect()
}

fn value(events: &[&(Given, (u32, u64))], aggregation: Aggregation) -> Option<String> {
    let values: Vec<i64> = events.iter().filter_map(|(given, _)| given.value).collect();
    let tenths = |tenths: i64| decimal(tenths).to_string();
    match aggregation {
        Aggregation::Count => Some(events.len().to_string()),
        Aggregation::UniqueCount => Some(values.iter().collect::<BTreeSet<_>>().len().to_string()),
        Aggregation::Sum => (!values.is_empty()).then(|| tenths(values.iter().sum())),
        Aggregation::Avg => (!values.is_empty())
            .then(|| weir_meter::decimal::average(decimal(values.iter().sum()), values.len() as u64)),
        Aggregation::Min => values.iter().min().map(|value| tenths(*value)),
        Aggregation::Max => values.iter().max().map(|value| tenths(*value)),
        Aggregation::Latest => events
            .iter()
            .filter_map(|(given, at)| Some((given.time_us, at, given.value?)))
            .max()
            .map(|(_, _, value)| tenths(value)),
    }
}

/// Tenths as a decimal.
fn decimal(tenths: i64) -> Decimal {
    let text = format!("{}{}.{}", if tenths < 0 { "-" } else { "" }, tenths.abs() / 10, tenths.abs() % 10);
    match Decimal::parse_json_number(&text) {
        weir_meter::decimal::Parsed::Exact(decimal) => decimal,
        other => panic!("{text}: {other:?}"),
    }
}

const AGGREGATIONS: [Aggregation; 7] = [
    Aggregation::Sum,
    Aggregation::Count,
    Aggregation::UniqueCount,
    Aggregation::Avg,
    Aggregation::Min,
    Aggregation::Max,
    Aggregation::Latest,
];

async fn make_meters(world: &World) {
    for aggregation in AGGREGATIONS {
        let value = (aggregation != Aggregation::Count).then_some("$.v");
        let slug = aggregation.name().to_lowercase();
        world.meter(&slug, aggregation, value, &[("model", "$.m")]).await;
    }
}

async fn check(given: Vec<Given>, steps: Vec<Step>, requests: Vec<UsageRequest>) {
    let mut world = World::new().await;
    let mut left = given.into_iter();
    let mut taken: Vec<(Given, (u32, u64))> = Vec::new();
    let mut made = false;
    let mut order = 0;
    for step in steps {
        match step {
            Step::Take(count) => {
                for given in left.by_ref().take(count) {
                    let value = match given.value {
                        Some(value) => format!("\"v\": {}, ", decimal(value)),
                        None => "\"v\": null, ".to_owned(),
                    };
                    let sent = Sent {
                        event_type: "t",
                        subject: format!("s{}", given.subject),
                        time_us: given.time_us,
                        data: Some(format!("{{{value}\"m\": \"m{}\"}}", given.model)),
                    };
                    world.take(given.partition, &[sent]);
                    // The record time rises with every event, so ties in time go to the later one.
                    order += 1;
                    taken.push((given, (0, order)));
                }
            }
            Step::Freeze => world.freeze().await,
            Step::Flush { drop_pieces } => world.flush(drop_pieces).await,
            Step::MakeMeters { .. } if made => {}
            Step::MakeMeters { freeze } => {
                made = true;
                make_meters(&world).await;
                if freeze {
                    world.freeze().await;
                }
            }
        }
    }
    if !made {
        make_meters(&world).await;
    }
    for request in &requests {
        for aggregation in AGGREGATIONS {
            let slug = aggregation.name().to_lowercase();
            let meter = world.catalog.meter(&world.namespace, &slug).await.unwrap().unwrap();
            let answer = world.service.usage(&meter, request).await.unwrap();
            let mut rows: Rows = answer
                .rows
                .iter()
                .map(|row| {
                    let start = request.window_size.map(|_| row.window_start_us);
                    ((start, row.subject.clone(), row.groups.clone()), row.value.clone())
                })
                .collect();
            assert_eq!(rows.len(), answer.rows.len(), "two rows of one key");
            let expected = expected(&taken, aggregation, request);
            if expected.is_empty() && slug.contains("count") && request.is_total() {
                assert_eq!(rows.remove(&(None, None, vec![])).as_deref(), Some("0"));
            }
            assert_eq!(rows, expected, "{aggregation:?} {request:?}");
            let sorted: Vec<_> =
                answer.rows.iter().map(|r| (r.window_start_us, &r.subject, &r.groups)).collect();
            assert!(sorted.is_sorted(), "{sorted:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_split_gives_the_same_numbers(
        given in prop::collection::vec(a_given(), 20..40),
        steps in prop::collection::vec(a_step(), 0..16),
        requests in prop::collection::vec(a_request(), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check(given, steps, requests));
    }
}

#[tokio::test]
async fn a_meter_that_is_deleted_while_its_query_waits_loses_no_event() {
    let mut world = World::new().await;
    let meter = world.meter("ended", Aggregation::Count, None, &[]).await;
    world.meter("other", Aggregation::Count, None, &[]).await;
    world.freeze().await;
    let sent = Sent { event_type: "t", subject: "s".to_owned(), time_us: NOW_US, data: None };
    world.take(0, std::slice::from_ref(&sent));
    world.flush(true).await;
    // The query has read its meter by now.
    world.catalog.delete_meter(&world.namespace, "ended", NOW_US).await.unwrap();
    world.freeze().await;
    world.take(0, &[sent.clone(), sent]);
    for _ in ["in the head", "at rest"] {
        let request = UsageRequest::new(UsageParams::from_query("").unwrap(), &meter).unwrap();
        let answer = world.service.usage(&meter, &request).await.unwrap();
        assert_eq!(answer.rows.iter().map(|row| row.value.as_str()).collect::<Vec<_>>(), ["3"]);
        world.flush(true).await;
    }
}
