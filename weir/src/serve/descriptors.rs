//! How many files this process may have open, looked at before the first one is opened. Each connection is one,
//! and so is each file of the log and each run of identities: a server that has too few would start, and then
//! neither begin a file of its log nor write to its store.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ServeError;
use super::listen::ListenerOptions;

/// What connections leave to everything else, whatever the settings say: the catalog, the segments that are being
/// written, merged or asked, and what the process has for itself.
const KEPT: usize = 64;
/// Of each partition: its log, the segments of its flush, and its runs of identities.
const KEPT_PER_PARTITION: usize = 8;
/// With fewer connections a server is of no use.
const CONNECTIONS_MIN: usize = 16;

/// Before anything is opened or made.
pub(super) fn refuse_too_few(partitions: u32) -> Result<(), ServeError> {
    let Some(descriptors) = raised().and_then(|most| usize::try_from(most).ok()) else { return Ok(()) };
    connections(descriptors, partitions).map(|_| ())
}

/// Asks for as many as the process may have, and leaves at least half of them to files: a log that cannot begin
/// a file because of connections would be a poor trade.
pub(super) fn within(options: ListenerOptions, partitions: u32) -> Result<ListenerOptions, ServeError> {
    let Some(descriptors) = raised().and_then(|most| usize::try_from(most).ok()) else { return Ok(options) };
    let room = connections(descriptors, partitions)?;
    if options.connections_max > room {
        tracing::warn!(
            connections_max = room,
            descriptors,
            "fewer connections than the settings allow: half of the descriptors are for files; raise the limit \
             of open files"
        );
    }
    Ok(ListenerOptions { connections_max: options.connections_max.min(room), ..options })
}

/// How many connections there may be, if there is room for enough of them.
fn connections(descriptors: usize, partitions: u32) -> Result<usize, ServeError> {
    let kept = KEPT.saturating_add(KEPT_PER_PARTITION.saturating_mul(partitions as usize));
    let needed = kept.saturating_add(CONNECTIONS_MIN);
    if descriptors < needed {
        return Err(ServeError::OpenFiles { found: descriptors, needed, partitions });
    }
    Ok((descriptors / 2).min(descriptors.saturating_sub(kept)))
}

/// The limit in force, after it was raised as far as the process may raise it by itself; None if there is none.
fn raised() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum?;
    if limit.current == Some(most)
        || setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }).is_ok()
    {
        return Some(most);
    }
    limit.current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_files() {
        assert_eq!(connections(96, 2).unwrap(), 16);
        assert_eq!(connections(120, 2).unwrap(), 40);
        assert_eq!(connections(1_024, 2).unwrap(), 512);
        assert_eq!(connections(1_024, 64).unwrap(), 448);
        let refused = connections(1_024, 256).unwrap_err().to_string();
        assert!(refused.contains("1024") && refused.contains("2128") && refused.contains("256"), "{refused}");
        for (descriptors, partitions) in [(0, 1), (95, 2), (usize::MAX - 1, u32::MAX)] {
            assert_eq!(connections(descriptors, partitions).is_err(), descriptors < 100);
        }
    }
}
