//! A file that is missing, shorter, longer or changed is named, by scans and by verifying.

use std::fs;

use super::*;
use crate::testing::plain_piece;

/// Writes a piece, damages the rows file, and gives what reading and verifying say.
async fn after(
    damage: impl FnOnce(&std::path::Path),
) -> (Result<usize, StoreError>, [Result<(), StoreError>; 2], String) {
    let fixture = Fixture::new();
    let segments = fixture.write(&plain_piece(300)).await;
    assert!(fixture.store.verify(&segments, true).await.is_ok());
    let rows_segment = of_kind(&segments, SegmentKind::Rows);
    let path = fixture.path(&rows_segment);
    damage(&path);
    let fresh = open(&fixture.dir, INSTALLATION).unwrap();
    let scan = everything(vec![RowSource::Segment(rows_segment)]);
    let read = rows(fresh.scan_rows(scan)).await.map(|rows| rows.len());
    let verified = [fresh.verify(&segments, false).await, fresh.verify(&segments, true).await];
    (read, verified, path.display().to_string())
}

fn names<T: std::fmt::Debug>(result: Result<T, StoreError>, path: &str) {
    match result {
        Err(StoreError::Damaged { path: named, .. }) => assert_eq!(named, path),
        other => panic!("expected {path} to be named, found {other:?}"),
    }
}

#[test]
fn a_missing_file_is_named() {
    let (read, [lengths, checksums], path) = block_on(after(|path| fs::remove_file(path).unwrap()));
    names(read, &path);
    names(lengths, &path);
    names(checksums, &path);
}

#[test]
fn a_shorter_and_a_longer_file_are_named() {
    for change in [-1_i64, 1] {
        let (read, [lengths, checksums], path) = block_on(after(|path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(length.saturating_add_signed(change)).unwrap();
        }));
        names(read, &path);
        names(lengths, &path);
        names(checksums, &path);
    }
}

#[test]
fn a_changed_footer_is_named() {
    let (read, [lengths, checksums], path) = block_on(after(|path| {
        let mut bytes = fs::read(path).unwrap();
        let end = bytes.len();
        bytes[end - 40..end - 8].fill(0xff);
        fs::write(path, bytes).unwrap();
    }));
    names(read, &path);
    assert!(lengths.is_ok());
    names(checksums, &path);
}

#[test]
fn any_changed_byte_fails_the_checksum_and_never_the_process() {
    block_on(async {
        let fixture = Fixture::new();
        let segments = fixture.write(&plain_piece(300)).await;
        let rows_segment = of_kind(&segments, SegmentKind::Rows);
        let path = fixture.path(&rows_segment);
        let good = fs::read(&path).unwrap();
        let all =
            rows(fixture.store.scan_rows(everything(vec![RowSource::Segment(Arc::clone(&rows_segment))])));
        let all = all.await.unwrap();
        for at in (0..good.len()).step_by(good.len() / 150) {
            let mut bytes = good.clone();
            bytes[at] ^= 0x55;
            fs::write(&path, &bytes).unwrap();
            let fresh = open(&fixture.dir, INSTALLATION).unwrap();
            names(fresh.verify(&segments, true).await, &path.display().to_string());
            let scan = everything(vec![RowSource::Segment(Arc::clone(&rows_segment))]);
            match rows(fresh.scan_rows(scan)).await {
                Ok(found) => assert_eq!(found, all, "byte {at}"),
                error => names(error, &path.display().to_string()),
            }
        }
    });
}

#[test]
fn a_location_that_the_store_would_not_choose_is_not_opened() {
    block_on(async {
        let fixture = Fixture::new();
        let segments = fixture.write(&plain_piece(3)).await;
        let mut segment = Segment::clone(&of_kind(&segments, SegmentKind::Rows));
        segment.new.location = format!("../{}", segment.new.location);
        let segment = Arc::new(segment);
        let scan = everything(vec![RowSource::Segment(Arc::clone(&segment))]);
        assert!(matches!(rows(fixture.store.scan_rows(scan)).await, Err(StoreError::Damaged { .. })));
        assert!(fixture.store.verify(&[segment], false).await.is_err());
    });
}

#[test]
fn a_file_with_other_rows_than_listed_is_named() {
    block_on(async {
        let fixture = Fixture::new();
        let segments = fixture.write(&plain_piece(3)).await;
        let mut segment = Segment::clone(&of_kind(&segments, SegmentKind::Rows));
        segment.new.row_count = 2;
        let path = fixture.path(&segment).display().to_string();
        let fresh = open(&fixture.dir, INSTALLATION).unwrap();
        names(rows(fresh.scan_rows(everything(vec![RowSource::Segment(Arc::new(segment))]))).await, &path);
    });
}
