//! The five bytes around a gRPC message: whether it is compressed, and its length.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{BodyExt as _, Full};
use prost::Message;
use tonic::body::Body;

use crate::decode::Encoding;
use crate::error::{IngestError, TooMany};

/// A byte that says whether the message is compressed, and its length in four.
pub(super) const HEADER_BYTES: usize = 5;

/// The only message of a request's body, and how it is compressed.
pub(super) fn message(
    mut body: Bytes,
    encoding: Option<Encoding>,
    bytes_max: usize,
) -> Result<(Bytes, Option<Encoding>), IngestError> {
    let Some((header, _)) = body.split_first_chunk::<HEADER_BYTES>() else {
        return Err(IngestError::Body("the request holds no whole gRPC message; send one".to_owned()));
    };
    let [flag, length @ ..] = *header;
    let length = u32::from_be_bytes(length) as usize;
    let message = body.split_off(HEADER_BYTES);
    if length > bytes_max {
        return Err(IngestError::TooLarge { what: TooMany::WireBytes, bytes_max });
    }
    if length != message.len() {
        return Err(IngestError::Body(format!(
            "the gRPC message announces {length} bytes, but {} follow; a request is one whole message",
            message.len()
        )));
    }
    match (flag, encoding) {
        (0, _) => Ok((message, None)),
        (1, Some(encoding)) => Ok((message, Some(encoding))),
        (1, None) => Err(IngestError::Body(
            "the gRPC message is marked as compressed, but `grpc-encoding` does not say how; name `gzip` or \
             `zstd`"
                .to_owned(),
        )),
        (flag, _) => Err(IngestError::Body(format!(
            "the gRPC message begins with {flag}, where 0 says that it is plain and 1 that it is compressed"
        ))),
    }
}

/// An answer that is a message, plain, with the status that all went well.
pub(super) fn response(message: &impl Message) -> Response<Body> {
    let length = message.encoded_len();
    let mut body = BytesMut::with_capacity(length.saturating_add(HEADER_BYTES));
    body.put_u8(0);
    body.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer grows with what is written, so this does not fail.
    let _ = message.encode(&mut body);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(body.freeze()).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_message_and_nothing_else() {
        let read = |bytes: &'static [u8], encoding| message(Bytes::from_static(bytes), encoding, 3);
        assert_eq!(read(&[0, 0, 0, 0, 2, 7, 8], None), Ok((Bytes::from_static(&[7, 8]), None)));
        let gzip = Some(Encoding::Gzip);
        assert_eq!(read(&[1, 0, 0, 0, 1, 7], gzip), Ok((Bytes::from_static(&[7]), gzip)));
        // An encoding that is named need not be used.
        assert_eq!(read(&[0, 0, 0, 0, 0], gzip), Ok((Bytes::new(), None)));
        for (bytes, encoding) in [
            (&b""[..], None),
            (&[0, 0, 0, 0], None),
            (&[0, 0, 0, 0, 1], None),
            (&[0, 0, 0, 0, 1, 7, 8], None),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None),
            (&[1, 0, 0, 0, 1, 7], None),
            (&[2, 0, 0, 0, 1, 7], gzip),
        ] {
            assert!(matches!(read(bytes, encoding), Err(IngestError::Body(_))), "{bytes:?}");
        }
        assert!(matches!(read(&[0, 255, 255, 255, 255, 7], None), Err(IngestError::TooLarge { .. })));
    }
}
