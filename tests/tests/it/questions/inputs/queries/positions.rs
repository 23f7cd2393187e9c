//! Rows about positions, and about what an answer may be read from.

use super::super::{Given, Row, at, get, row};
use super::{QUERY, asked};

pub(super) fn positions(given: &Given) -> Vec<Row> {
    let changed = |place: usize| {
        let mut token = given.position.clone().into_bytes();
        token[place] = if token[place] == b'x' { b'y' } else { b'x' };
        token
    };
    let whole = given.position.len();
    let invalid = |input, names, positions: Vec<Vec<u8>>| {
        row(input, 400, "invalid-position", names, positions.into_iter().map(|p| at(get(QUERY), p)))
    };
    vec![
        invalid(
            "a position that is shorter than any",
            "none has fewer than 78",
            ["", "zzzz", "nonsense", "null", "A"].map(|text| text.as_bytes().to_vec()).to_vec(),
        ),
        invalid(
            "a position in other letters, or cut off",
            "is not unpadded base64url, or was cut off",
            vec![
                "!".repeat(100).into_bytes(),
                "a b".repeat(40).into_bytes(),
                format!("{}==", given.position).into_bytes(),
            ],
        ),
        invalid(
            "a position of more than 4,096 characters",
            "no position has more than 4096",
            vec!["A".repeat(5_000).into_bytes()],
        ),
        invalid(
            "a text that begins unlike a position",
            "does not begin as those of this version of Weir do",
            vec!["z".repeat(100).into_bytes(), changed(0)],
        ),
        invalid(
            "a position that was changed on the way",
            "was changed on the way",
            vec![changed(10), changed(40), changed(whole - 10), given.position[..whole / 4 * 4 - 4].into()],
        ),
        invalid(
            "a position of another server",
            "was not made by this installation for this namespace",
            vec![given.foreign.clone().into_bytes()],
        ),
        invalid(
            "a position with bytes that are no text",
            "characters that no position has",
            vec![b"\xff\xfe".to_vec(), "pösition".into()],
        ),
        row(
            "`Weir-Position` or `Weir-Read-From` twice",
            400,
            "invalid-parameter",
            "header is given twice",
            [
                at(at(get(QUERY), given.position.as_str()), given.position.as_str()),
                get(QUERY).with("weir-read-from", "rows").with("weir-read-from", "segments"),
            ],
        ),
        row(
            "an unknown `Weir-Read-From`",
            400,
            "invalid-parameter",
            "is rows, segments, or left away",
            [
                get(QUERY).with("weir-read-from", "head"),
                get(QUERY).with("weir-read-from", "ROWS"),
                get(QUERY).with("weir-read-from", ""),
            ],
        ),
        row(
            "`segments` where windows do not suffice",
            409,
            "rows-needed",
            "leave Weir-Read-From away",
            [asked("from=2026-01-01T00:00:31Z").with("weir-read-from", "segments")],
        ),
    ]
}
