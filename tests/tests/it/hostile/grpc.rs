//! A gRPC client that sends the bytes it is told to, right or wrong.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

pub(super) const INGEST: &str = "/weir.v1.IngestService/Ingest";

/// Codes by their number, as gRPC writes them.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[derive(Clone, Debug)]
pub(super) struct GrpcRequest {
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) encoding: Option<&'static str>,
    pub(super) body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// A code's name; the HTTP status where gRPC has not answered.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) headers: HeaderMap,
}

/// A message as it goes over the wire.
pub(super) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[flag], &length.to_be_bytes()[..], message].concat()
}

pub(super) async fn send(address: &str, case: &GrpcRequest) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let running = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let mut request = Request::post(format!("http://{address}{}", case.path))
        .header("content-type", case.content_type)
        .header("te", "trailers");
    if let Some(encoding) = case.encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    // A server that has answered may not want the rest.
    let _ = body.send_data(Bytes::from(case.body.clone()), true);
    let (parts, mut incoming) = response.await.unwrap().into_parts();
    let mut plain = BytesMut::new();
    while let Some(piece) = incoming.data().await {
        let Ok(piece) = piece else { break };
        let _ = incoming.flow_control().release_capacity(piece.len());
        plain.extend_from_slice(&piece);
    }
    let mut headers = parts.headers;
    if let Ok(Some(trailers)) = incoming.trailers().await {
        headers.extend(trailers);
    }
    running.abort();
    let read = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let code = match read("grpc-status") {
        Some(code) => CODES[code.parse::<usize>().unwrap()].to_owned(),
        None => parts.status.as_u16().to_string(),
    };
    let message = read("grpc-message").map_or_else(
        || String::from_utf8_lossy(&plain).into_owned(),
        |text| {
            url::form_urlencoded::parse(
                format!("m={}", text.replace('+', "%2B").replace('&', "%26")).as_bytes(),
            )
            .next()
            .unwrap()
            .1
            .into_owned()
        },
    );
    Answer { code, message, headers }
}
