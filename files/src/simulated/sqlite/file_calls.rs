//! What SQLite asks of an open file. SQLite uses a file from one thread at a time.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::atomic::{Ordering, fence};

use libsqlite3_sys as ffi;

use super::locks::Level;
use super::opened::Opened;

/// What lies behind a `sqlite3_file` of ours. The first field is all that SQLite knows of it.
#[repr(C)]
pub(super) struct OpenFile {
    methods: *const ffi::sqlite3_io_methods,
    opened: *mut Opened,
}

const SECTOR_BYTES: c_int = 4_096;

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(map_memory),
    xShmLock: Some(lock_memory),
    xShmBarrier: Some(memory_barrier),
    xShmUnmap: Some(unmap_memory),
    xFetch: None,
    xUnfetch: None,
};

impl OpenFile {
    pub(super) fn none() -> Self {
        Self { methods: ptr::null(), opened: ptr::null_mut() }
    }
}

/// It is freed when SQLite closes it.
pub(super) fn opened(opened: Opened) -> OpenFile {
    OpenFile { methods: &METHODS, opened: Box::into_raw(Box::new(opened)) }
}

/// # Safety
/// The file was opened by our VFS and is not closed yet, and nobody else uses it meanwhile.
unsafe fn the<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Opened {
    // SAFETY: xOpen wrote an `OpenFile` there, and the pointer in it came from a box.
    unsafe { &mut *(*file.cast::<OpenFile>()).opened }
}

fn code(result: Result<(), c_int>) -> c_int {
    result.err().unwrap_or(ffi::SQLITE_OK)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn count(number: c_int) -> usize {
    usize::try_from(number).unwrap_or(0)
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let file = file.cast::<OpenFile>();
    // SAFETY: xOpen put a box there, and SQLite closes a file once.
    unsafe {
        drop(Box::from_raw((*file).opened));
        file.write(OpenFile::none());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, into: *mut c_void, bytes: c_int, at: i64) -> c_int {
    // SAFETY: SQLite passes a buffer of so many bytes, which it has written to before.
    let buffer = unsafe {
        ptr::write_bytes(into.cast::<u8>(), 0, count(bytes));
        slice::from_raw_parts_mut(into.cast::<u8>(), count(bytes))
    };
    // SAFETY: the file is open.
    code(unsafe { the(file) }.read(buffer, unsigned(at)))
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    bytes: c_int,
    at: i64,
) -> c_int {
    // SAFETY: SQLite passes so many bytes.
    let buffer = unsafe { slice::from_raw_parts(from.cast::<u8>(), count(bytes)) };
    // SAFETY: the file is open.
    code(unsafe { the(file) }.write(buffer, unsigned(at)))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { the(file) }.truncate(unsigned(length)))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { the(file) }.sync(flags & ffi::SQLITE_SYNC_DATAONLY != 0))
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: the file is open.
    match unsafe { the(file) }.len() {
        Ok(length) => {
            // SAFETY: SQLite passes a place for the answer.
            unsafe { out.write(i64::try_from(length).unwrap_or(i64::MAX)) };
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { the(file) }.lock(Level::of(level)))
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { the(file) }.unlock(Level::of(level));
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: the file is open, and SQLite passes a place for the answer.
    unsafe { out.write(c_int::from(the(file).is_reserved())) };
    ffi::SQLITE_OK
}

/// None of the further wishes is one that durability depends on.
unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    SECTOR_BYTES
}

/// As for Unix: a write that is cut does no harm beside its own bytes.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE | ffi::SQLITE_IOCAP_SUBPAGE_READ
}

unsafe extern "C" fn map_memory(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    make: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the file is open.
    match unsafe { the(file) }.region(count(region), count(bytes), make != 0) {
        Ok(at) => {
            // SAFETY: SQLite passes a place for the answer, and takes null for a region that is not there.
            unsafe { out.write(at.unwrap_or(ptr::null_mut())) };
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn lock_memory(
    file: *mut ffi::sqlite3_file,
    from: c_int,
    locks: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: the file is open.
    code(unsafe { the(file) }.lock_memory(count(from), count(locks), flags))
}

unsafe extern "C" fn memory_barrier(_: *mut ffi::sqlite3_file) {
    fence(Ordering::SeqCst);
}

/// Nothing is left of shared memory when its last user goes, so that there is nothing to delete.
unsafe extern "C" fn unmap_memory(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { the(file) }.leave_memory();
    ffi::SQLITE_OK
}
