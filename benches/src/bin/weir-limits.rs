//! The limit programs: what the machine could do at best, for Weir to stand beside. Each does one thing.
//!
//! - `parse`: an axum handler that reads the body and parses it once with simd-json into its tape, in the
//!   body's own memory where it has that to itself, without looking at what is in it; then it answers 204. It
//!   checks no rule, stores nothing, folds nothing.
//! - `answer`: an axum handler that reads the body and answers 204 without looking at it.
//! - `fdatasync`: appends so many bytes to a file and waits for the disk, over and over, alone; says how long
//!   it waited.
//!
//! Both handlers run on tokio's single-threaded runtime with TCP_NODELAY, since they get one core.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::BytesMut;
use clap::{Parser, Subcommand};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::time::Instant;
use weir_benches::Fail;
use weir_benches::load::percentile;
use weir_benches::rows::Percentiles;

/// The same allocator as the server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Parser)]
#[command(about = "What Weir is measured against")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// An axum handler that only parses bodies
    Parse {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// An axum handler that answers 204 without parsing
    Answer {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Append and fdatasync, over and over
    Fdatasync {
        /// Is made and removed again
        #[arg(long)]
        file: PathBuf,
        /// Appended each time
        #[arg(long)]
        bytes: usize,
        #[arg(long, default_value = "2000")]
        times: u32,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fail> {
    match Cli::parse().command {
        Command::Parse { listen } => {
            let parser = Arc::new(Mutex::new(Tape::default()));
            serve(listen, Router::new().route("/api/v1/events", post(parse)).with_state(parser)).await
        }
        Command::Answer { listen } => {
            serve(listen, Router::new().route("/api/v1/events", post(answer))).await
        }
        Command::Fdatasync { file, bytes, times } => fdatasync(&file, bytes, times),
    }
}

async fn serve(listen: SocketAddr, routes: Router) -> Result<(), Fail> {
    let listener = TcpListener::bind(listen).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, routes.layer(DefaultBodyLimit::max(BODY_BYTES_MAX))).await?)
}

/// The parser's memory, used again for every body. There is one thread, so the lock is never waited for.
struct Tape {
    buffers: simd_json::Buffers,
    spare: simd_json::Tape<'static>,
}

impl Default for Tape {
    fn default() -> Self {
        Self { buffers: simd_json::Buffers::new(64 * 1024), spare: simd_json::Tape::null() }
    }
}

async fn parse(State(parser): State<Arc<Mutex<Tape>>>, body: Bytes) -> StatusCode {
    // simd-json writes into what it parses. A body that shares its memory with the connection's buffer has to
    // be copied for it; one that came in several reads does not.
    let mut body = body.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let Ok(mut parser) = parser.lock() else { return StatusCode::INTERNAL_SERVER_ERROR };
    let mut tape = std::mem::replace(&mut parser.spare, simd_json::Tape::null()).reset();
    let parsed = simd_json::fill_tape(&mut body, &mut parser.buffers, &mut tape);
    let nodes = std::hint::black_box(tape.0.len());
    parser.spare = tape.reset();
    if parsed.is_ok() && nodes > 0 { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST }
}

async fn answer(body: Bytes) -> StatusCode {
    std::hint::black_box(body.len());
    StatusCode::NO_CONTENT
}

fn fdatasync(path: &PathBuf, bytes: usize, times: u32) -> Result<(), Fail> {
    let mut file = File::create(path)?;
    // Not zeros: a disk may be clever about them.
    let mut draw = weir_benches::draw::Draw::new(1);
    let block: Vec<u8> = (0..bytes).map(|_| draw.number() as u8).collect();
    let mut micros = Vec::with_capacity(times as usize);
    for _ in 0..times {
        let begin = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        micros.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    std::fs::remove_file(path)?;
    micros.sort_unstable();
    let found = Percentiles { p50: percentile(&micros, 50.0), p99: percentile(&micros, 99.0) };
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}
