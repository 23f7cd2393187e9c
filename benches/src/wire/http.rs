//! HTTP/1.1 with keep-alive over a plain socket: a request is written whole, an answer read by its
//! Content-Length. Nothing else of HTTP is needed here, and a library would cost more than what it sends.

use std::net::SocketAddr;
use std::ops::Range;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Fail, because};

const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub struct Http {
    stream: TcpStream,
    /// The last answer.
    buffer: Vec<u8>,
}

/// Where the parts of the last answer stand in the buffer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    head: Range<usize>,
    body: Range<usize>,
}

impl Http {
    pub async fn connect(address: SocketAddr) -> Result<Self, Fail> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a whole request and reads the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer, Fail> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head_end = loop {
            self.read_more().await?;
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(because("an answer's head has no end"));
            }
        };
        let status = std::str::from_utf8(self.buffer.get(9..12).unwrap_or_default())?.parse()?;
        let answer = Answer { status, head: 0..head_end, body: head_end..head_end };
        let length: usize = match (self.header(&answer, "content-length"), status) {
            (Some(length), _) => length.parse()?,
            (None, 204) => 0,
            (None, _) => return Err(because("an answer has a body of unknown length")),
        };
        while self.buffer.len() < head_end + length {
            self.read_more().await?;
        }
        Ok(Answer { body: head_end..head_end + length, ..answer })
    }

    /// Asks, and returns the body of a good answer.
    pub async fn get(&mut self, path: &str, headers: &str) -> Result<Vec<u8>, Fail> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: weir\r\n{headers}\r\n");
        let answer = self.exchange(request.as_bytes()).await?;
        if answer.status != 200 {
            return Err(
                format!("GET {path} was answered {}: {}", answer.status, self.body_text(&answer)).into()
            );
        }
        Ok(self.body(&answer).to_vec())
    }

    pub async fn post_json(&mut self, path: &str, body: &str) -> Result<Answer, Fail> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.exchange(request.as_bytes()).await
    }

    /// A header of the last answer; the server writes names in small letters.
    pub fn header(&self, answer: &Answer, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.buffer[answer.head.clone()]).ok()?;
        head.split("\r\n").find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    pub fn body(&self, answer: &Answer) -> &[u8] {
        &self.buffer[answer.body.clone()]
    }

    pub fn body_text(&self, answer: &Answer) -> String {
        String::from_utf8_lossy(self.body(answer)).into_owned()
    }

    async fn read_more(&mut self) -> Result<(), Fail> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(because("the server closed the connection")),
            _ => Ok(()),
        }
    }
}
