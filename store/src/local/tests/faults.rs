//! A disk that is full, that fails, or that takes and gives only parts. An error comes back that says
//! where, nothing of what was begun stays, and the same work succeeds once the disk is well again.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;

use futures::stream;
use weir_files::simulated::{Effect, Operation, Rule, SimulatedDisk};
use weir_meter::Namespace;

use super::merging::{files_in, plain_merge};
use super::simulated::*;
use super::*;
use crate::{Merge, Retention};

#[derive(Clone, Copy, Debug)]
enum Job {
    Flush,
    /// With so many rows below the floor that some are written aside.
    MergeRows,
    MergeWindows,
    MergeMembers,
    Refold,
}

const JOBS: [Job; 5] = [Job::Flush, Job::MergeRows, Job::MergeWindows, Job::MergeMembers, Job::Refold];

/// Two flushes at rest, to begin from.
struct Base {
    files: BTreeMap<PathBuf, Vec<u8>>,
    segments: Vec<Arc<Segment>>,
    third: PieceSnapshot,
}

impl Base {
    async fn new() -> Self {
        let simulated = disk_with(&BTreeMap::new());
        let store = open_on(&simulated, 100).unwrap();
        let mut numbers = Numbers(5);
        let mut segments = Vec::new();
        for from in [0, 60] {
            let piece = piece(&mut numbers, from, 60, 12);
            segments.extend(listed(store.write(WRITER, &piece).await.unwrap()));
        }
        let third = piece(&mut numbers, 120, 60, 12);
        Self { files: segment_files(&simulated), segments, third }
    }

    fn inputs(&self, kind: SegmentKind) -> Vec<Arc<Segment>> {
        self.segments.iter().filter(|segment| segment.new.kind == kind).cloned().collect()
    }

    async fn run(&self, job: Job, store: &LocalStore) -> Result<Vec<NewSegment>, StoreError> {
        let merge = match job {
            Job::Flush => return store.write(WRITER, &self.third).await,
            Job::Refold => {
                let (coverage, chunks) = refolded(&self.third);
                return store.write_windows(WRITER, coverage, chunks).await;
            }
            Job::MergeRows => {
                let floors = BTreeMap::from([(Namespace::default(), 100)]);
                let retention = Retention { floors, identities_until_us: 10 };
                Merge { retention, ..plain_merge(self.inputs(SegmentKind::Rows), 0) }
            }
            Job::MergeWindows => plain_merge(self.inputs(SegmentKind::Windows), 3_600),
            Job::MergeMembers => plain_merge(self.inputs(SegmentKind::Members), 3_600),
        };
        store.merge(WRITER, merge).await.map(|new| vec![new])
    }

    /// The bytes that a job brings on a disk without faults.
    async fn expected(&self, job: Job) -> Vec<Vec<u8>> {
        let simulated = disk_with(&self.files);
        let new = self.run(job, &open_on(&simulated, 200).unwrap()).await.unwrap();
        self.brought(&simulated, &new)
    }

    /// The bytes of what a job brought; it left nothing else.
    fn brought(&self, simulated: &SimulatedDisk, new: &[NewSegment]) -> Vec<Vec<u8>> {
        let files = segment_files(simulated);
        let with_file = new.iter().filter(|new| !new.location.is_empty());
        let paths: Vec<PathBuf> = with_file.map(|new| Path::new(ROOT).join(&new.location)).collect();
        assert_eq!(files.len(), self.files.len() + paths.len(), "{:?}", files.keys());
        assert!(self.files.iter().all(|(path, bytes)| files.get(path) == Some(bytes)));
        paths.iter().map(|path| files[path].clone()).collect()
    }
}

fn nth(operation: Operation, n: u64, effect: Effect) -> Rule {
    Rule { operation, path_contains: ".parquet".to_owned(), skip: n, times: 1, effect }
}

#[test]
fn any_operation_that_fails_is_told_and_leaves_nothing() {
    block_on(async {
        let base = Base::new().await;
        let thorough = std::env::var_os("WEIR_STORE_EVERY_READ").is_some();
        for job in JOBS {
            let expected = {
                let simulated = disk_with(&base.files);
                let new = base.run(job, &open_on(&simulated, 200).unwrap()).await.unwrap();
                base.brought(&simulated, &new)
            };
            let mut met = 0;
            for (operation, path, kind) in [
                (Operation::Create, ".parquet", ErrorKind::StorageFull),
                (Operation::Write, ".parquet", ErrorKind::StorageFull),
                (Operation::Write, ".parquet", ErrorKind::Other),
                (Operation::SyncFile, ".parquet", ErrorKind::Other),
                (Operation::SyncFolder, ROOT, ErrorKind::Other),
                (Operation::Open, ".parquet", ErrorKind::Other),
                (Operation::Read, ".parquet", ErrorKind::Other),
            ] {
                // Reads are many, and one is like the next.
                let step = if operation == Operation::Read && !thorough { 9 } else { 1 };
                for n in (0..).step_by(step) {
                    let place = format!("{job:?}: {operation:?} {n} fails");
                    let simulated = disk_with(&base.files);
                    let store = open_on(&simulated, 200).unwrap();
                    let effect = Effect::Fail(kind);
                    simulated.add_rule(Rule { path_contains: path.to_owned(), ..nth(operation, n, effect) });
                    let error = match base.run(job, &store).await {
                        Ok(_) => break,
                        Err(error) => error,
                    };
                    met += 1;
                    assert!(error.to_string().contains(ROOT), "{place}: {error}");
                    match &error {
                        StoreError::Io { source, .. } => assert_eq!(source.kind(), kind, "{place}: {error}"),
                        // What cannot be read counts as damaged: there are rows in the place of windows.
                        StoreError::Damaged { .. } if operation == Operation::Read => {}
                        _ => panic!("{place}: {error}"),
                    }
                    assert_eq!(segment_files(&simulated), base.files, "{place}");
                    simulated.clear_rules();
                    let new = base.run(job, &store).await.unwrap();
                    assert_eq!(base.brought(&simulated, &new), expected, "{place}");
                }
            }
            assert!(met > 8, "{job:?} met {met} faults only");
        }
    });
}

#[test]
fn parts_of_reads_and_writes_are_continued() {
    block_on(async {
        let base = Base::new().await;
        for job in JOBS {
            let expected = base.expected(job).await;
            let always = |operation| Rule { times: u64::MAX, ..nth(operation, 0, Effect::Short) };
            let now_and_then = |operation, n| nth(operation, n, Effect::Fail(ErrorKind::Interrupted));
            let mut rules =
                vec![vec![always(Operation::Write)], vec![always(Operation::Read), always(Operation::Write)]];
            rules.extend((0..4).map(|n| vec![now_and_then(Operation::Write, n)]));
            for rules in rules {
                let simulated = disk_with(&base.files);
                let store = open_on(&simulated, 200).unwrap();
                for rule in &rules {
                    simulated.add_rule(rule.clone());
                }
                let new = base.run(job, &store).await.unwrap();
                simulated.clear_rules();
                assert_eq!(base.brought(&simulated, &new), expected, "{job:?} {rules:?}");
            }
        }
    });
}

#[test]
fn a_full_disk_is_told_and_the_next_try_finds_its_room() {
    block_on(async {
        let base = Base::new().await;
        for job in JOBS {
            let expected = base.expected(job).await;
            let needed: usize = expected.iter().map(Vec::len).sum();
            for step in 0..16 {
                let room = (needed * step / 16) as u64;
                let simulated = disk_with(&base.files);
                let store = open_on(&simulated, 200).unwrap();
                simulated.set_space(Some(room));
                let error = base.run(job, &store).await.unwrap_err();
                let StoreError::Io { source, context } = &error else {
                    panic!("{job:?} with room for {room} of {needed}: {error}");
                };
                assert_eq!(source.kind(), ErrorKind::StorageFull, "{error}");
                assert!(context.starts_with("writing /"), "{error}");
                assert_eq!(segment_files(&simulated), base.files);
                simulated.set_space(None);
                let new = base.run(job, &store).await.unwrap();
                assert_eq!(base.brought(&simulated, &new), expected);
            }
        }
    });
}

#[test]
fn what_could_not_be_removed_is_swept() {
    block_on(async {
        let base = Base::new().await;
        for job in JOBS {
            let simulated = disk_with(&base.files);
            let store = open_on(&simulated, 200).unwrap();
            simulated.add_rule(Rule {
                times: u64::MAX,
                ..nth(Operation::Remove, 0, Effect::Fail(ErrorKind::Other))
            });
            simulated.add_rule(nth(Operation::SyncFile, 0, Effect::Fail(ErrorKind::Other)));
            base.run(job, &store).await.unwrap_err();
            assert!(segment_files(&simulated).len() > base.files.len());
            let kept: HashSet<_> = base.segments.iter().map(|segment| segment.new.segment).collect();
            assert!(store.sweep(&[WRITER].into(), &kept).await.is_err());
            simulated.clear_rules();
            store.sweep(&[WRITER].into(), &kept).await.unwrap();
            assert_eq!(segment_files(&simulated), base.files);
        }
    });
}

/// A read that fails takes nobody else along, and the next one is as good as ever.
#[test]
fn a_scan_that_cannot_read_names_the_file() {
    block_on(async {
        let base = Base::new().await;
        let segment = &base.inputs(SegmentKind::Rows)[0];
        for n in 0.. {
            let simulated = disk_with(&base.files);
            let store = open_on(&simulated, 200).unwrap();
            simulated.add_rule(nth(Operation::Read, n, Effect::Fail(ErrorKind::Other)));
            match rows_in(&store, segment).await {
                Ok(found) => {
                    assert!(n > 3 && found.len() == 60);
                    break;
                }
                Err(error) => assert!(error.to_string().contains(&segment.new.location), "{error}"),
            }
            assert_eq!(rows_in(&store, segment).await.unwrap().len(), 60);
        }
    });
}

/// Open files below a folder, of this process.
fn handles(folder: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| std::fs::read_link(link.ok()?.path()).ok())
        .filter(|to| to.starts_with(folder))
        .count()
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_that_fails_keeps_a_file_open() {
    block_on(async {
        let fixture = Fixture::new();
        let mut numbers = Numbers(6);
        let mut segments = Vec::new();
        for from in [0, 60, 120] {
            segments.extend(fixture.write(&piece(&mut numbers, from, 60, 12)).await);
        }
        let of = |kind| -> Vec<Arc<Segment>> {
            segments.iter().filter(|segment| segment.new.kind == kind).cloned().collect()
        };
        let before = files_in(&fixture);
        for round in 0..3 {
            // Damage in the last input, met while the others are open.
            for kind in [SegmentKind::Rows, SegmentKind::Windows, SegmentKind::Members] {
                let inputs = of(kind);
                let path = fixture.path(&inputs[2]);
                let bytes = std::fs::read(&path).unwrap();
                let mut other = bytes.clone();
                other[200 + round] ^= 1;
                std::fs::write(&path, &other).unwrap();
                let size = if kind == SegmentKind::Rows { 0 } else { 60 };
                fixture.store.merge(WRITER, plain_merge(inputs.clone(), size)).await.unwrap_err();
                let scan = everything(inputs.iter().cloned().map(RowSource::Segment).collect());
                if kind == SegmentKind::Rows {
                    rows(fixture.store.scan_rows(scan)).await.unwrap_err();
                }
                fixture.store.verify(&inputs, true).await.unwrap_err();
                std::fs::write(&path, &bytes).unwrap();
                let stopped = plain_merge(inputs, size);
                stopped.stop.store(true, Ordering::Relaxed);
                fixture.store.merge(WRITER, stopped).await.unwrap_err();
            }
            // A refold whose source breaks off, and a scan that nobody reads on.
            let piece = piece(&mut numbers, 180, 60, 12);
            let (coverage, chunks) = refolded(&piece);
            let broken = chunks.chain(stream::iter([Err(StoreError::Stopped)]));
            fixture.store.write_windows(WRITER, coverage, Box::pin(broken)).await.unwrap_err();
            let scan = everything(of(SegmentKind::Rows).into_iter().map(RowSource::Segment).collect());
            let mut begun = fixture.store.scan_rows(scan);
            assert!(begun.next().await.unwrap().is_ok());
            assert!(handles(fixture.dir.path()) > 0);
            drop(begun);
            // Work that was begun ahead may still be on its way.
            for _ in 0..1_000 {
                if handles(fixture.dir.path()) == 0 {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            assert_eq!(handles(fixture.dir.path()), 0);
            assert_eq!(files_in(&fixture), before);
        }
    });
}
