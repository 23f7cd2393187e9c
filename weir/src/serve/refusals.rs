//! Whether the log's disk takes events, as readiness tells it. The log tries each append anew and has no opinion
//! of the next one, so what it answers is watched here, on its way to ingest. Whoever is told that a server is not
//! ready sends it nothing that could show it is again: then a look at the disk takes the append's place.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use weir_log::{AppendError, Appended, Cause, Log, LogError, LoggedRecord, Record};

/// For how long a refusal counts, whatever is taken after it: on a disk that is nearly full a small batch finds
/// room where a large one does not.
const HOLD: Duration = Duration::from_secs(1);
/// At least so long between two looks at the disk, however often somebody asks.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Whoever asks waits so long for such a look. A disk that hangs is not ready.
const LOOK_WAIT: Duration = Duration::from_secs(1);
/// What must fit beside the log before it is believed to take events again.
const LOOK_BYTES: usize = 1024 * 1024;

/// What the log has refused for its disk's sake.
#[derive(Debug)]
pub(super) struct Refusals {
    /// That of the log.
    folder: PathBuf,
    /// Whether there is a last one, for appends to see without a lock.
    refusing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Refused>,
    looked_at: Option<Instant>,
    looking: bool,
}

#[derive(Debug)]
struct Refused {
    at: Instant,
    reason: String,
}

impl Refusals {
    pub(super) fn in_folder(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self { folder, refusing: AtomicBool::new(false), state: Mutex::default() })
    }

    /// Why the disk takes no events, if it did not take some and nothing has shown since that it does.
    pub(super) async fn standing(self: &Arc<Self>) -> Option<String> {
        if !self.refusing.load(Ordering::Acquire) {
            return None;
        }
        if let Some(refused_at) = self.due() {
            let this = Arc::clone(self);
            let looking = tokio::task::spawn_blocking(move || this.look(refused_at));
            // It goes on by itself if it takes longer.
            let _ = tokio::time::timeout(LOOK_WAIT, looking).await;
        }
        self.state.lock().last.as_ref().map(|refused| refused.reason.clone())
    }

    fn saw(&self, outcome: &Result<Appended, AppendError>) {
        match outcome {
            Ok(_) if self.refusing.load(Ordering::Acquire) => {
                let mut state = self.state.lock();
                if state.last.as_ref().is_some_and(|refused| refused.at.elapsed() >= HOLD) {
                    self.forget(&mut state);
                }
            }
            Err(AppendError::Unavailable { cause: Cause::DiskFull | Cause::Disk, reason, .. }) => {
                let mut state = self.state.lock();
                state.last = Some(Refused { at: Instant::now(), reason: reason.clone() });
                self.refusing.store(true, Ordering::Release);
            }
            _ => {}
        }
    }

    /// When the last refusal was, if it is time to look whether it still holds; the caller has to look then.
    fn due(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        let refused_at = state.last.as_ref()?.at;
        let looked = state.looked_at.is_some_and(|at| at.elapsed() < LOOK_PAUSE);
        if state.looking || looked || refused_at.elapsed() < HOLD {
            return None;
        }
        state.looking = true;
        state.looked_at = Some(Instant::now());
        Some(refused_at)
    }

    fn look(&self, refused_at: Instant) {
        let written = write_beside(&self.folder);
        let mut state = self.state.lock();
        state.looking = false;
        let newest = state.last.as_ref().is_some_and(|refused| refused.at == refused_at);
        match written {
            Ok(()) if newest => self.forget(&mut state),
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "the log's disk takes nothing yet"),
        }
    }

    fn forget(&self, state: &mut State) {
        state.last = None;
        self.refusing.store(false, Ordering::Release);
        tracing::info!("the log's disk takes events again");
    }
}

/// A file without a name, so that a kill leaves nothing behind.
fn write_beside(folder: &Path) -> std::io::Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&vec![0x57; LOOK_BYTES])?;
    file.sync_data()
}

/// A log whose answers to appends are seen.
pub(super) struct Watched {
    log: Arc<dyn Log>,
    refusals: Arc<Refusals>,
}

impl Watched {
    pub(super) fn new(log: Arc<dyn Log>, refusals: Arc<Refusals>) -> Self {
        Self { log, refusals }
    }
}

#[async_trait]
impl Log for Watched {
    fn epoch(&self) -> u32 {
        self.log.epoch()
    }

    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    async fn append(&self, batch: Vec<Record>) -> Result<Appended, AppendError> {
        let outcome = self.log.append(batch).await;
        self.refusals.saw(&outcome);
        outcome
    }

    fn durable_end(&self, partition: u32) -> watch::Receiver<u64> {
        self.log.durable_end(partition)
    }

    async fn start(&self, partition: u32) -> Result<u64, LogError> {
        self.log.start(partition).await
    }

    async fn read(&self, partition: u32, from: u64, bytes_max: usize) -> Result<Vec<LoggedRecord>, LogError> {
        self.log.read(partition, from, bytes_max).await
    }

    async fn cut(&self, partition: u32, below: u64) -> Result<(), LogError> {
        self.log.cut(partition, below).await
    }

    fn unavailable(&self) -> Option<String> {
        self.log.unavailable()
    }

    async fn close(&self) {
        self.log.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(cause: Cause) -> Result<Appended, AppendError> {
        Err(AppendError::Unavailable { cause, reason: "no room".to_owned(), retry_after_seconds: 5 })
    }

    fn taken() -> Result<Appended, AppendError> {
        Ok(Appended { ranges: Vec::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_for_a_while_and_until_something_is_taken() {
        // Where nothing can be written, so that a look at the disk shows nothing.
        let refusals = Refusals::in_folder("/nowhere/at/all".into());
        assert_eq!(refusals.standing().await, None);
        for cause in [Cause::Behind, Cause::Closed, Cause::Broken] {
            refusals.saw(&refused(cause));
            assert_eq!(refusals.standing().await, None, "{cause:?}");
        }
        for cause in [Cause::DiskFull, Cause::Disk] {
            refusals.saw(&refused(cause));
            // A small batch that finds room says little about the next one.
            refusals.saw(&taken());
            assert_eq!(refusals.standing().await.as_deref(), Some("no room"), "{cause:?}");
            tokio::time::advance(HOLD * 3).await;
            assert_eq!(refusals.standing().await.as_deref(), Some("no room"), "{cause:?}");
            refusals.saw(&taken());
            assert_eq!(refusals.standing().await, None, "{cause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_at_the_disk_shows_that_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let refusals = Refusals::in_folder(folder.path().to_owned());
        refusals.saw(&refused(Cause::DiskFull));
        assert!(refusals.standing().await.is_some());
        tokio::time::advance(HOLD).await;
        assert_eq!(refusals.standing().await, None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        // One that comes while somebody looks is newer than what was seen.
        refusals.saw(&refused(Cause::DiskFull));
        tokio::time::advance(LOOK_PAUSE).await;
        let refused_at = refusals.due().unwrap();
        assert_eq!(refusals.due(), None, "one look at a time");
        tokio::time::advance(Duration::from_millis(1)).await;
        refusals.saw(&refused(Cause::DiskFull));
        refusals.look(refused_at);
        assert!(refusals.standing().await.is_some());
    }
}
