//! Appends and what readers get of them, across partitions, tasks and restarts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_log::local::Compression;
use weir_log::{AppendError, Log, LogError};

use crate::fixture::{Fixture, append_each, assert_holds, read_all, record};

#[tokio::test]
async fn what_goes_in_comes_out_from_memory_and_from_files() {
    for tail_bytes_max in [0, 700, 1 << 20] {
        for compression in [Compression::None, Compression::Lz4] {
            let mut fixture = Fixture::on_disk();
            fixture.options.tail_bytes_max = tail_bytes_max;
            fixture.options.compression = compression;
            let log = fixture.open();
            let batch: Vec<_> = (0..7).map(|number| record(number, 90)).collect();
            let appended = log.append(batch.clone()).await.unwrap();
            assert_eq!((appended.ranges[0].epoch, appended.ranges[0].partition), (2, 0));
            assert_eq!((appended.ranges[0].from, appended.ranges[0].to), (0, 7));
            for number in 7..30 {
                log.append(vec![record(number, number as usize * 7)]).await.unwrap();
            }
            for bytes_max in [0, 1, 300, 1000, 1 << 20] {
                let all = read_all(&log, 0, bytes_max).await;
                assert_eq!(all.len(), 30);
                for (number, logged) in (0..).zip(&all) {
                    let bytes = if number < 7 { 90 } else { number as usize * 7 };
                    assert_eq!(logged.record, record(number, bytes));
                }
            }
            // A reader may also begin in the middle of a frame, and jump back and forth.
            for from in [5, 29, 3, 17, 0, 6] {
                assert_eq!(log.read(0, from, 1).await.unwrap()[0].offset, from);
            }
        }
    }
}

#[tokio::test]
async fn concurrent_appends_lie_in_ranges_of_their_own_without_gaps() {
    let mut fixture = Fixture::new();
    fixture.options.partitions = 3;
    fixture.options.segment_bytes_max = 5000;
    let log = Arc::new(fixture.open());
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let log = log.clone();
            tokio::spawn(async move {
                let mut appended = Vec::new();
                for round in 0..20u64 {
                    let first = task * 1000 + round * 10;
                    let batch: Vec<_> = (first..first + 5).map(|number| record(number, 20)).collect();
                    let ranges = log.append(batch).await.unwrap().ranges;
                    for range in &ranges {
                        assert!(
                            range.to <= *log.durable_end(range.partition).borrow(),
                            "acknowledged is durable"
                        );
                    }
                    appended.push((first, ranges));
                }
                appended
            })
        })
        .collect();
    let mut appended = Vec::new();
    for task in tasks {
        let ranges = task.await.unwrap();
        for partition in 0..3 {
            let of_one: Vec<_> = ranges
                .iter()
                .flat_map(|(_, ranges)| ranges)
                .filter(|range| range.partition == partition)
                .collect();
            assert!(
                of_one.windows(2).all(|pair| pair[0].to <= pair[1].from),
                "one task's appends keep their order"
            );
        }
        appended.extend(ranges);
    }
    for partition in 0..3 {
        let all = read_all(&log, partition, 4000).await;
        let mut ranges: Vec<_> = appended
            .iter()
            .flat_map(|(first, ranges)| ranges.iter().map(move |range| (*range, *first)))
            .filter(|(range, _)| range.partition == partition)
            .collect();
        ranges.sort();
        let mut next = 0;
        for (range, first) in ranges {
            assert_eq!(range.from, next);
            next = range.to;
            let mine = (first..first + 5)
                .map(|number| record(number, 20))
                .filter(|record| record.identity.0 % 3 == u128::from(partition));
            assert!(
                all[range.from as usize..range.to as usize]
                    .iter()
                    .map(|logged| logged.record.clone())
                    .eq(mine)
            );
        }
        assert_eq!(next, all.len() as u64);
    }
}

#[tokio::test]
async fn a_log_opened_again_goes_on_where_it_stopped() {
    let fixture = Fixture::on_disk();
    for round in 0..6 {
        let log = fixture.open();
        assert_eq!(*log.durable_end(0).borrow(), round * 5);
        append_each(&log, round * 5..round * 5 + 5).await;
        if round % 2 == 0 {
            log.close().await;
        }
    }
    assert!(fixture.files().len() > 3);
    assert_holds(&fixture.open(), 0..30).await;
}

#[tokio::test]
async fn record_time_never_goes_back() {
    let fixture = Fixture::on_disk();
    let mut number = 0;
    for times in [[50, 40, 60], [10, 20, 70], [-5, 0, 5]] {
        let log = fixture.open();
        for time in times {
            fixture.clock.0.store(time, Ordering::SeqCst);
            log.append(vec![record(number, 300)]).await.unwrap();
            number += 1;
        }
    }
    let log = fixture.open();
    let times: Vec<i64> = read_all(&log, 0, 1).await.iter().map(|logged| logged.record_time_us).collect();
    assert_eq!(times, [50, 50, 60, 60, 60, 70, 70, 70, 70]);
}

#[tokio::test]
async fn record_time_outlives_the_files_that_showed_it() {
    let mut fixture = Fixture::on_disk();
    fixture.options.segment_bytes_max = 100;
    let log = fixture.open();
    fixture.clock.0.store(900, Ordering::SeqCst);
    append_each(&log, 0..2).await;
    drop(log);
    // The last file loses its only frame, as if power had gone before its sync.
    crate::fixture::change(&fixture.last_file(), |bytes| bytes.truncate(70));
    std::fs::remove_file(&fixture.files()[0]).unwrap();
    fixture.clock.0.store(100, Ordering::SeqCst);
    let log = fixture.open();
    append_each(&log, 1..2).await;
    assert_eq!(log.read(0, 1, 1).await.unwrap()[0].record_time_us, 900);
}

#[tokio::test]
async fn a_reader_is_woken_by_the_durable_end() {
    let fixture = Fixture::new();
    let log = Arc::new(fixture.open());
    let mut end = log.durable_end(0);
    let reader = log.clone();
    let reading = tokio::spawn(async move {
        end.wait_for(|end| *end >= 3).await.unwrap();
        reader.read(0, 0, 1 << 20).await.unwrap().len()
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    append_each(&log, 0..3).await;
    assert_eq!(reading.await.unwrap(), 3);
}

#[tokio::test]
async fn a_closed_log_has_written_what_it_took_and_takes_no_more() {
    let fixture = Fixture::new();
    let log = Arc::new(fixture.open());
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let log = log.clone();
            tokio::spawn(async move { log.append(vec![record(number, 100)]).await.is_ok() })
        })
        .collect();
    tokio::task::yield_now().await;
    log.close().await;
    let mut acknowledged = 0;
    for task in tasks {
        acknowledged += usize::from(task.await.unwrap());
    }
    assert!(matches!(log.append(vec![record(99, 1)]).await, Err(AppendError::Unavailable { .. })));
    assert!(matches!(log.read(0, 0, 1).await, Err(LogError::Closed(_))));
    assert!(log.unavailable().is_some());
    assert_eq!(read_all(&fixture.open(), 0, 1 << 20).await.len(), acknowledged);
}

#[tokio::test]
async fn an_empty_batch_touches_nothing() {
    let fixture = Fixture::new();
    let log = fixture.open();
    assert!(log.append(Vec::new()).await.unwrap().ranges.is_empty());
    assert!(log.read(0, 0, 100).await.unwrap().is_empty());
    assert!(log.read(0, 77, 100).await.unwrap().is_empty(), "nothing there yet");
}
