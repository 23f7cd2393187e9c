//! gRPC through tonic, with a codec that takes messages which are encoded already.

use std::net::SocketAddr;

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::Outcome;
use crate::Fail;

const METHOD: &str = "/weir.v1.IngestService/Ingest";
/// So that no request has to wait for the client's own flow control.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// A channel; clones share its connection.
#[derive(Clone, Debug)]
pub struct Grpc {
    client: Client<Channel>,
}

impl Grpc {
    pub async fn connect(address: SocketAddr) -> Result<Self, Fail> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .tcp_nodelay(true)
            .initial_connection_window_size(WINDOW_BYTES)
            .initial_stream_window_size(WINDOW_BYTES);
        Ok(Self { client: Client::new(endpoint.connect().await?) })
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> Result<Outcome, Fail> {
        self.client.ready().await?;
        let request = tonic::Request::new(Bytes::copy_from_slice(message));
        let path = http::uri::PathAndQuery::from_static(METHOD);
        match self.client.unary(request, path, Encoded).await {
            Ok(_) => Ok(Outcome::Acknowledged),
            Err(status) if status.code() == Code::Unavailable => Ok(Outcome::Refused),
            Err(status) => Err(status.into()),
        }
    }
}

/// Messages are bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
