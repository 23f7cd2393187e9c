//! What a refold brings in chunks is at rest as a flush would have brought it; a stream that breaks
//! off, or comes in another order, leaves nothing.

use futures::stream;
use proptest::prelude::*;
use weir_meter::segment::{Coverage, Generations};
use weir_meter::window::{FOLD_VERSION, MINUTE_US, MeterWindows, WindowKeyRef, WindowSet};

use super::merging::{files_in, lines_of};
use super::*;
use crate::testing::{self, generation, generations, range, windows};
use crate::{WindowChunk, WindowChunks};

fn coverage() -> Coverage {
    Coverage {
        ranges: vec![range(0, 0, 4)],
        revision: 1,
        fold_version: FOLD_VERSION,
        window_size_s: 60,
        generations: Generations::Only((0..4).map(generation).collect()),
    }
}

/// By namespace, generation and so many starts of subjects at a time.
fn chunks(set: &WindowSet, at_once: usize) -> Vec<WindowChunk> {
    let mut of_meter: Vec<_> =
        set.meters.iter().map(|(key, windows)| (generations()[key].clone(), *key, windows)).collect();
    of_meter.sort_by_key(|(namespace, generation, _)| (namespace.clone(), *generation));
    let mut chunks = Vec::new();
    for (namespace, generation, windows) in of_meter {
        let place = |key: WindowKeyRef<'_>| (key.subject.to_owned(), key.start_us);
        let mut places: Vec<_> = windows.windows.iter().map(|(key, _)| place(key)).collect();
        places.sort_unstable();
        places.dedup();
        for places in places.chunks(at_once) {
            let mut chunk = MeterWindows::default();
            for (key, state) in windows.windows.iter().filter(|(key, _)| places.contains(&place(*key))) {
                *chunk.windows.entry(key) = state.clone();
            }
            for (key, member, holders) in windows.members().filter(|(key, ..)| places.contains(&place(*key)))
            {
                let (place, _) = chunk.windows.place(key);
                for _ in 0..holders {
                    chunk.add_member(place, member);
                }
            }
            chunks.push(WindowChunk { namespace: namespace.clone(), generation, windows: Arc::new(chunk) });
        }
    }
    chunks
}

fn streamed(chunks: Vec<Result<WindowChunk, StoreError>>) -> WindowChunks {
    Box::pin(stream::iter(chunks))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn chunks_are_at_rest_like_a_flush(set in windows(150), at_once in 1..7_usize, empty in 0..5_usize) {
        block_on(async {
            let fixture = Fixture::new();
            let mut chunks = chunks(&set, at_once);
            let nothing = WindowChunk { windows: Arc::default(), ..chunk_of(&["a"]) };
            chunks.insert(empty.min(chunks.len()), nothing);
            let chunks = streamed(chunks.into_iter().map(Ok).collect());
            let found = listed(fixture.store.write_windows(WRITER, coverage(), chunks).await.unwrap());
            prop_assert_eq!(found.len(), 2);
            let flushed = fixture.write(&PieceSnapshot { windows: set, ..testing::plain_piece(4) }).await;
            for segment in &found {
                let expected = of_kind(&flushed, segment.new.kind);
                prop_assert_eq!(lines_of(&fixture, segment), lines_of(&fixture, &expected));
                prop_assert_eq!(segment.new.row_count, expected.new.row_count);
                prop_assert_eq!(segment.new.location.is_empty(), segment.new.row_count == 0);
                prop_assert_eq!(segment.new.time_range_us, expected.new.time_range_us);
                prop_assert_eq!((segment.new.level, segment.new.dropped_rows), (0, 0));
                prop_assert_eq!(&segment.new.coverage, &coverage());
            }
            fixture.store.verify(&found, true).await.unwrap();
            Ok(())
        })?;
    }
}

/// Windows of the first generation with these subjects, enough of them for a batch.
fn chunk_of(subjects: &[&str]) -> WindowChunk {
    chunk_at(0, subjects)
}

/// The same from a minute on.
fn chunk_at(from: i64, subjects: &[&str]) -> WindowChunk {
    let mut windows = MeterWindows::default();
    for minute in from..from + 40 {
        for subject in subjects {
            let key = WindowKeyRef::<&str> { subject, start_us: minute * MINUTE_US, groups: &[] };
            let (place, state) = windows.windows.place(key);
            state.add_event(0);
            windows.add_member(place, 1);
        }
    }
    let generation = generation(0);
    WindowChunk { namespace: generations()[&generation].clone(), generation, windows: Arc::new(windows) }
}

#[test]
fn chunks_in_another_order_and_broken_streams_leave_nothing() {
    block_on(async {
        let fixture = Fixture::new();
        let other = |number: u32, subjects: &[&str]| {
            let generation = generation(number);
            let namespace = generations().get(&generation).cloned().unwrap_or_default();
            WindowChunk { namespace, generation, ..chunk_of(subjects) }
        };
        let half_minute = {
            let mut windows = MeterWindows::default();
            windows
                .windows
                .entry(WindowKeyRef::<&str> { subject: "z", start_us: 30, groups: &[] })
                .add_event(30);
            WindowChunk { windows: Arc::new(windows), ..chunk_of(&[]) }
        };
        let good = || chunk_of(&["b", "c"]);
        for second in [
            chunk_of(&["c", "d"]),
            chunk_of(&["a"]),
            chunk_of(&["d", "a"]),
            // One start of the last subject in two chunks, and an earlier one.
            chunk_at(39, &["c"]),
            chunk_at(-60, &["c"]),
            chunk_at(40, &["b"]),
            chunk_at(40, &["b", "d"]),
            WindowChunk { namespace: weir_meter::Namespace::new("aaa"), ..chunk_of(&["x"]) },
            other(4, &["x"]),
            half_minute,
        ] {
            let chunks = streamed(vec![Ok(good()), Ok(second)]);
            let error = fixture.store.write_windows(WRITER, coverage(), chunks).await.unwrap_err();
            assert!(matches!(error, StoreError::Inconsistent(_)), "{error}");
            assert!(files_in(&fixture).is_empty());
        }
        let chunks = streamed(vec![Ok(other(2, &["a"])), Ok(good())]);
        assert!(fixture.store.write_windows(WRITER, coverage(), chunks).await.is_err());
        let chunks = streamed(vec![Ok(good()), Err(StoreError::Stopped)]);
        let error = fixture.store.write_windows(WRITER, coverage(), chunks).await.unwrap_err();
        assert!(matches!(error, StoreError::Stopped), "{error}");
        assert!(files_in(&fixture).is_empty());
        // The last subject goes on later, and goes on again beside another.
        let chunks = streamed(vec![Ok(good()), Ok(chunk_at(40, &["c"])), Ok(chunk_at(80, &["c", "d"]))]);
        let found = fixture.store.write_windows(WRITER, coverage(), chunks).await.unwrap();
        assert_eq!(found.iter().map(|segment| segment.row_count).collect::<Vec<_>>(), [200, 200]);
        // The next generation begins with any subject.
        let chunks = streamed(vec![Ok(good()), Ok(other(2, &["a"])), Ok(other(1, &["a"]))]);
        fixture.store.write_windows(WRITER, coverage(), chunks).await.unwrap();
    });
}

#[test]
fn a_writer_that_nobody_waits_for_leaves_nothing() {
    block_on(async {
        let fixture = Fixture::new();
        let endless = stream::iter(vec![Ok(chunk_of(&["b"]))]).chain(stream::pending());
        let writing = fixture.store.write_windows(WRITER, coverage(), Box::pin(endless));
        let waited = std::time::Duration::from_millis(200);
        assert!(tokio::time::timeout(waited, writing).await.is_err());
        for _ in 0..500 {
            if files_in(&fixture).is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("files are left: {:?}", files_in(&fixture));
    });
}
