//! The splitter must not care how a stream is cut into chunks, and must find what a slow, obvious
//! reading of the whole finds.

use proptest::prelude::*;
use weir::send::splitter::{SplitError, Splitter};

type Elements = Vec<(u64, String)>;

/// Feeds the chunks that end at `cuts`; what was found, and the error if there was one.
fn split(text: &[u8], cuts: &[usize]) -> (Elements, Option<SplitError>) {
    let mut found = Vec::new();
    let mut take = |line: u64, element: &[u8]| {
        found.push((line, String::from_utf8_lossy(element).into_owned()));
        Ok::<(), SplitError>(())
    };
    let mut splitter = Splitter::default();
    let mut outcome = Ok(());
    let mut begin = 0;
    for end in cuts.iter().copied().chain([text.len()]) {
        if end < begin || outcome.is_err() {
            continue;
        }
        outcome = splitter.push(&text[begin..end], &mut take);
        begin = end;
    }
    let outcome = outcome.and_then(|()| splitter.finish(&mut take));
    (found, outcome.err())
}

fn lines_slowly(text: &str) -> Elements {
    let lines = (1..).zip(text.split('\n'));
    lines.map(|(line, text)| (line, text.trim_ascii().to_owned())).filter(|(_, t)| !t.is_empty()).collect()
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("-1.50e+3".to_owned()),
        Just(r#""a\"b,]}{[\\""#.to_owned()),
        Just("\"Zürich 航空\"".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|all| format!("[{}]", all.join(" ,\n "))),
            prop::collection::vec(inner, 0..3).prop_map(|all| {
                let fields: Vec<String> = all.iter().map(|value| format!("\"k]\\\\\":\t{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

fn blank() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_any_chunks_are_as_the_whole(
        text in r#"(\x{feff})?[\[\]{},:"\\ \na1é]{0,60}"#,
        mut cuts in prop::collection::vec(0_usize..200, 0..12),
    ) {
        cuts.retain(|cut| *cut <= text.len());
        cuts.sort_unstable();
        prop_assert_eq!(split(text.as_bytes(), &cuts), split(text.as_bytes(), &[]));
    }

    #[test]
    fn lines_are_found_as_a_slow_reading_finds_them(
        lines in prop::collection::vec((json(), blank()), 0..8),
        mut cuts in prop::collection::vec(0_usize..400, 0..12),
    ) {
        // A line that begins with a bracket would be an array, so each is an object.
        let text: String = lines.iter().map(|(value, blank)| {
            format!("{{\"v\":{}}}{blank}\n", value.replace('\n', " "))
        }).collect();
        cuts.retain(|cut| *cut <= text.len());
        cuts.sort_unstable();
        prop_assert_eq!(split(text.as_bytes(), &cuts), (lines_slowly(&text), None));
    }

    #[test]
    fn elements_of_an_array_are_found_as_a_parser_finds_them(
        values in prop::collection::vec((blank(), json(), blank()), 0..8),
        around in (blank(), blank()),
        mut cuts in prop::collection::vec(0_usize..400, 0..12),
    ) {
        let inside: Vec<String> = values.iter().map(|(a, value, b)| format!("{a}{value}{b}")).collect();
        let text = format!("{}[{}]{}", around.0, inside.join(","), around.1);
        cuts.retain(|cut| *cut <= text.len());
        cuts.sort_unstable();
        let parsed: Vec<&serde_json::value::RawValue> = serde_json::from_str(&text).unwrap();
        let expected: Elements = parsed.iter().map(|value| {
            let at = value.get().as_ptr() as usize - text.as_ptr() as usize;
            (1 + text[..at].matches('\n').count() as u64, value.get().to_owned())
        }).collect();
        prop_assert_eq!(split(text.as_bytes(), &cuts), (expected, None));
    }
}

#[test]
fn what_is_wrong_names_its_line() {
    let complaint = |text: &str| split(text.as_bytes(), &[]).1.unwrap().to_string();
    insta::assert_snapshot!(complaint("[{},\n\n]"), @"line 3: an event is missing at this comma or bracket");
    insta::assert_snapshot!(complaint("[{},\n{}"), @"line 2: the array does not end; the file seems to be cut off");
    let long = ["{\"a\":\"", &"x".repeat(17 << 20), "\"}"].concat();
    let cuts: Vec<usize> = (0..long.len()).step_by(1 << 20).collect();
    assert!(split(long.as_bytes(), &cuts).1.unwrap().to_string().contains("more than 16 MiB"));
}
