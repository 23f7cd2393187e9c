//! A store that is opened only to be read changes nothing on the disk.

use std::collections::HashSet;
use std::fs;

use futures::stream;

use super::merging::{coverage, files_in, plain_merge};
use super::*;
use crate::testing::plain_piece;

fn open_read_only(dir: &std::path::Path, installation: InstallationId) -> Result<LocalStore, StoreError> {
    LocalStore::open_read_only(dir, installation, Arc::new(Counting::default()))
}

#[test]
fn it_reads_and_refuses_to_write() {
    block_on(async {
        let fixture = Fixture::new();
        let segments = fixture.write(&plain_piece(300)).await;
        let before = files_in(&fixture);
        let store = open_read_only(fixture.dir.path(), INSTALLATION).unwrap();
        let source = RowSource::Segment(Arc::clone(&segments[0]));
        assert_eq!(rows(store.scan_rows(everything(vec![source]))).await.unwrap().len(), 300);
        store.verify(&segments, true).await.unwrap();
        let read_only = |error: StoreError| assert!(matches!(error, StoreError::ReadOnly), "{error}");
        read_only(store.write(WRITER, &plain_piece(3)).await.unwrap_err());
        read_only(store.merge(WRITER, plain_merge(vec![Arc::clone(&segments[0])], 0)).await.unwrap_err());
        let chunks = Box::pin(stream::empty());
        read_only(store.write_windows(WRITER, coverage(&[], 60), chunks).await.unwrap_err());
        read_only(store.remove(&[Segment::clone(&segments[0])]).await.unwrap_err());
        read_only(store.sweep(&[WRITER].into(), &HashSet::new()).await.unwrap_err());
        assert_eq!(files_in(&fixture), before);
    });
}

#[test]
fn it_makes_nothing() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("store");
    for path in [dir.path(), missing.as_path()] {
        let error = open_read_only(path, INSTALLATION).unwrap_err();
        assert!(matches!(error, StoreError::Mismatch(_)), "{error}");
        assert!(error.to_string().contains("no store"), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let fixture = Fixture::new();
    let error = open_read_only(fixture.dir.path(), InstallationId(5)).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch(_)), "{error}");
    fs::remove_dir(fixture.dir.path().join("members")).unwrap();
    let error = open_read_only(fixture.dir.path(), INSTALLATION).unwrap_err();
    assert!(error.to_string().contains("members"), "{error}");
    assert!(!fixture.dir.path().join("members").exists());
}
