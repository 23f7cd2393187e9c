//! The bytes inside a position token: kind, incarnation, epoch, revision, then runs of neighbouring
//! partitions (first partition, count, one offset each), all big-endian. Every offset takes eight
//! bytes whatever its size, so that a token's length says nothing about it; runs keep the token of
//! 256 partitions under 3,000 characters, which fits the headers that proxies let through.

use super::{Position, PositionKind};

const AT_LEAST: u8 = 1;
const EXACTLY: u8 = 2;

pub(super) fn encode(position: &Position) -> Vec<u8> {
    let mut offsets = position.offsets.clone();
    // What is not in order would not be read again; of a partition named twice the later offset holds.
    offsets.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    offsets.dedup_by_key(|(partition, _)| *partition);

    let mut bytes = Vec::with_capacity(29 + 16 * offsets.len());
    bytes.push(match position.kind {
        PositionKind::AtLeast => AT_LEAST,
        PositionKind::Exactly => EXACTLY,
    });
    bytes.extend_from_slice(&position.incarnation.to_be_bytes());
    bytes.extend_from_slice(&position.epoch.to_be_bytes());
    bytes.extend_from_slice(&position.revision.to_be_bytes());
    for run in offsets.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0)) {
        let Some((first, _)) = run.first() else { continue };
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(run.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (_, offset) in run {
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
    }
    bytes
}

/// None for bytes that `encode` does not make.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Position> {
    let bytes = &mut bytes;
    let kind = match take::<1>(bytes)? {
        [AT_LEAST] => PositionKind::AtLeast,
        [EXACTLY] => PositionKind::Exactly,
        _ => return None,
    };
    let incarnation = u128::from_be_bytes(take(bytes)?);
    let epoch = u32::from_be_bytes(take(bytes)?);
    let revision = u64::from_be_bytes(take(bytes)?);
    let mut offsets: Vec<(u32, u64)> = Vec::new();
    while !bytes.is_empty() {
        let mut partition = u32::from_be_bytes(take(bytes)?);
        let count = u32::from_be_bytes(take(bytes)?);
        if count == 0 || offsets.last().is_some_and(|(last, _)| *last >= partition) {
            return None;
        }
        for step in 0..count {
            if step > 0 {
                partition = partition.checked_add(1)?;
            }
            offsets.push((partition, u64::from_be_bytes(take(bytes)?)));
        }
    }
    Some(Position { kind, incarnation, epoch, offsets, revision })
}

/// Takes the next `N` bytes, and none if fewer are left.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}
