//! How prepared requests go out: HTTP/1.1 over a plain socket, or gRPC through tonic with a codec that
//! passes encoded messages on. Both are as thin as they can be, so that the server is what is measured.

mod grpc;
mod http;

use std::net::SocketAddr;

pub use grpc::Grpc;
pub use http::{Answer, Http};

use crate::Fail;

/// One connection's worth of requests, one at a time.
#[derive(Debug)]
pub enum Wire {
    Http(Http),
    Grpc(Grpc),
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    /// 503 or UNAVAILABLE: the same has to be sent again.
    Refused,
}

impl Wire {
    /// Over HTTP each has a socket of its own; over gRPC `shared` is a channel that several use.
    pub async fn open(address: SocketAddr, shared: Option<&Grpc>) -> Result<Self, Fail> {
        Ok(match shared {
            Some(channel) => Self::Grpc(channel.clone()),
            None => Self::Http(Http::connect(address).await?),
        })
    }

    pub async fn send(&mut self, request: &[u8]) -> Result<Outcome, Fail> {
        match self {
            Self::Http(http) => {
                let answer = http.exchange(request).await?;
                match answer.status {
                    204 => Ok(Outcome::Acknowledged),
                    503 => Ok(Outcome::Refused),
                    status => {
                        Err(format!("events were answered {status}: {}", http.body_text(&answer)).into())
                    }
                }
            }
            Self::Grpc(grpc) => grpc.send(request).await,
        }
    }
}
