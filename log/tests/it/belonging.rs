//! A log opens only where it belongs, and says what is wrong otherwise.

use weir_log::{Log, LogError};
use weir_meter::InstallationId;

use crate::fixture::{Fixture, append_each, change};

fn refusal(fixture: &Fixture) -> String {
    match fixture.try_open() {
        Err(error @ (LogError::Mismatch(_) | LogError::Options(_))) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn another_installation_is_refused() {
    let mut fixture = Fixture::new();
    append_each(&fixture.open(), 0..3).await;
    fixture.options.installation = InstallationId(1);
    let said = refusal(&fixture);
    assert!(said.contains("belongs to installation"), "{said}");
}

#[tokio::test]
async fn a_file_in_the_wrong_place_is_refused() {
    let fixture = Fixture::on_disk();
    append_each(&fixture.open(), 0..3).await;
    let file = fixture.last_file();
    std::fs::rename(&file, file.with_file_name("00000000000000000009.log")).unwrap();
    let said = refusal(&fixture);
    assert!(said.contains("from offset 9"), "{said}");
}

#[tokio::test]
async fn fewer_partitions_than_there_are_is_refused() {
    let mut fixture = Fixture::new();
    fixture.options.partitions = 3;
    fixture.open().close().await;
    fixture.options.partitions = 2;
    let said = refusal(&fixture);
    assert!(said.contains("partition 2"), "{said}");
}

#[tokio::test]
async fn a_newer_file_format_is_refused() {
    let fixture = Fixture::new();
    append_each(&fixture.open(), 0..3).await;
    change(&fixture.last_file(), |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..52]);
        bytes[52..56].copy_from_slice(&crc.to_le_bytes());
    });
    let said = refusal(&fixture);
    assert!(said.contains("format version 2"), "{said}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let mut fixture = Fixture::new();
    fixture.options.partitions = 0;
    refusal(&fixture);
    fixture.options.partitions = 257;
    refusal(&fixture);
    fixture.options.partitions = 1;
    fixture.options.queue_bytes_max = fixture.options.append_bytes_max - 1;
    refusal(&fixture);
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_left_alone() {
    let fixture = Fixture::new();
    append_each(&fixture.open(), 0..2).await;
    let stray = fixture.partition(0).join("notes.txt");
    std::fs::write(&stray, "keep me").unwrap();
    append_each(&fixture.open(), 2..3).await;
    assert!(stray.exists());
}
