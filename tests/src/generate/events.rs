//! Random events, as the texts that go over the wire.

use std::collections::BTreeSet;

use rand::Rng as _;
use rand::seq::SliceRandom as _;

use super::times::{Times, rfc3339};
use super::{Rng8, pick};

/// Event types; meters select one each.
pub const TYPES: [&str; 3] = ["request", "Request", "größe/μ 😀"];
/// Subjects, some of which differ only in what a careless comparison overlooks.
pub const SUBJECTS: [&str; 6] = ["acme", "Acme", "acme ", "customer \"1\"", "日本\\語", "😀,b=c&d"];
/// Texts that properties take.
pub const TEXTS: [&str; 12] =
    ["", "a", "A", "b", "null", "true", "1", "1.0", "gpt-4 turbo", "größe", "😀\u{1F600}", "a,b\"c\\d\n%_"];

const SOURCES: [&str; 3] = ["a-b", "a", "https://example.com/ü?x=1"];
/// Numbers whose spelling or size is a trap, also inside strings.
const NUMBERS: [&str; 24] = [
    "0",
    "-0",
    "1",
    "1.0",
    "1.50",
    "-1",
    "10",
    "1e3",
    "1E+3",
    "25e-1",
    "0.1",
    "0.2",
    "0.30",
    "-7.25",
    "9007199254740993",
    "18446744073709551616",
    "123456789012345678901234567890.123456789",
    "999999999999999999999999999999999.999999999999999999999999999999",
    "1000000000000000000000000000000000",
    "0.0000000000000000000000000000005",
    "0.0000000000000000000000000000015",
    "1.0000000000000000000000000000005001",
    "-2.5e-30",
    "4.9e-50",
];
/// Texts that are numbers only inside a string, or nearly are.
const STRINGS_ONLY: [&str; 18] = [
    "+4",
    ".5",
    "5.",
    "-.5e1",
    " 5",
    "5 ",
    "0x10",
    "1_000",
    "NaN",
    "Inf",
    "-inf",
    "abc",
    "",
    "null",
    "1e",
    "1,5",
    "4.9e-324",
    "1e999999999999999999999",
];

/// Makes the events of one run.
#[derive(Clone, Debug)]
pub struct Generator {
    pub times: Times,
    /// The run's ids are drawn from this many, so that some come again.
    ids: usize,
    sent: Vec<String>,
    /// The times that are taken, if no two events may have the same.
    taken: Option<BTreeSet<i64>>,
}

impl Generator {
    pub fn new(rng: &mut Rng8, events: usize) -> Self {
        let ids = (events * 2 / [1, 2, 8][rng.random_range(0..3)]).max(1);
        Self { times: Times::new(rng), ids, sent: Vec::new(), taken: None }
    }

    /// No two identities get the same time. Which of two simultaneous values is the latest depends on the
    /// partitions they came to, and those only the server knows.
    pub fn with_distinct_times(mut self) -> Self {
        self.taken = Some(BTreeSet::new());
        self
    }

    /// The next event: a new one, one with a used identity and other content, or an exact copy.
    pub fn event(&mut self, rng: &mut Rng8) -> String {
        if !self.sent.is_empty() && rng.random_bool(0.1) {
            return self.sent[rng.random_range(0..self.sent.len())].clone();
        }
        let id = match rng.random_range(0..20) {
            0 => "b-c".to_owned(),
            1 => "c".to_owned(),
            _ => format!("id {}", rng.random_range(0..self.ids)),
        };
        let texts = [
            ("id", id.as_str()),
            ("source", pick(rng, &SOURCES)),
            ("type", pick(rng, &TYPES)),
            ("subject", pick(rng, &SUBJECTS)),
        ];
        let mut attributes = vec![("specversion", "\"1.0\"".to_owned())];
        attributes.extend(texts.map(|(key, text)| (key, string(rng, text))));
        let mut time_us = self.times.moment_us(rng);
        if let Some(taken) = &mut self.taken {
            while !taken.insert(time_us) {
                time_us += 1;
            }
        }
        attributes.push(("time", format!("\"{}\"", rfc3339(rng, time_us))));
        match rng.random_range(0..30) {
            0 => {}
            1 => attributes.push(("data", "null".to_owned())),
            _ => attributes.push(("data", data(rng))),
        }
        if rng.random_bool(0.1) {
            attributes.push(("datacontenttype", "\"application/json\"".to_owned()));
            attributes.push(("traceid", "\"00-é\"".to_owned()));
        }
        attributes.shuffle(rng);
        let event = object(rng, &attributes);
        self.sent.push(event.clone());
        event
    }
}

/// The data of an event: the properties that meters look at, each there or not, in any form.
fn data(rng: &mut Rng8) -> String {
    let mut members = Vec::new();
    for key in ["n", "m", "s", "a b", "a-b", "größe"] {
        for _ in 0..[0, 1, 1, 1, 1, 1, 1, 1, 2][rng.random_range(0..9)] {
            members.push((key, if key == "s" { text_value(rng) } else { value(rng) }));
        }
    }
    if rng.random_bool(0.7) {
        let inner = [("x", value(rng)), ("s", text_value(rng))];
        members.push(("nested", if rng.random_bool(0.1) { value(rng) } else { object(rng, &inner) }));
    }
    if rng.random_bool(0.7) {
        let items: Vec<String> = (0..rng.random_range(0..4)).map(|_| list_item(rng)).collect();
        members.push(("list", format!("[{}]", items.join(","))));
    }
    members.shuffle(rng);
    object(rng, &members)
}

fn list_item(rng: &mut Rng8) -> String {
    let key = if rng.random_bool(0.5) { "x" } else { "y" };
    let value = value(rng);
    if rng.random_bool(0.2) { value } else { object(rng, &[(key, value)]) }
}

/// Any JSON value, most often something that is, or looks like, a number.
fn value(rng: &mut Rng8) -> String {
    match rng.random_range(0..20) {
        0 => "null".to_owned(),
        1 => "true".to_owned(),
        2 => "false".to_owned(),
        3 => "{}".to_owned(),
        4 => "[1,2]".to_owned(),
        5 => {
            let text = pick(rng, &STRINGS_ONLY);
            string(rng, text)
        }
        6 | 7 => {
            let text = pick(rng, &NUMBERS);
            string(rng, text)
        }
        8 => text_value(rng),
        9..=11 => pick(rng, &NUMBERS).to_owned(),
        _ => number(rng),
    }
}

fn number(rng: &mut Rng8) -> String {
    let sign = if rng.random_bool(0.3) { "-" } else { "" };
    match rng.random_range(0..6) {
        0 => format!("{sign}{}", rng.random_range(0..5)),
        1 => format!("{sign}{}", rng.random::<u64>()),
        2 => format!("{sign}{}.{:02}", rng.random_range(0..1_000), rng.random_range(0..100)),
        3 => format!("{sign}{}.{}", rng.random::<u32>(), rng.random::<u128>()),
        4 => {
            let (whole, fraction) = (rng.random_range(1..10), rng.random_range(0..1_000));
            format!("{sign}{whole}.{fraction:03}e{}", rng.random_range(-32..32))
        }
        _ => format!("{sign}0.{}", rng.random_range(1..1_000)),
    }
}

fn text_value(rng: &mut Rng8) -> String {
    match rng.random_range(0..12) {
        0 => "null".to_owned(),
        1 => number(rng),
        2 => "true".to_owned(),
        _ => {
            let text = pick(rng, &TEXTS);
            string(rng, text)
        }
    }
}

/// An object with spaces wherever JSON allows them.
fn object(rng: &mut Rng8, members: &[(&str, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(key, value)| {
            let key = string(rng, key);
            format!("{}{key}{}:{}{value}", space(rng), space(rng), space(rng))
        })
        .collect();
    format!("{{{}{}}}", members.join(","), space(rng))
}

fn space(rng: &mut Rng8) -> &'static str {
    if rng.random_bool(0.05) { [" ", "\n", "\t ", "\r\n"][rng.random_range(0..4)] } else { "" }
}

/// A string, some of its characters escaped though they need not be.
fn string(rng: &mut Rng8, text: &str) -> String {
    let odd = rng.random_bool(0.1);
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '/' if odd => json.push_str("\\/"),
            c if odd && rng.random_bool(0.5) => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| json.push_str(&format!("\\u{unit:04x}")));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}
