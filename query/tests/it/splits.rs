//! The promise of the planner: however events are split between segments, pieces of the head and
//! rows that no window covers, every query gives the numbers of the obvious computation.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use weir_catalog::{Catalog as _, MeterUpdate};
use weir_meter::time::format_utc;
use weir_meter::zone::Windows;
use weir_meter::{Aggregation, Decimal};
use weir_proto::Position;
use weir_query::{Ask, QueryError, ReadOnly, UsageAnswer, UsageParams, UsageRequest};

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
    /// A changed group-by is a new generation, of which nothing has been folded.
    Change(usize),
    /// Ends a meter and gives its name to one that counts.
    Replace(usize),
    Compact(usize),
    MergeRows(usize),
    /// Deletes what compaction has replaced.
    Forget,
    /// Asks a question whose answer is compared with later ones at its position.
    Remember {
        request: usize,
        meter: usize,
        by_id: bool,
    },
}

fn a_given() -> impl Strategy<Value = Given> {
    // Around minutes and hours, where mistakes are, and around half hours, where India has its hours; some
    // at an hour of Liberia in 1972, when its clocks were 44 minutes and 30 seconds behind.
    let base = prop_oneof![4 => Just(NOW_US), 2 => Just(NOW_US + 1_800 * S), 1 => Just(63_589_470 * S)];
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
        4 => any::<bool>().prop_map(|drop_pieces| Step::Flush { drop_pieces }),
        2 => any::<bool>().prop_map(|freeze| Step::MakeMeters { freeze }),
        1 => (0usize..7).prop_map(Step::Change),
        1 => (0usize..7).prop_map(Step::Replace),
        3 => (2usize..4).prop_map(Step::Compact),
        1 => (2usize..4).prop_map(Step::MergeRows),
        1 => Just(Step::Forget),
        4 => (0usize..5, 0usize..7, any::<bool>())
            .prop_map(|(request, meter, by_id)| Step::Remember { request, meter, by_id }),
    ]
}

/// A question as the body of a request.
fn a_request() -> impl Strategy<Value = String> {
    let sizes = prop::option::of(prop::sample::select(vec!["MINUTE", "HOUR", "DAY"]));
    let zones =
        prop::option::of(prop::sample::select(vec!["Europe/Berlin", "Asia/Kolkata", "Africa/Monrovia"]));
    // Long ranges have whole hours inside, short ones cut minutes.
    let from = prop::option::of(prop_oneof![-190i64..190, Just(-7_200), Just(-3_600)]);
    let length = prop_oneof![1i64..300, 3_000i64..15_000, Just(3_600)];
    (sizes, zones, from, length, any::<(bool, bool, bool)>(), prop::option::weighted(0.3, 0u8..3), 0u8..4)
        .prop_map(|(size, zone, from, length, (to, by_subject, by_model), subject, filter)| {
            let time = |s: i64| Value::from(format_utc(NOW_US + s * S));
            let mut body = Map::new();
            let mut add = |name: &str, value: Value| body.insert(name.to_owned(), value);
            size.map(|size| add("windowSize", size.into()));
            zone.map(|zone| add("windowTimeZone", zone.into()));
            from.map(|from| add("from", time(from)));
            to.then(|| add("to", time(from.unwrap_or(-100) + length)));
            subject.map(|subject| add("subject", json!([format!("s{subject}")])));
            let mut keys = Vec::new();
            keys.extend(by_subject.then_some("subject"));
            keys.extend(by_model.then_some("model"));
            add("groupBy", json!(keys));
            match filter {
                0 => add("advancedMeterGroupByFilters", json!({"model": {"$ne": "m1"}})),
                1 => add("filterProperties", json!({"$['m']": {"$ne": "m1"}, "$.s": {"$eq": "x"}})),
                _ => None,
            };
            Value::from(body).to_string()
        })
}

type Rows = BTreeMap<(Option<i64>, Option<String>, Vec<String>), String>;

/// The obvious computation. `events` come with the order in which they are in the log.
fn expected(events: &[(Given, (u32, u64))], aggregation: Aggregation, request: &UsageRequest) -> Rows {
    let zone = request.zone.clone().unwrap_or(jiff::tz::TimeZone::UTC);
    let by_model = !request.group_by.is_empty();
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
            let model = if by_model { vec![model] } else { vec![] };
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

/// An answer that was given, and what was asked for it.
struct Remembered {
    body: String,
    meter: String,
    answer: UsageAnswer,
    token: String,
    json: String,
}

/// The world, and what it was told.
struct Told {
    world: World,
    taken: Vec<(Given, (u32, u64))>,
    made: bool,
    remembered: Vec<Remembered>,
}

async fn check(given: Vec<Given>, steps: Vec<Step>, requests: Vec<String>) {
    let mut told = Told { world: World::new().await, taken: Vec::new(), made: false, remembered: Vec::new() };
    let mut left = given.into_iter();
    for step in steps {
        told.step(step, &mut left, &requests).await;
    }
    if !told.made {
        make_meters(&told.world).await;
    }
    for (number, request) in requests.iter().enumerate() {
        for (at, aggregation) in AGGREGATIONS.into_iter().enumerate() {
            let answer = told.ask(request, &slug_of(aggregation)).await;
            // A third is enough to ask in all ways.
            if (number + at) % 3 == 0 {
                told.same_in_all_ways(request, &slug_of(aggregation), None, &answer).await;
            }
        }
    }
    for old in &told.remembered {
        told.ask_again(old).await;
    }
}

fn slug_of(aggregation: Aggregation) -> String {
    aggregation.name().to_lowercase()
}

impl Told {
    async fn step(&mut self, step: Step, left: &mut impl Iterator<Item = Given>, requests: &[String]) {
        let world = &mut self.world;
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
                        data: Some(format!("{{{value}\"m\": \"m{}\", \"s\": \"x\"}}", given.model)),
                    };
                    world.take(given.partition, &[sent]);
                    // The record time rises with every event, so ties in time go to the later one.
                    let order = self.taken.len() as u64;
                    self.taken.push((given, (0, order)));
                }
            }
            Step::Freeze => world.freeze().await,
            Step::Flush { drop_pieces } => world.flush(drop_pieces).await,
            Step::Compact(count) => world.compact(count).await,
            Step::MergeRows(count) => world.merge_rows(count).await,
            Step::Forget => world.forget().await,
            Step::MakeMeters { .. } if self.made => {}
            Step::MakeMeters { freeze } => {
                self.made = true;
                make_meters(world).await;
                if freeze {
                    world.freeze().await;
                }
            }
            _ if !self.made => {}
            Step::Change(meter) => {
                let slug = slug_of(AGGREGATIONS[meter]);
                let meter = world.catalog.meter(&world.namespace, &slug).await.unwrap().unwrap();
                let mut group_by = meter.group_by.clone();
                // Other places for the key that questions name.
                group_by.insert(format!("a{}", meter.generation), "$.s".to_owned());
                let update = MeterUpdate { group_by, ..MeterUpdate::default() };
                world.catalog.update_meter(&world.namespace, &slug, update, NOW_US).await.unwrap();
            }
            Step::Replace(meter) => {
                let slug = slug_of(AGGREGATIONS[meter]);
                assert!(world.catalog.delete_meter(&world.namespace, &slug, NOW_US).await.unwrap());
                world.meter(&slug, Aggregation::Count, None, &[("model", "$.m")]).await;
            }
            Step::Remember { request, meter, by_id } => {
                let body = &requests[request % requests.len()];
                let slug = slug_of(AGGREGATIONS[meter]);
                let answer = self.ask(body, &slug).await;
                let meter = self.world.catalog.meter(&self.world.namespace, &slug).await.unwrap().unwrap();
                let name = if by_id { meter.id.to_string() } else { slug };
                let (token, json) = self.over_http(&name, body, None).await;
                self.remembered.push(Remembered { body: body.clone(), meter: name, answer, token, json });
            }
        }
    }

    /// Asks, and compares with the obvious computation.
    async fn ask(&self, body: &str, slug: &str) -> UsageAnswer {
        let world = &self.world;
        let meter = world.catalog.meter(&world.namespace, slug).await.unwrap().unwrap();
        let request = UsageRequest::new(UsageParams::from_json(body.as_bytes()).unwrap(), &meter).unwrap();
        let answer = self.read(body, slug, Ask::default()).await.unwrap();
        let mut rows: Rows = answer
            .rows
            .iter()
            .map(|row| {
                let start = request.window_size.map(|_| row.window_start_us);
                ((start, row.subject.clone(), row.groups.clone()), row.value.clone())
            })
            .collect();
        assert_eq!(rows.len(), answer.rows.len(), "two rows of one key");
        let expected = expected(&self.taken, meter.aggregation, &request);
        if expected.is_empty() && meter.aggregation.name().contains("COUNT") && request.is_total() {
            assert_eq!(rows.remove(&(None, None, vec![])).as_deref(), Some("0"));
        }
        assert_eq!(rows, expected, "{:?} {body}", meter.aggregation);
        let sorted: Vec<_> = answer.rows.iter().map(|r| (r.window_start_us, &r.subject, &r.groups)).collect();
        assert!(sorted.is_sorted(), "{sorted:?}");
        answer
    }

    async fn read(&self, body: &str, meter: &str, ask: Ask) -> Result<UsageAnswer, QueryError> {
        let params = UsageParams::from_json(body.as_bytes()).unwrap();
        self.world.service.usage(&self.world.namespace, meter, params, ask).await
    }

    /// Rows alone give the same answer, and so do segments if they can.
    async fn same_in_all_ways(
        &self,
        body: &str,
        meter: &str,
        at: Option<&UsageAnswer>,
        answer: &UsageAnswer,
    ) {
        let position = at.map(|answer| answer.position.clone());
        for only in [ReadOnly::Rows, ReadOnly::Segments] {
            let ask = Ask { position: position.clone(), only: Some(only) };
            match self.read(body, meter, ask).await {
                Ok(other) => {
                    assert_eq!(other.rows, answer.rows, "{only:?} {meter} {body}");
                    let unused = if only == ReadOnly::Rows { other.read.windows } else { other.read.events };
                    assert_eq!(unused, 0, "{only:?} {meter} {body}");
                }
                Err(QueryError::RowsNeeded(_)) if only == ReadOnly::Segments => {}
                Err(error) => panic!("{only:?} {meter} {body}: {error}"),
            }
        }
    }

    async fn ask_again(&self, old: &Remembered) {
        let ask = Ask { position: Some(old.answer.position.clone()), only: None };
        let answer = self.read(&old.body, &old.meter, ask).await.unwrap();
        assert_eq!(answer.rows, old.answer.rows, "{} {}", old.meter, old.body);
        assert_eq!(answer.position, old.answer.position);
        self.same_in_all_ways(&old.body, &old.meter, Some(&old.answer), &answer).await;
        let (token, json) = self.over_http(&old.meter, &old.body, Some(&old.token)).await;
        assert_eq!((token, json), (old.token.clone(), old.json.clone()), "{} {}", old.meter, old.body);
    }

    /// The position and the bytes of an answer.
    async fn over_http(&self, meter: &str, body: &str, position: Option<&str>) -> (String, String) {
        let path = format!("/api/v1/meters/{meter}/query");
        let headers: Vec<_> = position.map(|position| ("weir-position", position)).into_iter().collect();
        let (status, headers, answer) = self.world.request(Method::POST, &path, &headers, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        (headers["weir-position"].to_str().unwrap().to_owned(), answer)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]
    #[test]
    fn every_split_gives_the_same_numbers(
        given in prop::collection::vec(a_given(), 20..40),
        steps in prop::collection::vec(a_step(), 0..32),
        requests in prop::collection::vec(a_request(), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check(given, steps, requests));
    }
}

#[tokio::test]
async fn a_meter_that_has_ended_answers_for_its_time_only() {
    let mut world = World::new().await;
    let meter = world.meter("ended", Aggregation::Count, None, &[]).await;
    world.meter("other", Aggregation::Count, None, &[]).await;
    world.freeze().await;
    let sent = Sent { event_type: "t", subject: "s".to_owned(), time_us: NOW_US, data: None };
    world.take(0, std::slice::from_ref(&sent));
    world.flush(true).await;
    let ended = meter.id.to_string();
    let before = world.usage(&ended, "").await.unwrap();
    world.catalog.delete_meter(&world.namespace, "ended", NOW_US).await.unwrap();
    let after = world.usage("other", "").await.unwrap().position;
    world.freeze().await;
    world.take(0, &[sent.clone(), sent]);
    let ask = async |world: &World, position: Option<Position>| {
        let ask = Ask { position, only: None };
        world.service.usage(&world.namespace, &ended, UsageParams::default(), ask).await
    };
    for _ in ["in the head", "at rest"] {
        for position in [None, Some(after.clone())] {
            let error = ask(&world, position).await.unwrap_err();
            assert!(
                matches!(&error, QueryError::NotFound(text) if text.contains("was deleted at")),
                "{error}"
            );
        }
        let again = ask(&world, Some(before.position.clone())).await.unwrap();
        assert_eq!(again.rows, before.rows);
        let progress = world.get(&format!("/api/v1/info/progress/{ended}")).await;
        assert_eq!(progress.0, StatusCode::NOT_FOUND, "{}", progress.1);
        world.flush(true).await;
    }
}
