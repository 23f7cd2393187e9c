//! Verifying: what the catalog lists is there, as long as it was when it was written and, if asked,
//! byte for byte the same.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;

use weir_meter::segment::Segment;

use super::files::{Folders, damaged, io};
use crate::StoreError;

const BUFFER_BYTES: usize = 1 << 20;

pub(super) fn verify(
    folders: &Folders,
    segments: &[Arc<Segment>],
    checksums: bool,
) -> Result<(), StoreError> {
    for segment in segments {
        let new = &segment.new;
        let Some(path) = folders.file_of(segment)? else {
            if new.row_count != 0 {
                return Err(damaged(
                    folders.root(),
                    &format!("segment {} is listed with {} rows and no file", new.segment, new.row_count),
                ));
            }
            continue;
        };
        match fs::metadata(&path) {
            Ok(found) => check_length(&path, found.len(), new.byte_count)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing(&path)),
            Err(error) => return Err(io("looking at", &path)(error)),
        }
        if checksums {
            let found = checksum(&path).map_err(io("reading", &path))?;
            if found != new.checksum {
                return Err(damaged(
                    &path,
                    &format!("its CRC32C is {found:08x} and should be {:08x}", new.checksum),
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn missing(path: &Path) -> StoreError {
    damaged(path, &"the catalog lists this file and it is missing; restore it from a copy")
}

pub(super) fn check_length(path: &Path, found: u64, listed: u64) -> Result<(), StoreError> {
    if found == listed {
        return Ok(());
    }
    Err(damaged(path, &format!("it has {found} bytes and should have {listed}; restore it from a copy")))
}

fn checksum(path: &Path) -> std::io::Result<u32> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut checksum = 0;
    loop {
        let length = file.read(&mut buffer)?;
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { return Ok(checksum) };
        checksum = crc32c::crc32c_append(checksum, read);
    }
}
