//! Clients that are hostile to connections: slow, endless, broken off, too many, or taking back whatever
//! they ask for. Each must cost the server a bounded amount of memory and time, and meanwhile another
//! client's requests are answered.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use tokio::time::Instant;
use weir_tests::http::{Api, BATCH, SINGLE};

use super::bodies::{empty_events, gzip};
use super::rows::{good, good_proto, protos, with_data};
use super::{Target, grpc};

const MIB: u64 = 1 << 20;
/// Far above what anything here should take; only a server that hangs gets there.
const HANG: Duration = Duration::from_secs(30);

/// Bounds low enough to be met in a moment.
const FLAGS: [&str; 12] = [
    "--header-timeout",
    "1s",
    "--idle-timeout",
    "2s",
    "--body-timeout",
    "1s",
    "--write-timeout",
    "2s",
    "--connections-max",
    "60",
    "--telemetry-listen",
    "127.0.0.1:0",
];

fn connect(target: &Target) -> TcpStream {
    let stream = TcpStream::connect(target.address()).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

/// Everything until the server closes; fails if it does not.
fn read_to_end(mut stream: &TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("still open after {HANG:?}")
            }
            // Reset: closed as well.
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn head(more: &str) -> String {
    format!("POST /api/v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: {BATCH}\r\n{more}\r\n")
}

/// Another client, on connections of its own, is served as if nothing were.
async fn others_are_served(target: &Target, name: &str) {
    let api = Api::new(&target.server.url);
    let before = target.stored().await;
    let begun = Instant::now();
    for n in 0..3 {
        api.post("/api/v1/events", SINGLE, good(&format!("{name}-{n}"))).await.expect(204);
    }
    assert_eq!(target.stored().await, before + 3, "{name}");
    assert!(begun.elapsed() < HANG, "{name}: {:?}", begun.elapsed());
}

/// Resident memory of the server. What was freed may stay with the allocator, so bounds are wide; what
/// they exclude is memory that grows with what the client does.
fn resident(target: &Target) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", target.server.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

async fn metrics(target: &Target) -> String {
    let telemetry = Api::new(target.server.telemetry.as_deref().unwrap());
    telemetry.get("/metrics").await.expect(200).body
}

#[track_caller]
fn grew_at_most(target: &Target, before: u64, bytes_max: u64, what: &str) {
    let grown = resident(target).saturating_sub(before);
    assert!(grown <= bytes_max, "{what}: {} MiB more, {} at most", grown / MIB, bytes_max / MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_lose_their_connection_and_nobody_else_notices() {
    let target = Target::start(&FLAGS).await;
    let slow: Vec<(&str, TcpStream)> = [
        // Says nothing, half of HTTP/2's greeting, half of a head.
        ("silent", String::new()),
        ("preface", "PRI * HTT".to_owned()),
        ("head", "POST /api/v1/events HTTP/1.1\r\nhost: x\r\nx-a: ".to_owned()),
        ("body", head("content-length: 1000\r\n") + "[{"),
        ("chunks", head("transfer-encoding: chunked\r\n") + "5\r\n[    \r\n"),
    ]
    .into_iter()
    .map(|(name, begun)| {
        let mut stream = connect(&target);
        stream.write_all(begun.as_bytes()).unwrap();
        (name, stream)
    })
    .collect();
    others_are_served(&target, "beside-slow").await;
    let trickling: Vec<_> = slow
        .into_iter()
        .map(|(name, stream)| {
            std::thread::spawn(move || {
                // A byte now and then keeps nothing alive.
                let mut writer = stream.try_clone().unwrap();
                let drip: &[u8] = if name == "chunks" { b"1\r\n \r\n" } else { b" " };
                let dripping = std::thread::spawn(move || {
                    while !["silent", "preface"].contains(&name) && writer.write_all(drip).is_ok() {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                });
                let answer = read_to_end(&stream);
                let _ = stream.shutdown(Shutdown::Both);
                dripping.join().unwrap();
                (name, answer)
            })
        })
        .collect();
    let answers = tokio::task::spawn_blocking(|| {
        trickling.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    })
    .await
    .unwrap();
    for (name, answer) in answers {
        if ["body", "chunks"].contains(&name) {
            assert!(answer.starts_with("HTTP/1.1 408"), "{name}: {answer}");
            assert!(answer.contains("urn:weir:problem:request-timeout"), "{name}: {answer}");
        } else {
            assert_eq!(answer, "", "{name}");
        }
    }
    others_are_served(&target, "after-slow").await;
    let metrics = metrics(&target).await;
    for counted in [
        r#"weir_http_refused_total{limit="header_timeout"} 3"#,
        r#"weir_ingest_refused_total{limit="body_timeout"} 2"#,
    ] {
        assert!(metrics.contains(counted), "{counted} is missing in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_and_broken_bodies_store_nothing() {
    let target = Target::start(&FLAGS).await;
    others_are_served(&target, "warm").await;
    let (stored, before) = (target.stored().await, resident(&target));
    // Chunks without end, and compressed ones.
    for (more, piece) in [
        ("transfer-encoding: chunked\r\n", vec![b' '; 1 << 20]),
        ("transfer-encoding: chunked\r\ncontent-encoding: gzip\r\n", gzip(&vec![b' '; 1 << 20])),
    ] {
        let stream = connect(&target);
        let mut writer = stream.try_clone().unwrap();
        let head = head(more);
        let writing = std::thread::spawn(move || {
            writer.write_all(head.as_bytes()).unwrap();
            let size = format!("{:x}\r\n", piece.len());
            let chunk = [size.as_bytes(), &piece, b"\r\n"].concat();
            while writer.write_all(&chunk).is_ok() {}
        });
        let answer = tokio::task::spawn_blocking(move || read_to_end(&stream)).await.unwrap();
        let refused = answer.starts_with("HTTP/1.1 413") || answer.starts_with("HTTP/1.1 408");
        assert!(refused || answer.is_empty(), "{answer}");
        writing.join().unwrap();
    }
    // Broken off in the head, in the body, between chunks, behind the last event but before the end.
    let whole = format!("[{}]", good("broken"));
    for (more, sent) in [
        ("content-length: 999", whole.as_str()),
        ("content-length: 999\r\n", &whole[..40]),
        ("content-length: 999\r\n", &whole),
        ("transfer-encoding: chunked\r\n", &*format!("{:x}\r\n{whole}\r\n", whole.len())),
    ] {
        for _ in 0..20 {
            let mut stream = connect(&target);
            stream.write_all((head(more) + sent).as_bytes()).unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        }
    }
    for chunked in ["zz\r\n", "ffffffffffffffffff\r\n", "-1\r\n", "5\r\n[]]]]]]]]]\r\n"] {
        let mut stream = connect(&target);
        stream.write_all((head("transfer-encoding: chunked\r\n") + chunked).as_bytes()).unwrap();
        let answer = tokio::task::spawn_blocking(move || read_to_end(&stream)).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{chunked:?}: {answer}");
    }
    assert_eq!(target.stored().await, stored);
    grew_at_most(&target, before, 96 * MIB, "endless and broken bodies");
    others_are_served(&target, "after-broken").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_push_idle_ones_out() {
    let target = Target::start(&["--connections-max", "20"]).await;
    let before = resident(&target);
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(connect(&target));
    }
    others_are_served(&target, "beside-many").await;
    // Where everybody is in the middle of a request, the next one is told so.
    let mut busy = Vec::new();
    for _ in 0..40 {
        let mut stream = connect(&target);
        let _ = stream.write_all((head("content-length: 1000\r\n") + "[").as_bytes());
        std::thread::sleep(Duration::from_millis(10));
        busy.push(stream);
    }
    let told = tokio::task::spawn_blocking(move || {
        let last = busy.pop().unwrap();
        (read_to_end(&last), busy)
    });
    let (told, busy) = told.await.unwrap();
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    assert!(told.contains("retry-after: 1") && told.contains("too-many-connections"), "{told}");
    drop((idle, busy));
    grew_at_most(&target, before, 64 * MIB, "many connections");
    tokio::time::sleep(Duration::from_millis(300)).await;
    others_are_served(&target, "after-many").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_heads_are_refused() {
    let target = Target::start(&[]).await;
    let long = "x".repeat(100_000);
    for head in [
        format!("POST /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("POST /api/v1/events HTTP/1.1\r\nhost: x\r\nx-a: {long}\r\n\r\n"),
        format!("POST /api/v1/events HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-a: 1\r\n".repeat(200)),
    ] {
        let mut stream = connect(&target);
        let _ = stream.write_all(head.as_bytes());
        let answer = tokio::task::spawn_blocking(move || read_to_end(&stream)).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["431", "414"].contains(&status), "{answer}");
    }
    for head in ["GET\r\n\r\n", "\0\0\0\r\n\r\n", "POST /api/v1/events HTTP/1.1\r\ncontent-length: x\r\n\r\n"]
    {
        let mut stream = connect(&target);
        let _ = stream.write_all(head.as_bytes());
        let answer = tokio::task::spawn_blocking(move || read_to_end(&stream)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
    }
    others_are_served(&target, "after-heads").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_one_host() {
    let target = Target::start(&["--telemetry-listen", "127.0.0.1:0"]).await;
    let telemetry = target.server.telemetry.clone().unwrap();
    let telemetry = telemetry.strip_prefix("http://").unwrap();
    let body = format!("[{}]", good("hosts"));
    let events = format!("content-type: {BATCH}\r\ncontent-length: {}\r\n", body.len());
    let get = |path: &str, version: &str| format!("GET {path} HTTP/{version}\r\n");
    let (stored, health) = (target.stored().await, "/healthz/live");
    for (address, first, more, status) in [
        (target.address(), get("/api/v1/meters", "1.1"), "", "400"),
        (target.address(), get("/nothing", "1.1"), "", "400"),
        (target.address(), get("/api/v1/meters", "1.1"), "host: x\r\nhost: y\r\n", "400"),
        (target.address(), get("/api/v1/meters", "1.1"), "host: x\r\nHost: x\r\n", "400"),
        (target.address(), get("/api/v1/meters", "1.0"), "host: x\r\nhost: y\r\n", "400"),
        (target.address(), get("http://x/api/v1/meters", "1.1"), "", "400"),
        (target.address(), "POST /api/v1/events HTTP/1.1\r\n".to_owned(), &*events, "400"),
        (telemetry, get(health, "1.1"), "", "400"),
        // An empty one names the host that the request does not name; HTTP/1.0 knows none.
        (target.address(), get(health, "1.1"), "host:\r\n", "200"),
        (target.address(), get(health, "1.1"), "host: x\r\n", "200"),
        (target.address(), get(health, "1.0"), "", "200"),
        (telemetry, get(health, "1.0"), "", "200"),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        let sent = if first.starts_with("POST") { &*body } else { "" };
        write!(stream, "{first}connection: close\r\n{more}\r\n{sent}").unwrap();
        let answer = tokio::task::spawn_blocking(move || read_to_end(&stream)).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{first}{more}: {answer}");
        if status == "400" {
            assert!(answer.contains("urn:weir:problem:invalid-request"), "{first}{more}: {answer}");
            assert!(answer.contains("one Host header") || answer.contains("; send one"), "{answer}");
        }
    }
    assert_eq!(target.stored().await, stored);
    others_are_served(&target, "after-hosts").await;
}

/// The connections that the server says are open, the one that asks included: always the same one.
async fn open_connections(telemetry: &Api) -> u64 {
    let metrics = telemetry.get("/metrics").await.expect(200).body;
    let line = metrics.lines().find(|line| line.starts_with("weir_http_connections ")).unwrap();
    line.split_once(' ').unwrap().1.parse().unwrap()
}

async fn until_connected(telemetry: &Api, wanted: u64) {
    let begun = Instant::now();
    loop {
        let open = open_connections(telemetry).await;
        if open == wanted {
            return;
        }
        assert!(begun.elapsed() < HANG, "{open} connections are open, and {wanted} should be");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_is_given_up() {
    let target = Target::start(&["--write-timeout", "1s", "--telemetry-listen", "127.0.0.1:0"]).await;
    let padding = "x".repeat(20_000);
    let data = format!(r#"{{"value":1,"padding":"{padding}"}}"#);
    let events: Vec<String> = (0..100).map(|n| with_data(&format!("large-{n}"), &data)).collect();
    target.api.ingest(&events).await;
    assert_eq!(target.stored().await, 100);
    let telemetry = Api::new(target.server.telemetry.as_deref().unwrap());
    let calm = open_connections(&telemetry).await;
    // Sixteen megabytes of answers: more than the kernel keeps for both sides.
    let mut stream = connect(&target);
    let ask = "GET /api/v1/events?limit=100 HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(ask.repeat(8).as_bytes()).unwrap();
    until_connected(&telemetry, calm + 1).await;
    until_connected(&telemetry, calm).await;
    let metrics = metrics(&target).await;
    let counted = r#"weir_http_refused_total{limit="write_timeout"} 1"#;
    assert!(metrics.contains(counted), "{counted} is missing in {metrics}");
    let begun = String::from_utf8_lossy(&{
        let mut bytes = [0; 12];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    })
    .into_owned();
    assert_eq!(begun, "HTTP/1.1 200", "it had begun to answer");
    others_are_served(&target, "after-unread").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_taken_back_at_once_end_the_connection() {
    let target = Target::start(&[]).await;
    others_are_served(&target, "warm").await;
    let before = resident(&target);
    let mut ended = 0;
    for round in 0..4 {
        let stream = tokio::net::TcpStream::connect(target.address()).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let running = tokio::spawn(connection);
        let mut client = client;
        // Far more than anybody takes back who means well; it ends when the server has had enough. In every
        // other round the server sees each request before it is taken back.
        'asking: for _ in 0..400 {
            let mut asked = Vec::new();
            for _ in 0..50 {
                let Ok(mut ready) = client.ready().await else { break 'asking };
                let uri = format!("http://{}/api/v1/events", target.address());
                let request = Request::post(uri).header("content-type", BATCH).body(()).unwrap();
                let Ok((answer, mut body)) = ready.send_request(request, false) else { break 'asking };
                // Smaller pieces are an offence of their own.
                let _ = body.send_data(Bytes::from_static(&[b' '; 300]), false);
                asked.push((answer, body));
                client = ready;
            }
            if round % 2 == 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for (_, mut body) in asked {
                body.send_reset(h2::Reason::CANCEL);
            }
        }
        ended += usize::from(tokio::time::timeout(HANG, running).await.is_ok());
        others_are_served(&target, &format!("beside-resets-{round}")).await;
    }
    assert_eq!(ended, 4, "the server ends connections that only take requests back");
    grew_at_most(&target, before, 64 * MIB, "requests taken back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_that_never_end_hold_little() {
    let bounds = ["--body-bytes-max", "2 MiB", "--buffered-bytes-max", "8 MiB", "--streams-max", "50"];
    let target = Target::start(&[&["--body-timeout", "2s"], &bounds[..]].concat()).await;
    others_are_served(&target, "warm").await;
    let (stored, before) = (target.stored().await, resident(&target));
    // Each stream would like to leave a megabyte behind, over HTTP and over gRPC.
    let clients = (0..4).map(|n| {
        let address = target.address().to_owned();
        async move {
            let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            let (client, connection) = h2::client::handshake(stream).await.unwrap();
            let running = tokio::spawn(connection);
            let mut client = client.ready().await.unwrap();
            // The server's settings come a moment after the greeting.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut held = Vec::new();
            for _ in 0..50 {
                let (path, kind) = [("/api/v1/events", BATCH), (grpc::INGEST, "application/grpc")][n % 2];
                let uri = format!("http://{address}{path}");
                let request = Request::post(uri).header("content-type", kind).body(()).unwrap();
                let Ok((answer, mut body)) = client.send_request(request, false) else { break };
                let _ = body.send_data(Bytes::from(vec![0; 1 << 20]), false);
                held.push((answer, body));
            }
            let answered = join_all(held.into_iter().map(|(answer, body)| async move {
                let answered = tokio::time::timeout(HANG, answer).await.expect("an answer in time");
                drop(body);
                answered.is_ok()
            }));
            let answered = answered.await.into_iter().filter(|answered| *answered).count();
            running.abort();
            answered
        }
    });
    let answered: usize = join_all(clients).await.into_iter().sum();
    assert!(answered > 0, "some were told why");
    grew_at_most(&target, before, 128 * MIB, "streams that never end");
    assert_eq!(target.stored().await, stored);
    others_are_served(&target, "after-streams").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_messages_that_would_be_large_in_memory_stay_small() {
    let target = Target::start(&[]).await;
    others_are_served(&target, "warm").await;
    let before = resident(&target);
    // Eight million events of two bytes: a protobuf reader that keeps them needs more than a gigabyte.
    let answer = grpc::send(target.address(), &empty_events(7 << 20)).await;
    assert_eq!(answer.code, "INVALID_ARGUMENT", "{answer:?}");
    grew_at_most(&target, before, 160 * MIB, "empty events");
    others_are_served(&target, "after-empty").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_room_is_told_to_come_back() {
    // Of what may wait for the disk, one event takes more than half.
    let flags = ["--body-bytes-max", "1200", "--event-bytes-max", "1200", "--batch-events-max", "1"];
    let target = Target::start(&[&flags[..], &["--log-queue-bytes", "1800"]].concat()).await;
    let padded = |id: &str| with_data(id, &format!(r#"{{"value":1,"padding":"{}"}}"#, "x".repeat(900)));
    let (mut taken, mut behind) = (0, false);
    for round in 0..50 {
        let sending =
            (0..8).map(|n| target.api.post("/api/v1/events", SINGLE, padded(&format!("{round}-{n}"))));
        for reply in join_all(sending).await {
            if reply.status == 204 {
                taken += 1;
                continue;
            }
            assert_eq!(reply.header("retry-after"), "1");
            assert_eq!(reply.json().text("type"), "urn:weir:problem:log-behind");
            reply.expect_problem(503);
            behind = true;
        }
        if behind {
            break;
        }
    }
    assert!(behind, "nobody had to wait for the disk");
    assert_eq!(target.stored().await, taken);

    // Four clients that never finish hold all that may be held.
    let flags = ["--body-bytes-max", "8 KiB", "--event-bytes-max", "8 KiB", "--buffered-bytes-max", "28 KiB"];
    let target = Target::start(&flags).await;
    let held: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = connect(&target);
            stream.write_all(head("content-length: 7001\r\n").as_bytes()).unwrap();
            stream.write_all(&[b' '; 7_000]).unwrap();
            stream
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let body = format!("[{}]", vec![good("1"); 20].join(","));
    let reply = target.api.post("/api/v1/events", BATCH, body).await;
    assert_eq!(reply.json().text("type"), "urn:weir:problem:overloaded");
    assert_eq!(reply.header("retry-after"), "1");
    let answer = grpc::send(target.address(), &protos(vec![good_proto("1"); 20])).await;
    assert_eq!((&*answer.code, &answer.headers["retry-after"]), ("UNAVAILABLE", &"1".parse().unwrap()));
    assert!(answer.message.contains("again in 1 s"), "{answer:?}");
    assert!(answer.headers.contains_key("grpc-status-details-bin"), "{answer:?}");
    drop(held);
    tokio::time::sleep(Duration::from_millis(500)).await;
    target.api.post("/api/v1/events", SINGLE, good("1")).await.expect(204);
    assert_eq!(target.stored().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_meets_a_shutdown_is_told_so() {
    let target = Target::start(&[]).await;
    let body = format!("[{}]", good("late"));
    let mut stream = connect(&target);
    stream.write_all(head(&format!("content-length: {}\r\n", body.len())).as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..10]).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let Target { server, .. } = target;
    let stopping = tokio::task::spawn_blocking(|| server.stop());
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream.write_all(&body.as_bytes()[10..]).unwrap();
    let answer = tokio::task::spawn_blocking(move || read_to_end(&stream)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let head = answer.to_lowercase();
    assert!(head.contains("urn:weir:problem:shutting-down") && head.contains("retry-after: 1"), "{answer}");
    stopping.await.unwrap();
}
