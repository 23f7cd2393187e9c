//! Which of the log's reasons is which. The log tells its operator a sentence and its callers that they
//! should come back; clients want to know whether it is a moment, or somebody has to make room.

/// Why the log took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Behind,
    DiskFull,
    Closed,
    Other,
}

/// How the log says that as many bytes wait as may wait.
const BEHIND: &str = "its queue is full";
/// How it says that it was told to stop.
const CLOSED: &str = "the log is closed";
/// How the operating system ends what it says of ENOSPC and EDQUOT, and the kinds of error they are.
const FULL: [&str; 4] = ["(os error 28)", "(os error 122)", "no storage space", "quota exceeded"];

impl Cause {
    pub(super) fn of(reason: &str) -> Self {
        match reason {
            BEHIND => Self::Behind,
            CLOSED => Self::Closed,
            _ if FULL.iter().any(|full| reason.contains(full)) => Self::DiskFull,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let told = |error: Error| Cause::of(&format!("the log cannot write /data/log/0: {error}"));
        assert_eq!(told(Error::from_raw_os_error(28)), Cause::DiskFull);
        assert_eq!(told(Error::from_raw_os_error(122)), Cause::DiskFull);
        assert_eq!(told(ErrorKind::StorageFull.into()), Cause::DiskFull);
        assert_eq!(told(ErrorKind::QuotaExceeded.into()), Cause::DiskFull);
        assert_eq!(told(Error::from_raw_os_error(5)), Cause::Other);
        assert_eq!(told(Error::from_raw_os_error(30)), Cause::Other);
    }
}
