//! What befalls the server of the soak.

use std::time::Duration;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use reqwest::Method;
use tokio::time::sleep;
use weir_tests::generate::Rng8;
use weir_tests::http::{Api, BATCH};
use weir_tests::plain::event;
use weir_tests::raw::{self, Raw};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Kill,
    Restart,
    BadInput,
    SlowClients,
    HeavyQuestions,
}

const ALL: [Fault; 5] =
    [Fault::Kill, Fault::BadInput, Fault::SlowClients, Fault::Restart, Fault::HeavyQuestions];
const SLOW_CLIENTS: usize = 20;
const BAD_BODIES: usize = 30;
/// A body that is small on its way only.
const BOMB_BYTES: usize = 64 << 20;

impl Fault {
    /// Each of them once, then any.
    pub(super) fn draw(rng: &mut Rng8, so_far: usize) -> Self {
        ALL.get(so_far).copied().unwrap_or_else(|| *ALL.choose(rng).unwrap())
    }
}

/// Batches that must be refused whole, whatever is in them.
pub(super) async fn send_bad_input(api: &Api, rng: &mut Rng8) {
    let good = event("never", "s", 1_780_272_000, r#"{"client":"nobody","value":1}"#);
    for _ in 0..BAD_BODIES {
        let mut body = format!("[{good},{good}]").into_bytes();
        match rng.random_range(0..4) {
            0 => body.truncate(rng.random_range(1..body.len())),
            1 => body[20] = 0xff,
            2 => body = format!("[{good},{}]", "[".repeat(50_000)).into_bytes(),
            _ => body = format!("[{good},{}]", good.replace(r#""id":"never","#, "")).into_bytes(),
        }
        // It may be at its worst otherwise: then there is no answer, or one that says so.
        if let Ok(reply) =
            api.try_send(Method::POST, "/api/v1/events", &[("content-type", BATCH)], body).await
        {
            assert!([400, 503].contains(&reply.status), "{}: {}", reply.status, reply.body);
        }
    }
    let bomb = zstd::encode_all(&vec![b' '; BOMB_BYTES][..], 1).unwrap();
    let headers = [("content-type", BATCH), ("content-encoding", "zstd")];
    if let Ok(reply) = api.try_send(Method::POST, "/api/v1/events", &headers, bomb).await {
        assert!([400, 413, 503].contains(&reply.status), "{}: {}", reply.status, reply.body);
    }
}

/// Clients that send a little and nothing more, and go away after a while without a word.
pub(super) async fn dawdle(url: &str, rng: &mut Rng8) {
    let request = raw::ingest(&[event("slow", "s", 1_780_272_000, r#"{"client":"nobody","value":1}"#)]);
    let mut connections = Vec::new();
    for _ in 0..SLOW_CLIENTS {
        let mut connection = Raw::connect(url).await;
        connection.try_send(&request.as_bytes()[..rng.random_range(1..request.len() - 1)]).await;
        connections.push(connection);
    }
    // They stay while other things happen.
    tokio::spawn(async move {
        sleep(Duration::from_secs(5)).await;
        drop(connections);
    });
}

/// Questions that take long, over events and with many rows. To be refused is an answer, too.
pub(super) async fn ask_for_much(api: &Api) {
    for parameters in
        ["windowSize=MINUTE&groupBy=subject", "windowSize=MINUTE&groupBy=subject&groupBy=client"]
    {
        for from in ["rows", "any"] {
            let path = format!("/api/v1/meters/sum/query?{parameters}");
            let headers = [("weir-read-from", from)];
            let headers = if from == "rows" { &headers[..] } else { &[] };
            if let Ok(reply) = api.try_send(Method::GET, &path, headers, Vec::new()).await {
                assert!(
                    [200, 400, 413, 422, 429, 503, 504].contains(&reply.status),
                    "{}: {}",
                    reply.status,
                    reply.body
                );
            }
        }
    }
}
