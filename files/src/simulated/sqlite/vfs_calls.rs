//! What SQLite asks of a VFS as a whole: opening, removing and finding files. Time and randomness come
//! from its own VFS.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use libsqlite3_sys as ffi;

use super::file_calls::{self, OpenFile};
use super::opened::Opened;
use super::{Machine, Root};

const PATH_BYTES_MAX: c_int = 1_024;

pub(super) fn table(name: *const c_char, root: *mut c_void) -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: c_int::try_from(size_of::<OpenFile>()).unwrap_or(c_int::MAX),
        mxPathname: PATH_BYTES_MAX,
        pNext: ptr::null_mut(),
        zName: name,
        pAppData: root,
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

/// None once the VFS has been given up.
///
/// # Safety
/// The VFS is one that `table` has made.
unsafe fn machine(vfs: *mut ffi::sqlite3_vfs) -> Option<Arc<Machine>> {
    // SAFETY: `pAppData` was given to `table` as a `Root` that is never freed.
    let root = unsafe { &*(*vfs).pAppData.cast::<Root>() };
    root.0.lock().clone()
}

/// # Safety
/// The name is a text that ends in zero and outlives the path.
unsafe fn path<'a>(name: *const c_char) -> &'a Path {
    // SAFETY: as the caller promises.
    let name = unsafe { CStr::from_ptr(name) };
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let file = file.cast::<OpenFile>();
    // SAFETY: SQLite hands out `szOsFile` bytes for the file, which is the size of an `OpenFile`. Without
    // methods it is not closed.
    unsafe { file.write(OpenFile::none()) };
    // SAFETY: SQLite passes the VFS that it looked up by name.
    let Some(machine) = (unsafe { machine(vfs) }) else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: a name that is not null is a text that lives as long as the file is open.
    let path = (!name.is_null()).then(|| unsafe { path(name) });
    match Opened::open(machine, path, flags) {
        Ok((opened, flags)) => {
            // SAFETY: as above.
            unsafe { file.write(file_calls::opened(opened)) };
            if !flags_out.is_null() {
                // SAFETY: SQLite passes null or a place for the flags.
                unsafe { flags_out.write(flags) };
            }
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: SQLite passes the VFS and a name.
    let (Some(machine), path) = (unsafe { (machine(vfs), path(name)) }) else {
        return ffi::SQLITE_IOERR_DELETE;
    };
    machine.remove(path, sync & 1 != 0).err().unwrap_or(ffi::SQLITE_OK)
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _: c_int,
    found: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes the VFS and a name.
    let (Some(machine), path) = (unsafe { (machine(vfs), path(name)) }) else {
        return ffi::SQLITE_IOERR_ACCESS;
    };
    // SAFETY: SQLite passes a place for the answer.
    unsafe { found.write(c_int::from(machine.exists(path))) };
    ffi::SQLITE_OK
}

/// Names have to be absolute already.
unsafe extern "C" fn full_path(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a name.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if !bytes.starts_with(b"/") || bytes.len() > usize::try_from(room).unwrap_or(0) {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: there is room for so many bytes, and SQLite's two buffers do not overlap.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len()) };
    ffi::SQLITE_OK
}

/// SQLite's own VFS for this machine.
fn own() -> Option<&'static ffi::sqlite3_vfs> {
    // SAFETY: null asks for the default VFS, which is never freed.
    unsafe { ffi::sqlite3_vfs_find(ptr::null()).as_ref() }
}

unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, length: c_int, out: *mut c_char) -> c_int {
    match own().and_then(|own| own.xRandomness.map(|call| (own, call))) {
        // SAFETY: passes SQLite's own arguments on to SQLite's own function.
        Some((own, call)) => unsafe { call(ptr::from_ref(own).cast_mut(), length, out) },
        None => 0,
    }
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    match own().and_then(|own| own.xSleep.map(|call| (own, call))) {
        // SAFETY: passes SQLite's own arguments on to SQLite's own function.
        Some((own, call)) => unsafe { call(ptr::from_ref(own).cast_mut(), microseconds) },
        None => 0,
    }
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    match own().and_then(|own| own.xCurrentTime.map(|call| (own, call))) {
        // SAFETY: passes SQLite's own arguments on to SQLite's own function.
        Some((own, call)) => unsafe { call(ptr::from_ref(own).cast_mut(), out) },
        None => ffi::SQLITE_ERROR,
    }
}

unsafe extern "C" fn last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}
