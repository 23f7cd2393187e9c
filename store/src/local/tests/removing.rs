//! Removing deletes the files of the segments it is given and no other.

use std::fs;

use super::merging::files_in;
use super::*;
use crate::testing::plain_piece;

#[test]
fn files_go_and_what_is_gone_already_is_no_error() {
    block_on(async {
        let fixture = Fixture::new();
        let first = fixture.write(&plain_piece(30)).await;
        let second = fixture.write(&plain_piece(30)).await;
        let kept = fixture.path(&second[0]).display().to_string();
        let segments: Vec<Segment> = first.iter().map(|segment| Segment::clone(segment)).collect();
        fixture.store.remove(&segments).await.unwrap();
        assert_eq!(files_in(&fixture), [kept.clone()].into());
        fixture.store.remove(&segments).await.unwrap();
        fixture.store.remove(&[]).await.unwrap();
        assert_eq!(files_in(&fixture), [kept].into());
        // Not even a footer is remembered.
        let scan = everything(vec![RowSource::Segment(Arc::clone(&first[0]))]);
        assert!(matches!(rows(fixture.store.scan_rows(scan)).await, Err(StoreError::Damaged { .. })));
        fixture.store.verify(&second, true).await.unwrap();
    });
}

#[test]
fn a_place_that_the_store_would_not_choose_is_left_and_all_others_are_not() {
    block_on(async {
        let fixture = Fixture::new();
        let written = fixture.write(&plain_piece(30)).await;
        let stranger = fixture.dir.path().join("rows/precious.parquet");
        fs::write(&stranger, b"x").unwrap();
        let mut wrong = Segment::clone(&written[0]);
        wrong.new.location = "rows/precious.parquet".to_owned();
        let mut other_writer = Segment::clone(&written[0]);
        other_writer.writer = WriterId(9);
        let good = Segment::clone(&written[0]);
        let error = fixture.store.remove(&[wrong, other_writer.clone()]).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(stranger.exists() && fixture.path(&good).exists());
        assert!(fixture.store.remove(&[other_writer, good.clone()]).await.is_err());
        assert!(stranger.exists() && !fixture.path(&good).exists());
    });
}

#[test]
fn a_reader_that_has_the_file_open_reads_on() {
    block_on(async {
        let fixture = Fixture::new();
        let written = fixture.write(&plain_piece(300)).await;
        let mut stream =
            fixture.store.scan_rows(everything(vec![RowSource::Segment(Arc::clone(&written[0]))]));
        let mut found = stream.next().await.unwrap().unwrap().num_rows();
        fixture.store.remove(&[Segment::clone(&written[0])]).await.unwrap();
        while let Some(batch) = stream.next().await {
            found += batch.unwrap().num_rows();
        }
        assert_eq!(found, 300);
    });
}
