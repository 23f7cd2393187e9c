//! The extractor and its cursor against a model and against libraries: documents are made from trees,
//! and the reference walks the tree.

pub(crate) mod model;

use proptest::prelude::*;

use super::*;
use model::{Model, Writer, models, names, objects};

/// Everything that one path finds, in order; the reference takes the first plain value of it.
fn matches<'m>(model: &'m Model, steps: &[Step], found: &mut Vec<&'m Model>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(model);
        return;
    };
    match (step, model) {
        (Step::Key(name), Model::Object(members)) => {
            if let Some((_, member)) = members.iter().rev().find(|(n, _)| **n == **name) {
                matches(member, rest, found);
            }
        }
        (Step::Index(index), Model::Array(elements)) => {
            if let Some(element) = elements.get(*index) {
                matches(element, rest, found);
            }
        }
        (Step::Any, Model::Array(elements)) => {
            for element in elements {
                matches(element, rest, found);
            }
        }
        _ => {}
    }
}

fn reference<'m>(model: &'m Model, path: &Path) -> Extracted<'m> {
    let mut found = Vec::new();
    matches(model, &path.steps, &mut found);
    let plain = found.iter().find(|m| !matches!(m, Model::Array(_) | Model::Object(_)));
    match plain.or(found.first()) {
        None => Extracted::Missing,
        Some(Model::Null) => Extracted::Null,
        Some(Model::Bool(value)) => Extracted::Bool(*value),
        Some(Model::Number(text)) => Extracted::Number(text),
        Some(Model::String(text)) => Extracted::String(text.as_str().into()),
        Some(Model::Array(_) | Model::Object(_)) => Extracted::Complex,
    }
}

fn paths() -> impl Strategy<Value = Vec<Path>> {
    let step = prop_oneof![
        5 => names().prop_map(|name| Step::Key(name.into())),
        1 => (0_usize..3).prop_map(Step::Index),
        2 => Just(Step::Any),
    ];
    let path = prop::collection::vec(step, 1..5).prop_map(|steps| Path { steps });
    prop::collection::vec(path, 0..12)
}

fn extract<'a>(data: &'a str, paths: &[&str]) -> Vec<Extracted<'a>> {
    let paths = PathSet::new(paths.iter().map(|p| Path::parse(p).unwrap()).collect());
    Extractor::default().extract(Some(data.as_bytes()), &paths)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn finds_what_the_tree_holds(model in objects(), paths in paths(), seed: u64) {
        let data = Writer::write(&model, seed);
        let set = PathSet::new(paths.clone());
        let found = Extractor::default().extract(Some(data.as_bytes()), &set);
        let expected: Vec<_> = paths.iter().map(|path| reference(&model, path)).collect();
        prop_assert_eq!(found, expected, "{}", data);
    }

    /// The cursor takes exactly the documents that three libraries take, but for numbers that each of
    /// them refuses for its own reasons.
    #[test]
    fn takes_what_libraries_take(model in models(), seed: u64, cut in any::<prop::sample::Index>(), byte: u8, mode in 0..5) {
        let mut bytes = Writer::write(&model, seed).into_bytes();
        let at = cut.index(bytes.len());
        match mode {
            0 => bytes.truncate(at),
            1 => bytes[at] = byte,
            2 => bytes.insert(at, byte & 0x7f),
            3 => drop(bytes.remove(at)),
            _ => {}
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(()) };
        let mut cursor = Cursor::new(text);
        let mine = cursor.skip(NESTING_MAX).and_then(|_| cursor.finish());

        match (&mine, serde_json::from_str::<serde_json::Value>(text)) {
            (Ok(()), Ok(_)) | (Err(_), Err(_)) => {}
            (Ok(()), Err(error)) if error.to_string().contains("number out of range") => {}
            (mine, library) => prop_assert!(false, "{mine:?} {library:?} {text:?}"),
        }

        let mut jiter = jiter::Jiter::new(&bytes);
        match (&mine, jiter.next_skip().and_then(|()| jiter.finish())) {
            (Ok(()), Ok(())) | (Err(_), Err(_)) => {}
            (Ok(()), Err(error)) if error.to_string().contains("number out of range") => {}
            (mine, library) => prop_assert!(false, "{mine:?} {library:?} {text:?}"),
        }

        let mut copy = bytes.clone();
        match (&mine, simd_json::to_tape(&mut copy)) {
            (Ok(()), Ok(_)) | (Err(_), Err(_)) => {}
            (Ok(()), Err(error)) if error.to_string().contains("Number") => {}
            (mine, library) => prop_assert!(false, "{mine:?} {library:?} {text:?}"),
        }
    }

    #[test]
    fn strings_come_out_as_they_went_in(text in any::<String>(), seed: u64) {
        let json = Writer::write(&Model::String(text.clone()), seed);
        let mut cursor = Cursor::new(&json);
        prop_assert_eq!(cursor.peek(), Ok(Kind::String));
        let read = cursor.string().unwrap();
        prop_assert_eq!(read.text(), text.as_str());
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}

#[test]
fn the_contracts_paths() {
    let data = r#"{"a": 1.50, "b c": "x", "a-b": true, "n": null, "o": {"p": {"q": "5"}}, "l": [{"m": 1}, {"b": 2}, {"b": 3}]}"#;
    let found = extract(
        data,
        &[
            "$.a",
            "$['b c']",
            "$.\"a-b\"",
            "$.n",
            "$.o",
            "$.o.p.q",
            "$.l[0].m",
            "$.l[*].b",
            "$.l[2].b",
            "$.l",
            "$.A",
            "$.l[3]",
            "$.a.b",
            "$[0]",
            "$[*]",
        ],
    );
    assert_eq!(
        found,
        [
            Extracted::Number("1.50"),
            Extracted::String("x".into()),
            Extracted::Bool(true),
            Extracted::Null,
            Extracted::Complex,
            Extracted::String("5".into()),
            Extracted::Number("1"),
            Extracted::Number("2"),
            Extracted::Number("3"),
            Extracted::Complex,
            Extracted::Missing,
            Extracted::Missing,
            Extracted::Missing,
            Extracted::Missing,
            Extracted::Missing,
        ]
    );
}

#[test]
fn the_last_of_two_members_counts() {
    assert_eq!(extract(r#"{"a":1,"a":2}"#, &["$.a"]), [Extracted::Number("2")]);
    assert_eq!(
        extract(r#"{"a":{"b":1},"a":{"c":2}}"#, &["$.a.b", "$.a.c"]),
        [Extracted::Missing, Extracted::Number("2")]
    );
    assert_eq!(extract(r#"{"a":1,"\u0061":null}"#, &["$.a"]), [Extracted::Null]);
    assert_eq!(extract(r#"{"l":[{"b":1}],"l":[7]}"#, &["$.l[*].b"]), [Extracted::Missing]);
}

#[test]
fn a_plain_value_is_preferred_under_a_wildcard() {
    assert_eq!(extract(r#"{"l":[{"b":[1]},{"b":2}]}"#, &["$.l[*].b"]), [Extracted::Number("2")]);
    assert_eq!(extract(r#"{"l":[{"b":[1]}]}"#, &["$.l[*].b"]), [Extracted::Complex]);
    assert_eq!(extract(r#"{"l":[{"b":null},{"b":2}]}"#, &["$.l[*].b"]), [Extracted::Null]);
}

#[test]
fn data_that_is_no_json_has_nothing() {
    for data in [
        "",
        "{",
        r#"{"a":1"#,
        r#"{"a":1}x"#,
        r#"{"a":1,}"#,
        r#"{"a":01}"#,
        r#"{"a":1,"b":"\ud800"}"#,
        "{\"a\":1,\"b\":\"\t\"}",
        "5",
    ] {
        assert_eq!(extract(data, &["$.a"]), [Extracted::Missing], "{data:?}");
    }
    let paths = PathSet::new(vec![Path::parse("$.a").unwrap()]);
    assert_eq!(Extractor::default().extract(None, &paths), [Extracted::Missing]);
    assert_eq!(Extractor::default().extract(Some(b"{\"a\":1,\"b\":\"\xff\"}"), &paths), [Extracted::Missing]);
}

#[test]
fn huge_values_elsewhere_harm_nothing() {
    let huge = "9".repeat(100_000);
    let data = format!(r#"{{"h":{huge},"e":1e999999999999,"i":-{huge}.{huge}e-{huge},"a":5}}"#);
    assert_eq!(extract(&data, &["$.a"]), [Extracted::Number("5")]);
    assert!(extract(&data, &["$.h"]) == [Extracted::Number(&huge)]);
}

#[test]
fn depth_is_bounded_and_nothing_recurses() {
    let nested = |depth: usize| format!(r#"{{"a":5,"b":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(extract(&nested(127), &["$.a"]), [Extracted::Number("5")]);
    assert_eq!(extract(&nested(128), &["$.a"]), [Extracted::Missing]);
    assert_eq!(extract(&nested(1_000_000), &["$.a"]), [Extracted::Missing]);
    let deep = format!("{}{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    assert_eq!(extract(&deep, &["$.a.a.a"]), [Extracted::Missing]);
}

#[test]
fn many_paths_at_once() {
    let texts: Vec<String> = (0..40).map(|n| format!("$.k{}", n * 7 % 40)).collect();
    let members: Vec<String> = (0..40).map(|n| format!("\"k{n}\":{n}")).collect();
    let data = format!("{{{}}}", members.join(","));
    let found = extract(&data, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let numbers: Vec<String> = (0..40).map(|n| (n * 7 % 40).to_string()).collect();
    assert_eq!(found, numbers.iter().map(|n| Extracted::Number(n)).collect::<Vec<_>>());
}

#[test]
fn surrogates_come_in_pairs() {
    let read = |escapes: &str| {
        let json = format!("\"{escapes}\"");
        Cursor::new(&json).string().map(|read| read.text().into_owned()).ok()
    };
    assert_eq!(read("\\ud800\\udc00").as_deref(), Some("\u{10000}"));
    assert_eq!(read("\\uDBFF\\uDFFFx").as_deref(), Some("\u{10ffff}x"));
    assert_eq!(read("\\ud7ff\\ue000").as_deref(), Some("\u{d7ff}\u{e000}"));
    for escapes in [
        "\\ud800",
        "\\udbff",
        "\\udc00",
        "\\udfff",
        "\\ud800\\ud800",
        "\\ud800x",
        "\\ud800\\n",
        "\\ud800\\ue000",
        "\\udbff\\u00",
        "\\u+123",
        "\\u12",
        "\\U0041",
        "\\x41",
    ] {
        assert_eq!(read(escapes), None, "{escapes}");
    }
}
