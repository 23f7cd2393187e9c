//! Takes connections and serves the routes on them, within bounds: how many connections there are, how
//! long each may keep the server waiting, and how much of one client's making is held. A client that
//! meets a bound loses its connection; nobody else notices.

mod connection;
mod places;
mod stall;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use weir_proto::Problem;

use super::metrics;
use places::{Place, Places};

/// Bounds on connections; the settings of the same names say more.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenerOptions {
    pub(super) connections_max: usize,
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) header_bytes_max: usize,
    pub(super) streams_max: u32,
    /// For how long requests are still answered after it was told to stop, and clients told to go.
    pub(super) farewell: Duration,
}

/// What clients that keep their connections need to hear that these end: each has a request or two in this
/// time if it is busy at all, and a connection that is closed without a word may meet the next request.
pub(super) const FAREWELL: Duration = Duration::from_millis(250);
/// Connections that wait to be accepted at the moment of closing. The kernel keeps no more.
const WAITING_MAX: usize = 4_096;

/// The two steps of an end.
#[derive(Clone, Debug)]
struct Stopping {
    /// Every answer says from here on that its connection ends.
    told: CancellationToken,
    /// Connections without a request under way end.
    closing: CancellationToken,
}

/// After an `accept` that failed for a reason that does not go away at once, such as no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const FULL_RETRY_SECONDS: u32 = 1;

/// Serves until `stop`, tells clients to go for a while, then finishes the requests that are under way.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    options: ListenerOptions,
    stop: CancellationToken,
) {
    let stopping = Stopping { told: stop, closing: CancellationToken::new() };
    let places = Arc::new(Places::new(options.connections_max));
    // Dropping it ends what is left of them.
    let mut door = Door { routes, options, places, stopping: stopping.clone(), connections: JoinSet::new() };
    loop {
        tokio::select! {
            () = stopping.told.cancelled() => break,
            Some(_) = door.connections.join_next(), if !door.connections.is_empty() => {}
            accepted = listener.accept() => door.accepted(accepted).await,
        }
    }
    let closing_at = Instant::now() + options.farewell;
    // Nobody is left to be told: nothing is waited for.
    while !door.connections.is_empty() {
        tokio::select! {
            () = sleep_until(closing_at) => break,
            Some(_) = door.connections.join_next() => {}
            accepted = listener.accept() => door.accepted(accepted).await,
        }
    }
    door.close(listener);
    stopping.closing.cancel();
    while door.connections.join_next().await.is_some() {}
}

/// Where connections come in.
struct Door {
    routes: Router,
    options: ListenerOptions,
    places: Arc<Places>,
    stopping: Stopping,
    connections: JoinSet<()>,
}

impl Door {
    async fn accepted(&mut self, accepted: std::io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, _)) => self.let_in(stream),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    fn let_in(&mut self, stream: TcpStream) {
        let Some(place) = self.places.take() else { return turn_away(&stream) };
        let (routes, stopping) = (self.routes.clone(), self.stopping.clone());
        self.connections.spawn(serve_one(stream, routes, self.options, place, stopping));
    }

    /// Whoever is connected by now was promised an answer by the kernel: closing would reset those that were
    /// not accepted yet.
    fn close(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..WAITING_MAX {
            let Ok((stream, _)) = listener.accept() else { return };
            let adopted = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            match adopted {
                Ok(stream) => self.let_in(stream),
                Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
            }
        }
    }
}

async fn serve_one(
    stream: TcpStream,
    routes: Router,
    options: ListenerOptions,
    place: Place,
    stopping: Stopping,
) {
    // Small answers should not wait for company.
    let _ = stream.set_nodelay(true);
    if let Some(limit) = connection::serve(stream, routes, options, &place, stopping).await {
        metrics::connection_refused(limit);
    }
}

/// Says why in HTTP/1; a client of HTTP/2 sees the connection end. A fresh connection has room for
/// this, so nothing waits.
fn turn_away(stream: &TcpStream) {
    metrics::connection_refused("connections_max");
    let problem = Problem::unavailable(
        "too-many-connections",
        "this server has as many connections as it may; connect again in 1 s, or reuse connections",
        FULL_RETRY_SECONDS,
    );
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: \
         {FULL_RETRY_SECONDS}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(answer.as_bytes());
    // What has come already is read: a connection closed over unread bytes is reset.
    let _ = stream.try_read(&mut [0; 4096]);
}

#[cfg(test)]
mod tests;
