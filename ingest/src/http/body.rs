//! Takes a request's body off the wire, never more of it than is allowed.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;

use crate::budget::Reservation;
use crate::error::IngestError;

/// Room made at once for what a client says it will send; the rest grows with what it does send.
const FIRST_CAPACITY_BYTES_MAX: usize = 256 * 1024;

/// Reads all of a body. One that announces more than the bound is refused before any of it is read.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, IngestError> {
    let too_large = || IngestError::TooLarge { what: "the body", bytes_max };
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
        let frame = frame.map_err(|error| {
            IngestError::Body(format!("the body broke off after {len} bytes: {error}; send it again"))
        })?;
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
