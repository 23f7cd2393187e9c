//! How what the disk says becomes an error that tells which file, where in it, and what to do.

use std::io;
use std::path::Path;

use super::frame::BadFrame;
use super::header::FORMAT_VERSION;
use crate::LogError;

/// Makes an I/O error name what was tried with which file.
pub(super) fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let context = format!("the log {what} {}", path.display());
    move |source| LogError::Io { context, source }
}

pub(super) fn newer(path: &Path, version: u32) -> LogError {
    LogError::Mismatch(format!(
        "{} is of format version {version}, this program reads up to version {FORMAT_VERSION}; run the newer \
         program that wrote it",
        path.display()
    ))
}

pub(super) fn hole(path: &Path, byte: u64, offset: u64) -> LogError {
    LogError::Hole { path: path.display().to_string(), byte, offset }
}

pub(super) fn damaged(path: &Path, byte: u64, offset: u64, what: &str) -> LogError {
    LogError::Damaged { path: path.display().to_string(), byte, offset, what: what.to_owned() }
}

/// What is wrong with a frame that should be good.
pub(super) fn frame_error(bad: BadFrame, path: &Path, byte: u64, offset: u64) -> LogError {
    match bad {
        BadFrame::Newer(version) => newer(path, u32::from(version)),
        BadFrame::Damaged(what) => damaged(path, byte, offset, what),
    }
}
