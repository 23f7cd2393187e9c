//! Dropping what is no longer needed: whole files, from the oldest on, never a young one that is written to.

use weir_log::{Log, LogError};

use crate::fixture::{Fixture, append_each, assert_holds};

#[tokio::test]
async fn a_cut_drops_whole_files_below() {
    let fixture = Fixture::on_disk();
    let log = fixture.open();
    append_each(&log, 0..40).await;
    let files = fixture.files().len();
    assert!(files > 4);
    log.cut(0, 0).await.unwrap();
    assert_eq!((log.start(0).await.unwrap(), fixture.files().len()), (0, files));
    log.read(0, 3, 1).await.unwrap();
    log.cut(0, 17).await.unwrap();
    let start = log.start(0).await.unwrap();
    assert!(start > 0 && start <= 17);
    assert!(fixture.files().len() < files);
    match log.read(0, start - 1, 100).await {
        Err(LogError::BelowStart { asked, start: from, .. }) => assert_eq!((asked, from), (start - 1, start)),
        other => panic!("{other:?}"),
    }
    assert_holds(&log, start..40).await;
    drop(log);
    let log = fixture.open();
    assert_eq!(log.start(0).await.unwrap(), start);
    assert_holds(&log, start..40).await;
    log.cut(0, u64::MAX).await.unwrap();
    assert_eq!(fixture.files().len(), 1, "a young file that is written to stays");
    append_each(&log, 40..60).await;
    let start = log.start(0).await.unwrap();
    assert_holds(&log, start..60).await;
}

#[tokio::test]
async fn a_reader_in_a_cut_file_is_told() {
    let fixture = Fixture::on_disk();
    let log = fixture.open();
    append_each(&log, 0..40).await;
    log.read(0, 0, 1).await.unwrap();
    log.cut(0, 40).await.unwrap();
    assert!(matches!(log.read(0, 1, 1).await, Err(LogError::BelowStart { .. })));
}
