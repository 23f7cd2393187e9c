//! One connection, HTTP/1 or HTTP/2, from its first byte to its end.

use std::convert::Infallible;
use std::error::Error;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::places::{Activity, Place, UnderWay};
use super::stall::Stalling;
use super::{ListenerOptions, Stopping};

/// Headers of one request of HTTP/1. HTTP/2 counts their bytes only.
const HEADERS_MAX: usize = 100;
/// Streams of HTTP/2 that a client has reset before anybody looked at them. More is an attack.
const UNSEEN_RESETS_MAX: usize = 20;
/// Streams of HTTP/2 that were reset because the client broke the protocol's rules.
const FAULTY_RESETS_MAX: usize = 256;
/// Bytes of a body that a client may send on one stream, and on all of a connection, before they are read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes of an answer that wait for a client's window, for each stream.
const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// After it was told to end, a connection has this long for what is under way.
const GOODBYE: Duration = Duration::from_secs(1);
/// When the server closes, a connection that has just been made has this long for its first request.
const FIRST_REQUEST: Duration = Duration::from_millis(250);

/// Returns the setting that ended the connection, if a bound did.
pub(super) async fn serve(
    stream: TcpStream,
    routes: Router,
    options: ListenerOptions,
    place: &Place,
    stopping: Stopping,
) -> Option<&'static str> {
    let builder = builder(&options);
    let activity = &place.activity;
    let told = &stopping.told;
    let service = service_fn(|request| answer(routes.clone(), Arc::clone(activity), told.clone(), request));
    let io = TokioIo::new(Stalling::new(stream, options.write_timeout));
    let mut connection = pin!(builder.serve_connection(io, service));
    let (mut heard, mut closing) = (false, false);
    let mut close_at: Option<Instant> = None;
    // Set once the connection has been told to end.
    let mut ending: Option<(Instant, &'static str)> = None;
    loop {
        let (look_again, limit) = ending.unwrap_or_else(|| next_look(activity, &options));
        tokio::select! {
            biased;
            // First, so that nothing begins that would be dropped in the next moment: an event that is taken and
            // not answered makes its sender ask again. Whoever ended it has counted it.
            () = activity.ended.cancelled() => return None,
            served = connection.as_mut() => {
                return ending.map(|(_, limit)| limit).or(served.err().and_then(|error| bound(error.as_ref())));
            }
            // HTTP/2 has a word for it, which lets go of no request. In HTTP/1 only an answer can say it, and
            // to close now might cross with a request.
            () = told.cancelled(), if !heard => {
                heard = true;
                if activity.speaks_http2() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = stopping.closing.cancelled(), if !closing => {
                closing = true;
                close_at = Some(Instant::now() + if activity.has_asked() { Duration::ZERO } else { FIRST_REQUEST });
            }
            () = sleep_until(close_at.unwrap_or(look_again)), if close_at.is_some() => {
                close_at = None;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(look_again) => {
                if ending.is_some() || !activity.has_asked() {
                    return Some(limit);
                }
                if activity.idle_since().is_some_and(|since| since + options.idle_timeout <= Instant::now()) {
                    connection.as_mut().graceful_shutdown();
                    ending = Some((Instant::now() + GOODBYE, limit));
                }
            }
        }
    }
}

fn builder(options: &ListenerOptions) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The time for headers is kept here, for both versions alike; hyper's would count the pause
        // between two requests as well.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(options.header_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_max)
        .max_header_list_size(u32::try_from(options.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(FAULTY_RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    builder
}

/// When the connection may have been idle for too long, and by which setting.
fn next_look(activity: &Activity, options: &ListenerOptions) -> (Instant, &'static str) {
    match activity.idle_since() {
        Some(since) if activity.has_asked() => (since + options.idle_timeout, "idle_timeout"),
        Some(since) => (since + options.header_timeout, "header_timeout"),
        None => (Instant::now() + options.idle_timeout, "idle_timeout"),
    }
}

/// Which bound made hyper give up.
fn bound(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_parse_too_large()
        {
            return Some("header_bytes_max");
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == ErrorKind::TimedOut
        {
            return Some("write_timeout");
        }
        if let Some(error) = error.downcast_ref::<h2::Error>()
            && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
        {
            return Some("cancelled_requests");
        }
        cause = error.source();
    }
    None
}

async fn answer(
    routes: Router,
    activity: Arc<Activity>,
    told: CancellationToken,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let http2 = request.version() == Version::HTTP_2;
    let mut under_way = activity.begin(http2);
    let mut response = routes.oneshot(request.map(Body::new)).await?;
    under_way.answered();
    if told.is_cancelled() && !http2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Body::new(Watched { body, _under_way: under_way })))
}

/// An answer's body: the request is under way until it has been taken.
struct Watched {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
