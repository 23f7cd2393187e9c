//! A log that its server writes and cuts while it is copied.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use weir_catalog::Frontier;
use weir_log::local::{LocalLog, LocalLogOptions};
use weir_log::{Log as _, Record, RecordKind};
use weir_meter::{ContentHash, IdentityHash, Namespace, RequestId};

use super::*;
use crate::environment::SystemClock;

const INSTALLATION: InstallationId = InstallationId(7);

struct World {
    folder: TempDir,
    log: LocalLog,
}

impl World {
    /// A log of small files with 60 records.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = LocalLogOptions::new(folder.path().join("log"), INSTALLATION, 0, 1);
        options.segment_bytes_max = 1_000;
        let world = Self { log: LocalLog::open(options, Arc::new(SystemClock)).unwrap(), folder };
        world.append(60).await;
        world
    }

    async fn append(&self, count: u128) {
        for number in 0..count {
            let record = Record {
                namespace: Namespace::default(),
                kind: RecordKind::Event,
                identity: IdentityHash(number),
                content: ContentHash(number),
                request: RequestId(1),
                value: Bytes::from(vec![b'x'; 200]),
            };
            self.log.append(vec![record]).await.unwrap();
        }
    }

    fn held(&self) -> Held {
        Held::open(&self.folder.path().join("log")).ok().unwrap()
    }

    /// Copies as a backup does whose catalog says so much is at rest; gives start and end of the copy, or
    /// why there is none.
    fn copy(&self, held: &Held, next_offset: u64) -> Result<(u64, u64), String> {
        let target = tempfile::tempdir_in(self.folder.path()).unwrap();
        let epoch = EpochRow {
            epoch: 0,
            place: "log".to_owned(),
            partitions: 1,
            identity_window_s: 1,
            opened_at_us: 0,
            sealed_at_us: None,
        };
        let frontier =
            Frontier { epoch: 0, partition: 0, next_offset, record_time_max_us: 0, last_record_hash: 0 };
        let listing = Listing { frontiers: vec![frontier], ..Listing::default() };
        let mut tree = Tree::in_folder(target.path());
        match copy(&mut tree, &self.folder.path().join("log"), held, &[epoch], &listing, INSTALLATION) {
            Ok(()) => {}
            Err(Attempt::Outrun(reason)) => return Err(reason),
            Err(Attempt::Failed(failure)) => panic!("{failure:?}"),
        }
        let copied = target.path().join(LOG);
        let place = Place { dir: &copied, installation: INSTALLATION, epoch: 0, partition: 0 };
        let found = inspect(place, None).unwrap();
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        Ok((found.start, found.end))
    }
}

#[tokio::test]
async fn files_that_are_cut_meanwhile_are_copied_from_their_handles() {
    let world = World::new().await;
    let held = world.held();
    world.append(20).await;
    world.log.cut(0, 60).await.unwrap();
    assert!(world.log.start(0).await.unwrap() > 40, "the log was cut above the frontier of the copy");
    assert_eq!(world.copy(&held, 30), Ok((0, 80)));
}

#[tokio::test]
async fn files_that_came_and_went_meanwhile_are_missed() {
    let world = World::new().await;
    let held = world.held();
    world.append(60).await;
    world.log.cut(0, 115).await.unwrap();
    let reason = world.copy(&held, 60).unwrap_err();
    assert!(reason.contains("missing"), "{reason}");
    // Begun again, nothing is missing.
    assert!(world.copy(&world.held(), 118).is_ok_and(|(start, end)| start <= 118 && end == 120));
}

#[tokio::test]
async fn a_log_that_does_not_reach_its_frontier_is_no_backup() {
    let world = World::new().await;
    let held = world.held();
    assert!(world.copy(&held, 60).is_ok());
    assert!(world.copy(&held, 61).unwrap_err().contains("the frontier is 61"));
    world.log.cut(0, 55).await.unwrap();
    let late = world.held();
    assert!(world.copy(&late, 10).unwrap_err().contains("the frontier is 10"));
}

#[tokio::test]
async fn an_unfinished_append_is_copied_as_it_is() {
    let world = World::new().await;
    let folder = partition_folder(&world.folder.path().join("log"), 0, 0);
    let (_, last) = files(&folder).unwrap().pop().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    bytes.extend_from_slice(&[9; 40]);
    std::fs::write(&last, bytes).unwrap();
    assert_eq!(world.copy(&world.held(), 60), Ok((0, 60)));
}
