//! Rows about the event list, and how far a meter is folded.

use super::{Given, Row, Sent, at, get, row};

fn listed(query: &str) -> Sent {
    get(format!("/api/v1/events?{query}"))
}

fn all(queries: &[&str]) -> Vec<Sent> {
    queries.iter().map(|query| listed(query)).collect()
}

pub(super) fn rows(given: &Given) -> Vec<Row> {
    let wrong = |input, names, sent: Vec<Sent>| row(input, 400, "invalid-parameter", names, sent);
    vec![
        wrong(
            "a `limit` that is not 1 to 100",
            "limit must be an integer from 1 to 100",
            all(&["limit=0", "limit=101", "limit=x", "limit=-1", "limit=", "limit=99999999999999999999"]),
        ),
        wrong(
            "a time that is none",
            "is not a time",
            all(&["from=yesterday", "to=2026-01-01", "ingestedAtTo=x"]),
        ),
        wrong(
            "`from` or `ingestedAtFrom` more than 32 days ago",
            "must not be more than 32 days ago",
            all(&["from=2020-01-01T00:00:00Z", "ingestedAtFrom=2020-01-01T00:00:00Z"]),
        ),
        wrong(
            "bounds in the wrong order",
            "must be before",
            all(&[
                "from=2099-01-02T00:00:00Z&to=2099-01-01T00:00:00Z",
                "ingestedAtFrom=2099-01-02T00:00:00Z&ingestedAtTo=2099-01-01T00:00:00Z",
            ]),
        ),
        wrong(
            "a known name with a slip of the pen",
            "write it",
            all(&["subjects=a", "subject[]=a", "ingested_at_from=2099-01-01T00:00:00Z", "Limit=5"]),
        ),
        wrong(
            "a parameter twice",
            "is given twice",
            all(&["subject=a&subject=b", "id=a&id=b", "limit=1&limit=1"]),
        ),
        row("customers", 400, "customers-unsupported", "use subject instead", all(&["customerId=1"])),
        row(
            "a text that matches nothing, whatever is in it",
            200,
            "",
            "[]",
            all(&[
                "subject=acme'%20OR%20'1'='1",
                "id=%25",
                "id=_",
                "subject=ACME",
                "subject=acme%20",
                "subject=%00",
                "id=%5C",
            ]),
        ),
        row(
            "a position that is none",
            400,
            "invalid-position",
            "send it exactly as it was received",
            [at(listed(""), "zzzz")],
        ),
        row(
            "progress of an unknown or a deleted meter",
            404,
            "not-found",
            "meter not found",
            [
                get("/api/v1/info/progress/nothing"),
                get(format!("/api/v1/info/progress/{}", given.deleted_id)),
            ],
        ),
    ]
}
