//! Filters over the entries of a run: two bytes and a bit per entry that say "not in here" for all but
//! one in 65,536 of the identities that are not. A yes is never an answer; the entry is looked up.

use xorf::{BinaryFuse16, Descriptor, Filter as _};

/// What says whether an identity may be among some entries.
#[derive(Debug)]
pub(super) enum Filter {
    Fuse(BinaryFuse16),
    /// Says yes to everything: for entries that no filter could be built over. Slow and never wrong.
    Every,
}

/// A filter without its fingerprints, as a directory of a run holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) seed: u64,
    pub(super) segment_length: u32,
    pub(super) segment_count_length: u32,
    /// 0 for the one that says yes to everything.
    pub(super) fingerprints: u32,
}

impl Filter {
    /// Over the upper halves of identities, sorted.
    pub(super) fn build(keys: &mut Vec<u64>) -> Self {
        keys.dedup();
        let Ok(filter) = BinaryFuse16::try_from(keys.as_slice()) else { return Self::Every };
        // A filter that forgot a key would let a duplicate count. Nothing that money depends on is
        // left to a foreign crate's word.
        if fits(&filter.descriptor, filter.fingerprints.len()) && keys.iter().all(|key| filter.contains(key))
        {
            Self::Fuse(filter)
        } else {
            Self::Every
        }
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        match self {
            Self::Fuse(filter) => filter.contains(&key),
            Self::Every => true,
        }
    }

    /// Bytes in memory, and in a file.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Fuse(filter) => filter.fingerprints.len().saturating_mul(2),
            Self::Every => 0,
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Fuse(BinaryFuse16 { descriptor, fingerprints }) => Shape {
                seed: descriptor.seed,
                segment_length: descriptor.segment_length,
                segment_count_length: descriptor.segment_count_length,
                fingerprints: u32::try_from(fingerprints.len()).unwrap_or(0),
            },
            Self::Every => Shape { seed: 0, segment_length: 0, segment_count_length: 0, fingerprints: 0 },
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Fuse(filter) => filter.fingerprints.iter().flat_map(|f| f.to_le_bytes()).collect(),
            Self::Every => Vec::new(),
        }
    }

    /// None if the shape is none that a filter can have.
    pub(super) fn from_bytes(shape: Shape, bytes: &[u8]) -> Option<Self> {
        if shape.fingerprints == 0 {
            return Some(Self::Every);
        }
        let (pairs, rest) = bytes.as_chunks::<2>();
        let fingerprints: Box<[u16]> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let descriptor = Descriptor {
            seed: shape.seed,
            segment_length: shape.segment_length,
            segment_length_mask: shape.segment_length.wrapping_sub(1),
            segment_count_length: shape.segment_count_length,
        };
        let right = rest.is_empty()
            && fingerprints.len() == shape.fingerprints as usize
            && fits(&descriptor, fingerprints.len());
        right.then_some(Self::Fuse(BinaryFuse16 { descriptor, fingerprints }))
    }
}

/// Whether every place that a key can be looked up at is there: the crate does not ask.
fn fits(descriptor: &Descriptor, fingerprints: usize) -> bool {
    let Descriptor { segment_length, segment_length_mask, segment_count_length, .. } = *descriptor;
    segment_length.is_power_of_two()
        && segment_length_mask == segment_length - 1
        && segment_count_length > 0
        && segment_count_length.is_multiple_of(segment_length)
        && u64::from(segment_count_length) + 2 * u64::from(segment_length) <= fingerprints as u64
}
