//! What the contract's clients send, and what they are to get.

use std::collections::HashSet;

use weir_meter::RequestId;
use weir_meter::hash::HashKey;
use weir_proto::PositionKind;

use crate::support::{BATCH, EPOCH, Edge, INCARNATION, JSON, ONE, batch, event, request, tenant};

#[tokio::test]
async fn every_content_type_takes_what_it_says() {
    let array = |count| format!("[{}]", batch(count).join(", "));
    for (content_type, body, events) in [
        (ONE, event("e0"), 1),
        (BATCH, array(1), 1),
        (BATCH, array(3), 3),
        (BATCH, "[]".to_owned(), 0),
        (JSON, event("e0"), 1),
        (JSON, array(2), 2),
        ("application/cloudevents+json; charset=UTF-8", event("e0"), 1),
        ("Application/CloudEvents-Batch+JSON;charset=utf-8;x=y", array(2), 2),
        (" application/json ; charset=utf-8", array(2), 2),
    ] {
        let edge = Edge::new();
        let position = edge.post_as(content_type, body).await.position();
        // What is in the log is what was sent, to the byte.
        assert_eq!(edge.values(), batch(events), "{content_type}");
        assert_eq!(position.kind, PositionKind::AtLeast);
        assert_eq!((position.incarnation, position.epoch, position.revision), (INCARNATION, EPOCH, 0));
        let end = if events == 0 { vec![] } else { vec![(0, events as u64)] };
        assert_eq!(position.offsets, end, "{content_type}");
    }
}

#[tokio::test]
async fn other_content_types_are_refused_with_the_ones_that_are_taken() {
    let edge = Edge::new();
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "")],
        &[("content-type", "application/cloudevents")],
        &[("content-type", "application/json, application/json")],
        &[("content-type", JSON), ("content-type", JSON)],
    ] {
        let problem = edge.post(headers, event("e0")).await.problem(400, "invalid-content-type");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("validation error: invalid content type"), "{detail}");
        for taken in [ONE, BATCH, JSON] {
            assert!(detail.contains(taken), "{detail}");
        }
    }
    // In binary mode only one type would be right: that of the data.
    for attribute in ["ce-id", "ce-type", "ce-source", "ce-specversion"] {
        let headers = [("content-type", "text/plain"), (attribute, "1.0")];
        let problem = edge.post(&headers, "{}").await.problem(400, "invalid-content-type");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(JSON) && !detail.contains(ONE) && detail.contains("`text/plain`"),
            "{detail}"
        );
    }
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn the_official_clients_shapes_are_taken() {
    let javascript = r#"[{"id":"1","source":"@openmeter/sdk","specversion":"1.0","time":"2024-01-01T00:00:00.000Z","type":"prompt","subject":"customer-1","data":{"tokens":"10","model":"gpt 4"}}]"#;
    let python = r#"{"id": "2", "source": "my-app", "specversion": "1.0", "type": "prompt", "subject": "customer-1", "data": {"tokens": 10}}"#;
    let go = r#"[{"specversion":"1.0","id":"3","source":"my-app","type":"prompt","subject":"customer-1","datacontenttype":"application/json","time":"2024-01-01T02:00:00.123456789+02:00","data":{"tokens":10}}]"#;
    let edge = Edge::new();
    edge.post(&[("content-type", BATCH), ("accept", "*/*")], javascript).await.position();
    edge.post(&[("content-type", ONE)], python).await.position();
    edge.post(&[("content-type", JSON)], python).await.position();
    edge.post(&[("content-type", BATCH)], go).await.position();
    let values = edge.values();
    assert_eq!(values, [javascript, python, python, go].map(|body| body.trim_matches(['[', ']']).to_owned()));
}

#[tokio::test]
async fn records_carry_what_fates_need() {
    let edge = Edge::new();
    let two = format!("[{},{}]", event("a"), event("b"));
    edge.post_as(BATCH, two).await.position();
    edge.post_as(ONE, event("a")).await.position();
    edge.post_as(ONE, event("a").replace("1.10", "1.1")).await.position();
    let records = edge.log.records();
    let key = HashKey::new([3; 16]);
    let identities: Vec<_> = records.iter().map(|record| record.identity).collect();
    assert_eq!(identities, ["a", "b", "a", "a"].map(|id| key.identity(&tenant(), "s", id)));
    assert!(records.iter().all(|record| record.namespace == tenant()));
    // The retry says the same, the last one another thing.
    assert_eq!(records[0].content, records[2].content);
    assert_ne!(records[0].content, records[3].content);
    // One request id for what came together.
    assert_eq!(records[0].request, records[1].request);
    let requests: HashSet<_> = records.iter().map(|record| record.request).collect();
    assert_eq!(requests.len(), 3);
}

#[tokio::test]
async fn the_request_id_of_a_layer_is_used() {
    let edge = Edge::new();
    let mut request = request(&[("content-type", ONE)], event("a"));
    request.extensions_mut().insert(RequestId(42));
    edge.send(request).await.position();
    assert_eq!(edge.log.records()[0].request, RequestId(42));
}

#[tokio::test]
async fn the_position_names_every_partition_that_was_touched_and_no_other() {
    let edge = Edge::with(Default::default(), 8);
    edge.post_as(BATCH, format!("[{}]", batch(100).join(","))).await.position();
    let before = edge.log.lengths();
    assert!(before.iter().all(|(_, len)| *len > 0));
    let position = edge.post_as(ONE, event("another")).await.position();
    let after = edge.log.lengths();
    let touched: Vec<_> = after.iter().filter(|length| !before.contains(length)).copied().collect();
    assert_eq!(position.offsets, touched);
    assert_eq!(touched.len(), 1);
}

#[tokio::test]
async fn positions_differ_even_for_the_same_place() {
    let edge = Edge::new();
    let one = edge.post_as(BATCH, "[]").await;
    let other = edge.post_as(BATCH, "[]").await;
    assert_eq!(one.position(), other.position());
    assert_ne!(one.headers["weir-position"], other.headers["weir-position"]);
}

#[tokio::test]
async fn binary_mode_is_rendered_once_and_read_like_any_event() {
    let edge = Edge::new();
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "a"),
        ("ce-source", "s"),
        ("ce-type", "t"),
        ("ce-subject", "Euro%20%E2%82%AC"),
        ("ce-time", "2024-05-06T07:08:09Z"),
        ("ce-region", "eu"),
        ("content-type", "application/json; charset=utf-8"),
        ("user-agent", "test"),
    ];
    edge.post(&headers, " {\"n\": 1.10} ").await.position();
    let structured = "{\"specversion\":\"1.0\",\"id\":\"a\",\"source\":\"s\",\"type\":\"t\",\
        \"subject\":\"Euro \u{20ac}\",\"time\":\"2024-05-06T07:08:09Z\",\"region\":\"eu\",\
        \"datacontenttype\":\"application/json\",\"data\":{\"n\": 1.10}}";
    edge.post_as(ONE, structured).await.position();
    // Without a content type and a body, it is an event without data.
    edge.post(&headers[..5], "").await.position();

    let records = edge.log.records();
    assert_eq!(records[0].identity, records[1].identity);
    assert_eq!(records[0].content, records[1].content);
    let rendered: serde_json::Value = serde_json::from_slice(&records[0].value).unwrap();
    assert_eq!(rendered, serde_json::from_str::<serde_json::Value>(structured).unwrap());
    let bare: serde_json::Value = serde_json::from_slice(&records[2].value).unwrap();
    assert_eq!(bare.as_object().unwrap().len(), 5);
}

#[tokio::test]
async fn a_structured_content_type_wins_over_attribute_headers() {
    let edge = Edge::new();
    edge.post(&[("content-type", ONE), ("ce-id", "other"), ("ce-specversion", "1.0")], event("a"))
        .await
        .position();
    assert_eq!(edge.values(), [event("a")]);
}

#[tokio::test]
async fn what_binary_mode_cannot_carry_is_refused() {
    let edge = Edge::new();
    let event = [("ce-specversion", "1.0"), ("ce-id", "a"), ("ce-source", "s"), ("ce-type", "t")];
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers<'_>, &str, &str); 8] = [
        (&[], "{}", "subject"),
        (&[("ce-subject", "c"), ("ce-subject", "d")], "{}", "subject"),
        (&[("ce-subject", "c"), ("ce-data", "{}")], "{}", "data"),
        (&[("ce-subject", "c"), ("ce-datacontenttype", JSON)], "{}", "datacontenttype"),
        (&[("ce-subject", "%ff")], "{}", "subject"),
        (&[("ce-subject", "c")], "{", "data"),
        (&[("ce-subject", "c")], "[1]", "data"),
        (&[("ce-subject", "c")], "{},\"subject\":\"d\"", "data"),
    ];
    for (more, body, attribute) in cases {
        let problem = edge.post(&[&event, more].concat(), body).await.problem(400, "invalid-event");
        assert_eq!(problem["extensions"]["attribute"], attribute, "{problem}");
    }
    assert!(edge.log.records().is_empty());
}
