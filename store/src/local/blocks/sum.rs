//! Taking checksums while a file is written.

use super::{BLOCK_BYTES, Front, NOTE_START};

/// The checksums of all that passed, as a whole and block by block.
#[derive(Debug, Default)]
pub(in crate::local) struct BlockSums {
    bytes: u64,
    whole: u32,
    /// Of the blocks that are full.
    blocks: Vec<u32>,
    /// Of the one that is not.
    block: u32,
    in_block: usize,
}

impl BlockSums {
    pub(in crate::local) fn add(&mut self, mut bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.whole = crc32c::crc32c_append(self.whole, bytes);
        while !bytes.is_empty() {
            let room = BLOCK_BYTES.saturating_sub(self.in_block);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block = crc32c::crc32c_append(self.block, now);
            self.in_block = self.in_block.saturating_add(now.len());
            if self.in_block == BLOCK_BYTES {
                self.blocks.push(self.block);
                (self.block, self.in_block) = (0, 0);
            }
            bytes = later;
        }
    }

    pub(in crate::local) fn byte_count(&self) -> u64 {
        self.bytes
    }

    pub(in crate::local) fn checksum(&self) -> u32 {
        self.whole
    }

    /// Zeros that are missing to a whole block.
    pub(in crate::local) fn padding(&self) -> &'static [u8] {
        const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
        let missing = if self.in_block == 0 { 0 } else { BLOCK_BYTES.saturating_sub(self.in_block) };
        ZEROS.get(..missing).unwrap_or_default()
    }

    /// The checksums of the full blocks, as a file holds them.
    pub(in crate::local) fn list(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(|checksum| checksum.to_le_bytes()).collect()
    }
}

/// What the footer says of all that passed so far, which has to be whole blocks.
pub(in crate::local) fn note(sums: &BlockSums) -> String {
    let front = Front { bytes: sums.bytes, checksum: sums.whole };
    format!("{NOTE_START}{:016x}:{:08x}", front.bytes, front.checksum)
}
