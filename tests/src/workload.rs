//! Clients that do what a good SDK does: they send a batch again, the same one, until it is taken,
//! through refusals, broken connections and servers that come back elsewhere.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::http::{Api, BATCH};
use reqwest::Method;

/// How long a client waits before it tries again.
const PAUSE: Duration = Duration::from_millis(20);

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered 204: every event of it counts.
    Taken,
    /// Given up on before any clear answer: each event of it counts once or not at all.
    Unclear,
}

/// Sends a batch to wherever the server is until it is taken. With `attempts`, gives up after so many
/// that may have reached the server; gives up at the deadline in any case.
pub async fn send_until_taken(
    server: &watch::Receiver<Option<Api>>,
    batch: &str,
    attempts: Option<i64>,
    deadline: Instant,
) -> Outcome {
    let mut tried: i64 = 0;
    loop {
        let api = server.borrow().clone();
        if let Some(api) = api {
            let sent =
                api.try_send(Method::POST, "/api/v1/events", &[("content-type", BATCH)], batch.into()).await;
            match sent {
                Ok(reply) if reply.status == 204 => return Outcome::Taken,
                // Only what asks for another attempt is worth one; anything else is a fault of the test.
                Ok(reply) => assert_eq!(reply.status, 503, "a batch was refused: {}", reply.body),
                // Nobody was there to read it.
                Err(error) if error.is_connect() => tried -= 1,
                Err(_) => {}
            }
            tried += 1;
            if attempts.is_some_and(|most| tried >= most) {
                return Outcome::Unclear;
            }
        }
        assert!(Instant::now() < deadline, "a batch was not taken in time, after {tried} attempts");
        sleep(PAUSE).await;
    }
}
