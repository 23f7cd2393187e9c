//! Takes a request's body off the wire, whatever the transport: never more of it than is allowed, never
//! for longer, and reserved as it comes.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version, header};
use http_body_util::BodyExt as _;

use crate::budget::Reservation;
use crate::decode::{Encoding, decode};
use crate::error::{IngestError, TooMany};
use crate::service::IngestService;

/// Room made at once for what a client says it will send; the rest grows with what it does send.
const FIRST_CAPACITY_BYTES_MAX: usize = 256 * 1024;

/// Of a refused body, how much is still read and thrown away, and for how long, so that a client of
/// HTTP/1 that is still sending comes to read the answer. A connection that is closed before would be
/// reset, and the answer lost.
const DISCARDED_BYTES_MAX: usize = 32 * 1024 * 1024;
const DISCARDED_FOR_MAX: Duration = Duration::from_secs(3);

/// Reads all of a body of at most `bytes_max` bytes, within the time that clients have for it.
pub(crate) async fn body_in_time(
    service: &IngestService,
    headers: &HeaderMap,
    body: &mut Body,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, IngestError> {
    let limit = service.options().body_timeout;
    tokio::time::timeout(limit, read(headers, body, bytes_max, reservation))
        .await
        .unwrap_or(Err(IngestError::Timeout { after: limit }))
}

/// Decompresses on a thread of its own: how much work a small body makes only shows while it is done. It is
/// not done for a client that is gone: whoever drops this future does not wait any more.
pub(crate) async fn decoded_apart(
    service: &IngestService,
    wire: Bytes,
    encoding: Encoding,
    mut reservation: Reservation,
) -> Result<(Bytes, Reservation), IngestError> {
    let bytes_max = service.options().decoded_bytes_max;
    let waiting = Arc::new(());
    let waited_for = Arc::downgrade(&waiting);
    let decoded = tokio::task::spawn_blocking(move || {
        decode(&wire, encoding, bytes_max, &mut reservation, &waited_for).map(|plain| (plain, reservation))
    })
    .await;
    drop(waiting);
    decoded.map_err(|error| IngestError::Internal(format!("decompressing a body: {error}")))?
}

/// Lets a client that is still sending finish, within bounds. One that waits to be told to send is not
/// told so.
pub async fn discard(version: Version, headers: &HeaderMap, mut body: Body) {
    if version >= Version::HTTP_2 || headers.contains_key(header::EXPECT) {
        return;
    }
    let reading = async {
        let mut left = DISCARDED_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(DISCARDED_FOR_MAX, reading).await;
}

/// One that announces more than the bound is refused before any of it is read.
async fn read(
    headers: &HeaderMap,
    body: &mut Body,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, IngestError> {
    let too_large = || IngestError::TooLarge { what: TooMany::WireBytes, bytes_max };
    let announced: Option<u64> =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced| announced > bytes_max as u64) {
        return Err(too_large());
    }

    // A body that comes in one piece is not copied.
    let mut first = Bytes::new();
    let mut joined: Option<BytesMut> = None;
    let mut len = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| IngestError::Body(broken_off(len, &error)))?;
        let Ok(piece) = frame.into_data() else { continue };
        len = len.saturating_add(piece.len());
        if len > bytes_max {
            return Err(too_large());
        }
        reservation.grow(piece.len())?;
        match &mut joined {
            Some(joined) => joined.extend_from_slice(&piece),
            None if first.is_empty() => first = piece,
            None => {
                let announced = announced.and_then(|announced| usize::try_from(announced).ok());
                let capacity = announced.unwrap_or(0).min(FIRST_CAPACITY_BYTES_MAX).max(len);
                let mut both = BytesMut::with_capacity(capacity);
                both.extend_from_slice(&first);
                both.extend_from_slice(&piece);
                joined = Some(both);
            }
        }
    }
    Ok(joined.map_or(first, BytesMut::freeze))
}

/// Why a body did not come whole. Bytes that are no HTTP would not be any at a second try either.
fn broken_off(len: usize, error: &axum::Error) -> String {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData)
        {
            return format!(
                "the body's chunked transfer coding is broken after {len} bytes of it: {io}; mend what sends it"
            );
        }
        cause = inner.source();
    }
    format!("the body broke off after {len} bytes: {error}; send it again")
}
