//! Verifying: what the catalog lists is there, as long as it was when it was written and, if asked,
//! byte for byte the same.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use weir_files::{Disk, Open};
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
        match folders.disk().file_len(&path) {
            Ok(found) => check_length(&path, found, new.byte_count)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing(&path)),
            Err(error) => return Err(io("looking at", &path)(error)),
        }
        if checksums {
            let found = checksum(folders.disk(), &path).map_err(io("reading", &path))?;
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

fn checksum(disk: &Disk, path: &Path) -> std::io::Result<u32> {
    let file = disk.open(path, Open::Read)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut checksum, mut at) = (0, 0_u64);
    loop {
        let length = match file.read_at(&mut buffer, at) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { return Ok(checksum) };
        checksum = crc32c::crc32c_append(checksum, read);
        at = at.saturating_add(length as u64);
    }
}
