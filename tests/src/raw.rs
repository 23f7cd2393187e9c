//! A client that does to a connection what no library lets one do: it sends a part of a request, waits,
//! sends the rest, or goes away without reading the answer.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::BATCH;

/// Longer than every limit of the server's own.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// A connection, not encrypted, to the host of an address such as `http://127.0.0.1:4711`.
#[derive(Debug)]
pub struct Raw(TcpStream);

impl Raw {
    pub async fn connect(url: &str) -> Self {
        let address = url.strip_prefix("http://").expect("a plain address");
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The same; whether the other side still took it.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// Everything up to where the other side closes the connection; empty if it closed without a word. The
    /// request must ask for that with `connection: close`.
    pub async fn answer(mut self) -> String {
        let mut bytes = Vec::new();
        let read = timeout(ANSWER_LIMIT, self.0.read_to_end(&mut bytes)).await;
        match read.unwrap_or_else(|_| panic!("no answer within {ANSWER_LIMIT:?}")) {
            Ok(_) => String::from_utf8(bytes).unwrap(),
            // Reset; what had come before counts.
            Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// A whole request that brings events, after which the connection is to be closed.
pub fn ingest(events: &[String]) -> String {
    let body = format!("[{}]", events.join(","));
    format!(
        "POST /api/v1/events HTTP/1.1\r\nhost: weir\r\nconnection: close\r\ncontent-type: {BATCH}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
