//! The log against the plainest model of it: a vector.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use proptest::prelude::*;
use weir_log::local::Compression;
use weir_log::{Log, LogError, Record};
use weir_meter::environment::Clock;

use crate::fixture::{Fixture, read_all, record};

const AGE_MAX_S: i64 = 30;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    /// Moves the clock by seconds, back as well.
    Wait(i64),
    /// Reopens, after a clean close or not, with remains of a torn frame at the end.
    Reopen {
        close: bool,
        torn: Vec<u8>,
    },
    /// Fractions of the durable end, in 1/256.
    Cut(u8),
    Read {
        from: u8,
        bytes_max: usize,
    },
    Tail {
        bytes_max: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0usize..400, 1..6).prop_map(Step::Append),
        1 => (any::<bool>(), prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(close, torn)| Step::Reopen { close, torn }),
        2 => (-10i64..25).prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::Cut),
        1 => Just(Step::Cut(255)),
        3 => (any::<u8>(), 0usize..2000).prop_map(|(from, bytes_max)| Step::Read { from, bytes_max }),
        3 => (0usize..2000).prop_map(|bytes_max| Step::Tail { bytes_max }),
    ]
}

async fn run(steps: Vec<Step>, tail_bytes_max: usize, compression: Compression) {
    let mut fixture = Fixture::on_disk();
    fixture.options.tail_bytes_max = tail_bytes_max;
    fixture.options.compression = compression;
    fixture.options.segment_age_max = Duration::from_secs(AGE_MAX_S as u64);
    let mut log = fixture.open();
    let mut model: Vec<Record> = Vec::new();
    let mut times: Vec<i64> = Vec::new();
    let mut start = 0u64;
    let mut tailing = 0u64;
    for step in steps {
        let end = model.len() as u64;
        let at = |fraction: u8| end * u64::from(fraction) / 255;
        match step {
            Step::Append(sizes) => {
                let batch: Vec<Record> =
                    sizes.iter().zip(end..).map(|(bytes, n)| record(n, *bytes)).collect();
                model.extend_from_slice(&batch);
                let now = fixture.clock.now_us().max(times.last().copied().unwrap_or(i64::MIN));
                times.resize(model.len(), now);
                let appended = log.append(batch).await.unwrap();
                assert_eq!((appended.ranges[0].from, appended.ranges[0].to), (end, model.len() as u64));
            }
            Step::Wait(seconds) => fixture.wait(seconds),
            Step::Reopen { close, torn } => {
                if close {
                    log.close().await;
                }
                drop(log);
                OpenOptions::new().append(true).open(fixture.last_file()).unwrap().write_all(&torn).unwrap();
                log = fixture.open();
                assert_eq!(*log.durable_end(0).borrow(), end);
                assert_eq!(log.start(0).await.unwrap(), start);
            }
            Step::Cut(below) => {
                log.cut(0, at(below)).await.unwrap();
                let now = log.start(0).await.unwrap();
                assert!(now == start || (now > start && now <= at(below)));
                start = now;
                // What stays below the cut shares a file with what lies at it, or may still be joined.
                let below = at(below);
                if start < below {
                    let last = times.get(below as usize).copied().unwrap_or(fixture.clock.now_us());
                    assert!(last - times[start as usize] < AGE_MAX_S * 1_000_000);
                }
            }
            Step::Read { from, bytes_max } => {
                read(&log, &model, start, at(from), bytes_max).await;
            }
            Step::Tail { bytes_max } => {
                tailing = tailing.max(start);
                tailing += read(&log, &model, start, tailing, bytes_max).await;
            }
        }
    }
    let all = read_all(&log, 0, 3000).await;
    assert!(all.iter().map(|logged| &logged.record).eq(&model[start as usize..]));
    assert!(all.iter().map(|logged| &logged.record_time_us).eq(&times[start as usize..]));
}

/// One read, compared with the model; gives the number of records.
async fn read(log: &impl Log, model: &[Record], start: u64, from: u64, bytes_max: usize) -> u64 {
    let records = match log.read(0, from, bytes_max).await {
        Ok(records) => records,
        Err(LogError::BelowStart { .. }) => {
            assert!(from < start);
            return 0;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(from >= start);
    assert_eq!(records.is_empty(), from >= model.len() as u64);
    let bytes: usize = records.iter().map(|logged| logged.record.value.len()).sum();
    assert!(records.len() <= 1 || bytes <= bytes_max);
    for (offset, logged) in (from..).zip(&records) {
        assert_eq!((logged.offset, &logged.record), (offset, &model[offset as usize]));
    }
    records.len() as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_vector(
        steps in prop::collection::vec(step(), 1..40),
        tail_bytes_max in prop_oneof![Just(0usize), Just(900), Just(1 << 20)],
        compressed in any::<bool>(),
    ) {
        let compression = if compressed { Compression::Lz4 } else { Compression::None };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(run(steps, tail_bytes_max, compression));
    }
}
