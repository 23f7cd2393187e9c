//! Texts mean themselves. Whatever a subject, a group value, a property's name, an event type, an id or a
//! source holds (quotes, comments, placeholders, NUL, look-alikes), a question about it counts exactly the
//! events whose bytes are the same. The reference compares bytes, one event at a time.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use weir_tests::http::{JSON, POSITION, READ_FROM, Reply};
use weir_tests::plain::values;
use weir_tests::reference::json::Json;

use super::{Own, encoded, own};
use crate::settings;

/// Pieces that mean something to some language, or look like another piece.
const PIECES: [&str; 56] = [
    "'", "\"", "`", "\\", "\\'", "''", "--", "/*", "*/", ";", "#", "$1", "$$", "${x}", "{}", "{0}", "{{",
    "%s", "%", "_", "?", ":1", "@v", "[", "]", "(", ")", "OR 1=1", "NULL", "null", "true", "1", "1.0", "1e0",
    " ", "\t", "\n", "\r\n", "\0", "\u{1f}", "\u{7f}", "a", "A", "а", "Ａ", "é", "e\u{301}", "ß", "ss", "İ",
    "K", "\u{212a}", "\u{200b}", "\u{202e}", "\u{2028}", "😀",
];
/// Texts that are the same to somebody: in look, in case, in normal form, to a trimmer or to a number parser.
const ALIKE: [&str; 24] = [
    "paypal",
    "pаypal",
    "PAYPAL",
    "paypal ",
    " paypal",
    "paypal\0",
    "paypal\u{200b}",
    "caf\u{e9}",
    "cafe\u{301}",
    "CAF\u{c9}",
    "ﬁne",
    "fine",
    "1",
    "1.0",
    "01",
    "+1",
    "1e0",
    "straße",
    "strasse",
    "STRASSE",
    "x'--",
    "x'",
    "x",
    "%",
];
/// Of a property whose name is a trap by itself.
const PATH: &str = r#"$['it\'s "x" \\ {} $1 ; -- é']"#;
const NAME: &str = r#"it's "x" \ {} $1 ; -- é"#;
const EVENTS: usize = 240;

struct Sent {
    id: String,
    source: String,
    event_type: String,
    subject: String,
    group: String,
    value: i64,
}

impl Sent {
    fn json(&self) -> String {
        json!({
            "specversion": "1.0", "id": self.id, "source": self.source, "type": self.event_type,
            "subject": self.subject,
            "data": { "value": self.value, NAME: self.group },
        })
        .to_string()
    }
}

fn text(rng: &mut ChaCha8Rng) -> String {
    if rng.random_bool(0.5) {
        return (*ALIKE.choose(rng).unwrap()).to_owned();
    }
    let pieces = rng.random_range(1..=4);
    (0..pieces).map(|_| *PIECES.choose(rng).unwrap()).collect()
}

/// A few texts, so that events share them.
fn texts(rng: &mut ChaCha8Rng, count: usize) -> Vec<String> {
    let mut texts: Vec<String> = (0..count).map(|_| text(rng)).collect();
    texts.sort();
    texts.dedup();
    texts
}

/// The sum of values by a text of each event, compared byte by byte.
fn sums<'s>(sent: impl Iterator<Item = &'s Sent>, by: impl Fn(&Sent) -> &str) -> BTreeMap<Vec<u8>, i64> {
    let mut sums = BTreeMap::new();
    for event in sent {
        *sums.entry(by(event).as_bytes().to_vec()).or_insert(0) += event.value;
    }
    sums
}

/// The answer's sums by what `of` finds in each row.
fn answered(reply: &Reply, of: impl Fn(&Json) -> Vec<u8>) -> BTreeMap<Vec<u8>, i64> {
    let answer = reply.json();
    let rows = answer.get("data").unwrap().items().iter();
    let sums: BTreeMap<_, _> =
        rows.clone().zip(values(reply)).map(|(row, value)| (of(row), value.parse().unwrap())).collect();
    assert_eq!(sums.len(), rows.len(), "two rows of one text: {}", reply.body);
    sums
}

fn subject_of(row: &Json) -> Vec<u8> {
    row.text("subject").as_bytes().to_vec()
}

fn group_of(row: &Json) -> Vec<u8> {
    row.get("groupBy").unwrap().text("g").as_bytes().to_vec()
}

struct Asking<'s> {
    server: &'s Own,
    position: String,
    /// Where to read from, if not from anywhere.
    from: Option<&'static str>,
}

impl Asking<'_> {
    fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![("content-type", JSON), (POSITION, self.position.as_str())];
        headers.extend(self.from.map(|from| (READ_FROM, from)));
        headers
    }

    async fn by_address(&self, slug: &str, parameters: &str) -> Reply {
        let path = format!("/api/v1/meters/{slug}/query?{parameters}");
        self.server.api.send(reqwest::Method::GET, &path, &self.headers(), Vec::new()).await.expect(200)
    }

    async fn by_body(&self, slug: &str, body: &Value) -> Reply {
        let path = format!("/api/v1/meters/{slug}/query");
        let reply = self
            .server
            .api
            .send(reqwest::Method::POST, &path, &self.headers(), body.to_string().into())
            .await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.body);
        reply
    }

    /// The only row's value, 0 without one.
    async fn sum(&self, slug: &str, body: Value) -> i64 {
        values(&self.by_body(slug, &body).await).iter().map(|value| value.parse::<i64>().unwrap()).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_means_itself() {
    let seeds: u64 = settings::number("WEIR_LITERAL_SEEDS", 1);
    let first: u64 = settings::number("WEIR_LITERAL_SEED", 1);
    for seed in first..first + seeds {
        one_seed(seed).await;
    }
}

async fn one_seed(seed: u64) {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let server = own(&["--flush-interval", "200ms"]);
    let types = texts(rng, 2);
    let (subjects, groups) = (texts(rng, 30), texts(rng, 30));
    for (at, event_type) in types.iter().enumerate() {
        for (slug, aggregation) in [(format!("sum_{at}"), "SUM"), (format!("distinct_{at}"), "UNIQUE_COUNT")]
        {
            let value = if aggregation == "SUM" { "$.value" } else { PATH };
            let mut meter = json!({"slug": slug, "eventType": event_type, "aggregation": aggregation, "valueProperty": value});
            if aggregation == "SUM" {
                meter["groupBy"] = json!({"g": PATH});
            }
            server.api.post("/api/v1/meters", JSON, meter.to_string()).await.expect(201);
        }
    }
    let sent: Vec<Sent> = (0..EVENTS)
        .map(|n| Sent {
            id: format!("{}{n}", text(rng)),
            source: text(rng),
            event_type: types.choose(rng).unwrap().clone(),
            subject: subjects.choose(rng).unwrap().clone(),
            group: groups.choose(rng).unwrap().clone(),
            value: rng.random_range(1..1_000_000),
        })
        .collect();
    let mut position = String::new();
    for batch in sent.chunks(EVENTS / 3) {
        position = server.api.ingest(&batch.iter().map(Sent::json).collect::<Vec<_>>()).await;
    }
    for (at, event_type) in types.iter().enumerate() {
        let of_type: Vec<&Sent> = sent.iter().filter(|event| event.event_type == *event_type).collect();
        for from in [None, Some("rows")] {
            let asking = Asking { server: &server, position: position.clone(), from };
            by_text(&asking, rng, &format!("sum_{at}"), &of_type).await;
            let distinct =
                sums(of_type.iter().copied().filter(|event| event.group != "null"), |e| &e.group).len();
            assert_eq!(
                asking.sum(&format!("distinct_{at}"), json!({})).await,
                distinct as i64,
                "seed {seed}"
            );
        }
    }
    listed(&server, &sent, &position).await;
    server.server.stop();
}

/// Grouped by texts and filtered by each of them, in every way there is.
async fn by_text(asking: &Asking<'_>, rng: &mut ChaCha8Rng, slug: &str, sent: &[&Sent]) {
    let by_subject = sums(sent.iter().copied(), |event| &event.subject);
    let by_group = sums(sent.iter().copied(), |event| &event.group);
    assert_eq!(answered(&asking.by_address(slug, "groupBy=subject").await, subject_of), by_subject);
    assert_eq!(answered(&asking.by_address(slug, "groupBy=g").await, group_of), by_group);
    let total: i64 = by_group.values().sum();
    let all: Vec<&str> = by_subject.keys().map(|text| std::str::from_utf8(text).unwrap()).collect();
    let reply = asking.by_body(slug, &json!({ "subject": all })).await;
    assert_eq!(answered(&reply, subject_of), by_subject);

    for subject in sample(rng, &all) {
        let expected: BTreeMap<_, _> = by_subject
            .get_key_value(subject.as_bytes())
            .map(|(text, sum)| (text.clone(), *sum))
            .into_iter()
            .collect();
        let reply = asking.by_address(slug, &format!("subject={}", encoded(subject))).await;
        assert_eq!(answered(&reply, subject_of), expected, "subject {subject:?}");
    }
    let groups: Vec<&str> = by_group.keys().map(|text| std::str::from_utf8(text).unwrap()).collect();
    for group in sample(rng, &groups) {
        let sum = by_group.get(group.as_bytes()).copied().unwrap_or(0);
        let less: i64 = by_group.range(..group.as_bytes().to_vec()).map(|(_, sum)| sum).sum();
        let reply = asking.by_address(slug, &format!("filterGroupBy[g]={}", encoded(group))).await;
        assert_eq!(
            values(&reply).iter().map(|value| value.parse::<i64>().unwrap()).sum::<i64>(),
            sum,
            "{group:?}"
        );
        let filters = [
            (json!({ "$eq": group }), sum),
            (json!({ "$ne": group }), total - sum),
            (json!({ "$in": [group, "\u{1}nobody"] }), sum),
            (json!({ "$nin": [group] }), total - sum),
            (json!({ "$like": pattern(group) }), sum),
            (json!({ "$lt": group }), less),
            (json!({ "$gte": group }), total - less),
        ];
        for (filter, expected) in filters.choose_multiple(rng, 3) {
            let got = asking.sum(slug, json!({ "advancedMeterGroupByFilters": { "g": filter } })).await;
            assert_eq!(got, *expected, "{filter}");
        }
        let got = asking.sum(slug, json!({ "filterProperties": { PATH: { "$eq": group } } })).await;
        assert_eq!(got, sum, "a property equal to {group:?}");
    }
}

/// Some of the texts that are there, and some that look like others.
fn sample<'t>(rng: &mut ChaCha8Rng, texts: &[&'t str]) -> Vec<&'t str> {
    let there: Vec<&str> = texts.choose_multiple(rng, 5).copied().collect();
    there.into_iter().chain(ALIKE.choose_multiple(rng, 4).copied()).collect()
}

/// A pattern that only the text itself is like.
fn pattern(text: &str) -> String {
    let special = |character: char| matches!(character, '%' | '_' | '\\');
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// The list finds events by exact subjects and by parts of ids, and shows every text as it was sent.
async fn listed(server: &Own, sent: &[Sent], position: &str) {
    for event in sent.iter().step_by(EVENTS / 12) {
        let path = format!("/api/v1/events?subject={}&id={}", encoded(&event.subject), encoded(&event.id));
        let reply = server.api.get_at(&path, position).await;
        let listed = reply.expect(200).json();
        let expected =
            sent.iter().filter(|other| other.subject == event.subject && other.id.contains(&event.id));
        let texts =
            |event: &Sent| [&event.id, &event.source, &event.event_type, &event.subject].map(Clone::clone);
        let mut expected: Vec<_> = expected.map(texts).collect();
        let mut found: Vec<_> = listed
            .items()
            .iter()
            .map(|listed| {
                let event = listed.get("event").unwrap();
                ["id", "source", "type", "subject"].map(|name| event.text(name).to_owned())
            })
            .collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{path}");
    }
}
