//! Stamped bodies are valid events, hold what the template says, and never repeat an id.

use std::sync::Arc;

use prost::Message as _;
use weir_meter::event::{BodyShape, EventLimits, read_events};
use weir_proto::v1::IngestRequest;

use super::*;
use crate::calendar::{Seconds, now, second_of};

fn stamp() -> Stamp {
    Stamp::new(Draw::new(7), Arc::new(Seconds::around(now().0)))
}

#[test]
fn stamped_batches_are_valid_and_about_300_bytes_an_event() {
    let mut template = Template::draw(Form::Batch(100), &mut Draw::new(1), 10_000);
    let mut stamp = stamp();
    let mut ids = std::collections::HashSet::new();
    let mut tokens = 0;
    for _ in 0..3 {
        stamp.look_at_the_clock();
        template.stamp(&mut stamp);
        let body = &template.bytes[template.bytes.len() - template.body_bytes..];
        let mean = body.len() / 100;
        assert!((290..=310).contains(&mean), "{mean}");
        let events: Vec<serde_json::Value> = serde_json::from_slice(body).unwrap();
        assert_eq!(read_events(body, BodyShape::Batch, &EventLimits::default()).unwrap().len(), 100);
        for (event, fact) in events.iter().zip(&template.facts) {
            assert!(ids.insert(event["id"].as_str().unwrap().to_owned()));
            assert_eq!(event["subject"], subject_name(fact.subject));
            tokens += event["data"]["tokens"].as_u64().unwrap();
            assert_eq!(event["data"]["user"].as_str().unwrap()[..6], format!("u{:05}", fact.subject));
            let age = now().0 - second_of(event["time"].as_str().unwrap()).unwrap();
            assert!((0..=86_410).contains(&age), "{age}");
        }
    }
    assert_eq!(template.sums.iter().map(|sums| sums.tokens).sum::<u64>(), tokens);
    assert_eq!(stamp.minutes().map(|(_, n)| n).sum::<u64>(), 300);
}

#[test]
fn stamped_messages_hold_the_same_events() {
    let mut template = Template::draw(Form::Proto(50), &mut Draw::new(1), 10_000);
    let mut stamp = stamp();
    template.stamp(&mut stamp);
    let request = IngestRequest::decode(&template.bytes[..]).unwrap();
    assert_eq!(request.events.len(), 50);
    let mut ids = std::collections::HashSet::new();
    for event in &request.events {
        assert!(
            ids.insert(event.id.clone()) && event.id.len() == ID_BYTES && event.id.as_bytes()[14] == b'4'
        );
        let time = event.attributes["time"].attr.clone().unwrap();
        let weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr::CeTimestamp(time) = time
        else {
            panic!("{time:?}")
        };
        assert!((0..=86_410).contains(&(now().0 - time.seconds)) && (0..1_000_000_000).contains(&time.nanos));
    }
}
