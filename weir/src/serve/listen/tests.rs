//! Places and their bookkeeping, and how connections end when the server does; how each bound ends one is
//! tested from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::places::{CANCELLED_REQUESTS_MAX, Places};
use super::*;

const OPTIONS: ListenerOptions = ListenerOptions {
    connections_max: 10,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(10),
    header_bytes_max: 16 << 10,
    streams_max: 10,
    farewell: Duration::from_millis(400),
};
/// Only catches what hangs.
const LIMIT: Duration = Duration::from_secs(20);

async fn listening(farewell: Duration) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let routes = Router::new().route("/", get(|| async { "here" }));
    (
        address,
        stop.clone(),
        tokio::spawn(serve(listener, routes, ListenerOptions { farewell, ..OPTIONS }, stop)),
    )
}

/// Asks over HTTP/1 and gives the answer's text; empty if the connection is closed instead.
async fn ask(stream: &mut TcpStream) -> String {
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        let mut bytes = [0; 1024];
        match timeout(LIMIT, stream.read(&mut bytes)).await.unwrap() {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&bytes[..read]),
        }
    }
    String::from_utf8(answer).unwrap().to_lowercase()
}

async fn ended(stream: &mut TcpStream) -> bool {
    timeout(LIMIT, stream.read(&mut [0; 64])).await.unwrap().map_or(true, |read| read == 0)
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_is_told_before_it_is_closed() {
    let (address, stop, serving) = listening(OPTIONS.farewell).await;
    let mut kept = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut kept).await.contains("200 ok"));
    stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // It does not know yet, and neither does one that comes just now.
    let mut late = TcpStream::connect(address).await.unwrap();
    for stream in [&mut kept, &mut late] {
        let answer = ask(stream).await;
        assert!(answer.contains("200 ok") && answer.contains("connection: close"), "{answer:?}");
        assert!(ended(stream).await);
    }
    timeout(LIMIT, serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_connection_made_just_before_the_end_gets_its_first_answer() {
    let (address, stop, serving) = listening(OPTIONS.farewell).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut idle).await.contains("200 ok"));
    stop.cancel();
    // That one is closed at the end of the farewell; the other has not been heard yet.
    assert!(ended(&mut idle).await);
    let answer = ask(&mut silent).await;
    assert!(answer.contains("200 ok") && answer.contains("connection: close"), "{answer:?}");
    timeout(LIMIT, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn with_nobody_connected_it_ends_at_once() {
    let (_, stop, serving) = listening(2 * LIMIT).await;
    stop.cancel();
    timeout(LIMIT, serving).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_is_idle_for_longest_gives_way() {
    let places = Arc::new(Places::new(3));
    let tick = || tokio::time::advance(std::time::Duration::from_millis(1));
    let first = places.take().unwrap();
    tick().await;
    let second = places.take().unwrap();
    tick().await;
    let third = places.take().unwrap();
    let busy = first.activity.begin(false);
    let fourth = places.take().unwrap();
    assert!(second.activity.ended.is_cancelled());
    assert!(!first.activity.ended.is_cancelled() && !third.activity.ended.is_cancelled());
    // One that was evicted gives nobody else's place back.
    drop(second);
    let others = [third.activity.begin(false), fourth.activity.begin(false)];
    assert!(places.take().is_none());
    drop(busy);
    let fifth = places.take().unwrap();
    assert!(first.activity.ended.is_cancelled());
    drop((others, fifth));
}

#[tokio::test]
async fn a_connection_that_gives_way_begins_nothing_any_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    let begins = Arc::clone(&begun);
    let here = move || async move {
        begins.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
        "here"
    };
    let routes = Router::new().route("/", get(here));
    let options = ListenerOptions { connections_max: 1, ..OPTIONS };
    let serving = tokio::spawn(serve(listener, routes, options, CancellationToken::new()));
    let mut answered = 0;
    for round in 0..100 {
        let mut first = TcpStream::connect(address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        // Whoever wants its place, and its own request, come in the same moment: the kernel needs nobody to
        // take them in between.
        let early = (round % 2 == 0).then(|| std::net::TcpStream::connect(address).unwrap());
        first.try_write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let late = (round % 2 == 1).then(|| std::net::TcpStream::connect(address).unwrap());
        let mut answer = [0; 15];
        let read = timeout(LIMIT, first.read_exact(&mut answer)).await.unwrap();
        answered += usize::from(read.is_ok() && answer == *b"HTTP/1.1 200 OK");
        drop((early, late));
    }
    assert!(answered > 0, "some were first");
    assert_eq!(begun.load(Ordering::Relaxed), answered, "what was begun and what was answered");
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_taken_back_end_the_connection() {
    let place = Arc::new(Places::new(1)).take().unwrap();
    for _ in 0..10 {
        place.activity.begin(false).answered();
    }
    for _ in 0..CANCELLED_REQUESTS_MAX + 10 {
        drop(place.activity.begin(false));
    }
    assert!(!place.activity.ended.is_cancelled());
    drop(place.activity.begin(false));
    assert!(place.activity.ended.is_cancelled());
    assert!(place.activity.idle_since().is_some());
}
