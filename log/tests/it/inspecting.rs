//! Looking into the files of a log that nobody has open: everything that is wrong is named, and nothing
//! is changed.

use std::fs;

use weir_log::LogError;
use weir_log::local::inspect::{Inspection, Place, inspect};

use crate::fixture::{Fixture, INSTALLATION, append_each, change, length, record};

fn look(fixture: &Fixture, wanted: Option<u64>) -> Inspection {
    let place = Place { dir: &fixture.options.dir, installation: INSTALLATION, epoch: 2, partition: 0 };
    inspect(place, wanted).unwrap()
}

async fn filled() -> Fixture {
    let fixture = Fixture::on_disk();
    let log = fixture.open();
    append_each(&log, 0..40).await;
    drop(log);
    assert!(fixture.files().len() > 3);
    fixture
}

#[tokio::test]
async fn a_good_log_is_read_whole() {
    let fixture = filled().await;
    let found = look(&fixture, Some(17));
    assert_eq!((found.start, found.end, found.records, found.frames), (0, 40, 40, 40));
    assert_eq!((found.files, found.torn_bytes), (fixture.files().len() as u64, 0));
    assert!(found.problems.is_empty() && found.foreign.is_empty(), "{:?}", found.problems);
    assert_eq!(found.wanted.map(|logged| (logged.offset, logged.record)), Some((17, record(17, 100))));
    let empty = look(&Fixture::new(), Some(0));
    assert_eq!((empty.start, empty.end, empty.files), (0, 0, 0));
}

#[tokio::test]
async fn every_damage_is_named_and_what_follows_is_read() {
    let fixture = filled().await;
    let files = fixture.files();
    // A byte in the first frame of two files: a hole each, and the frames after it are found.
    for file in [&files[1], &files[3]] {
        change(file, |bytes| bytes[56 + 60] ^= 1);
    }
    let before: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let found = look(&fixture, None);
    assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
    assert!(found.problems.iter().all(|problem| matches!(problem, LogError::Hole { byte: 56, .. })));
    assert_eq!((found.end, found.records), (40, 38));
    let after: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(before, after, "a look changes nothing");
}

#[tokio::test]
async fn a_missing_file_and_a_short_one_leave_gaps() {
    let fixture = filled().await;
    let files = fixture.files();
    fs::remove_file(&files[2]).unwrap();
    fs::write(fixture.partition(0).join("notes.txt"), "mine").unwrap();
    let found = look(&fixture, None);
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    assert!(found.problems[0].to_string().contains("is missing"), "{}", found.problems[0]);
    assert_eq!((found.end, found.foreign.as_slice()), (40, ["notes.txt".to_owned()].as_slice()));

    // A file that is not the last ends inside a frame: that was durable once.
    change(&files[1], |bytes| bytes.truncate(bytes.len() - 3));
    let found = look(&fixture, None);
    assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
    assert!(matches!(&found.problems[0], LogError::Damaged { what, .. } if what.contains("cut short")));
}

#[tokio::test]
async fn a_torn_end_is_no_problem_but_is_told() {
    let fixture = filled().await;
    let last = fixture.last_file();
    change(&last, |bytes| bytes.truncate(bytes.len() - 3));
    let found = look(&fixture, Some(39));
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    assert_eq!((found.end, found.wanted), (39, None));
    assert!(found.torn_bytes > 0 && found.torn_bytes < length(&last) as u64);
    // The next start cuts off as much.
    drop(fixture.open());
    assert_eq!((look(&fixture, None).end, look(&fixture, None).torn_bytes), (39, 0));
}

#[tokio::test]
async fn a_file_of_another_log_is_named() {
    let fixture = filled().await;
    let files = fixture.files();
    let place = Place {
        dir: &fixture.options.dir,
        installation: weir_meter::InstallationId(7),
        epoch: 2,
        partition: 0,
    };
    let found = inspect(place, None).unwrap();
    assert_eq!(found.problems.len(), files.len());
    assert!(matches!(found.problems[0], LogError::Mismatch(_)));
    fs::copy(&files[1], &files[2]).unwrap();
    let found = look(&fixture, None);
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    assert!(found.problems[0].to_string().contains("put the file back"));
}
