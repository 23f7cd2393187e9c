//! Tells a crash test what the process was doing when it was killed. Nothing happens until a file is
//! installed (the binary does so if `WEIR_PHASE_FILE` is set); then every change of phase is one byte
//! written in place. The page cache outlives a killed process, so the byte can be read afterwards.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

/// What a lane is doing. The numbers are what stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    Idle = 0,
    Append = 1,
    Sync = 2,
    Flush = 3,
    Commit = 4,
    Cut = 5,
    Merge = 6,
    Refold = 7,
    Swap = 8,
    Forget = 9,
    Remove = 10,
}

impl Phase {
    /// The phase that a byte of the file stands for.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Idle),
            1 => Some(Self::Append),
            2 => Some(Self::Sync),
            3 => Some(Self::Flush),
            4 => Some(Self::Commit),
            5 => Some(Self::Cut),
            6 => Some(Self::Merge),
            7 => Some(Self::Refold),
            8 => Some(Self::Swap),
            9 => Some(Self::Forget),
            10 => Some(Self::Remove),
            _ => None,
        }
    }
}

/// Who is speaking; the number is the byte's place in the file. The log's threads share one lane, so
/// with several partitions it shows whichever changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Lane {
    Log = 0,
    Aggregator = 1,
    Maintenance = 2,
}

const LANES: usize = 3;

static INSTALLED: OnceLock<File> = OnceLock::new();

/// Creates the file, every lane idle, and has all later calls of [`enter`] write to it. The first
/// call of a process wins.
pub fn install(path: &Path) -> io::Result<()> {
    let file = File::options().create(true).truncate(true).write(true).open(path)?;
    file.write_all_at(&[Phase::Idle as u8; LANES], 0)?;
    // A second call changes nothing: which file a test watches is settled at start.
    let _ = INSTALLED.set(file);
    Ok(())
}

/// Notes what a lane does from now on. One atomic load if no file is installed.
pub fn enter(lane: Lane, phase: Phase) {
    if let Some(file) = INSTALLED.get() {
        // A test's marker must never get in the way of the work it watches.
        let _ = file.write_at(&[phase as u8], u64::from(lane as u8));
    }
}
