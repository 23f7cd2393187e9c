//! `weir check` finds nothing wrong with what a server has left, and names every damage done to it.

use std::fs;
use std::path::Path;

use weir::check::{Report, check};
use weir::output::{EXIT_UNFINISHED, Style};

use crate::folder::{EVENTS, Folder, Server, change};

async fn report(folder: &Folder) -> Report {
    check(&folder.place(), true).await.unwrap()
}

/// The only problem; it names what it is about.
fn only(report: &Report, named: &Path, says: &str) {
    let name = named.file_name().unwrap().to_str().unwrap();
    assert_eq!(report.problems.len(), 1, "{}", report.render(100));
    assert!(report.problems[0].contains(name) && report.problems[0].contains(says), "{}", report.problems[0]);
}

fn says(report: &Report, what: &str) {
    assert!(report.problems.iter().any(|problem| problem.contains(what)), "{what}: {}", report.render(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_damage_is_named() {
    let sound = Folder::filled().await;
    let whole = report(&sound).await;
    assert!(whole.problems.is_empty() && whole.notes.is_empty(), "{}", whole.render(100));
    assert_eq!(whole.rows, EVENTS + 50, "every record has its row, the duplicates too");
    assert_eq!((whole.meters, whole.log_files >= 2), (Some(2), true));

    // A byte that was flipped, a file that is gone, a file that is short.
    let folder = sound.copy();
    let rows = folder.files("store/rows").remove(0);
    change(&rows, |bytes| bytes[100] ^= 4);
    only(&check(&folder.place(), false).await.unwrap(), &rows, "CRC32C");
    let folder = sound.copy();
    let windows = folder.files("store/windows").remove(0);
    fs::remove_file(&windows).unwrap();
    only(&check(&folder.place(), false).await.unwrap(), &windows, "missing");
    let folder = sound.copy();
    let members = folder.files("store/members").remove(0);
    change(&members, |bytes| bytes.truncate(bytes.len() - 1));
    only(&check(&folder.place(), false).await.unwrap(), &members, "bytes and should have");

    // All of them are told, not only the first.
    let folder = sound.copy();
    let files = [folder.files("store/rows"), folder.files("store/windows")].concat();
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    let found = check(&folder.place(), false).await.unwrap();
    assert_eq!(found.problems.len(), files.len(), "{}", found.render(100));
    assert!(found.render(1).contains(&format!("and {} more", files.len() - 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_has_no_windows_yet_is_no_damage() {
    let folder = Folder::filled().await;
    folder.sql("UPDATE segments SET delisted_at_us = 1 WHERE kind <> 'rows'").await;
    let found = report(&folder).await;
    assert!(found.problems.is_empty(), "{}", found.render(100));
    assert_eq!(found.meters, Some(2));
}

/// A server that meets a damaged cache takes it off the listing and makes it again. Until it is removed, the
/// file lies there as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_cache_that_was_retired_is_no_problem() {
    let folder = Folder::filled().await;
    folder.sql("UPDATE segments SET delisted_at_us = 1000000 WHERE kind <> 'rows'").await;
    let windows = folder.files("store/windows").remove(0);
    fs::remove_file(&windows).unwrap();
    let members = folder.files("store/members").remove(0);
    change(&members, |bytes| bytes[100] ^= 4);
    let found = report(&folder).await;
    assert!(found.problems.is_empty(), "{}", found.render(100));
    assert_eq!(found.notes.len(), 2, "{}", found.render(100));
    for (file, says) in [(&windows, "missing"), (&members, "CRC32C")] {
        let name = file.file_name().unwrap().to_str().unwrap();
        let note = found.notes.iter().find(|note| note.contains(name)).expect("a note names the file");
        assert!(note.contains(says) && note.contains("retired at 1970-01-01T00:00:01"), "{note}");
    }
    weir::check::run(&folder.place(), false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_nobody_listed_are_told() {
    let folder = Folder::filled().await;
    let listed = folder.files("store/rows").remove(0);
    let writer = listed.file_name().unwrap().to_str().unwrap().split_once('-').unwrap().0.to_owned();
    let stranger = folder.data.join(format!("store/rows/{:032x}-{:032x}.parquet", 1, 2));
    fs::copy(&listed, &stranger).unwrap();
    let left = folder.data.join(format!("store/windows/{writer}-{:032x}.parquet", 3));
    fs::copy(&listed, &left).unwrap();
    let found = report(&folder).await;
    only(&found, &stranger, "known to no listing");
    assert!(found.notes.len() == 1 && found.notes[0].contains("is not listed"), "{:?}", found.notes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_was_edited_is_caught() {
    let sound = Folder::filled().await;
    // The frontier is ahead of rows and log.
    let folder = sound.copy();
    folder.sql("UPDATE frontiers SET next_offset = next_offset + 500 WHERE partition = 0").await;
    let found = check(&folder.place(), false).await.unwrap();
    says(&found, "epoch 0 partition 0 has no listed rows for offsets");
    says(&found, "the log ends at offset");
    // A segment of rows is gone from the listing.
    let folder = sound.copy();
    folder
        .sql(
            "DELETE FROM coverage WHERE segment = (SELECT segment FROM segments WHERE kind = 'rows' LIMIT 1);
             DELETE FROM segments WHERE kind = 'rows'
                 AND segment NOT IN (SELECT segment FROM coverage)",
        )
        .await;
    let found = check(&folder.place(), false).await.unwrap();
    says(&found, "has no listed rows for offsets");
    assert!(found.notes.iter().any(|note| note.contains("is not listed")), "{:?}", found.notes);
    // The log is not the one that was folded.
    let folder = sound.copy();
    folder.sql("UPDATE frontiers SET last_record_hash = zeroblob(16) WHERE partition = 1").await;
    let found = check(&folder.place(), false).await.unwrap();
    says(&found, "not the one that was folded");
    // A coverage that says more than the file holds.
    let folder = sound.copy();
    folder
        .sql(
            "UPDATE coverage SET from_offset = from_offset - 1 WHERE from_offset > 0
                 AND segment IN (SELECT segment FROM segments WHERE kind = 'rows')",
        )
        .await;
    let found = check(&folder.place(), false).await.unwrap();
    says(&found, "twice");
    says(&found, "have no row");
    // Another installation.
    let folder = sound.copy();
    folder.sql("UPDATE installation SET id = zeroblob(16)").await;
    let found = check(&folder.place(), false).await.unwrap();
    says(&found, "belongs to installation");
    says(&found, "is of installation");
    // No catalog at all any more.
    let folder = sound.copy();
    change(&folder.data.join("catalog.db"), |bytes| bytes[100..4_000].fill(7));
    let found = check(&folder.place(), false).await;
    assert!(found.is_err() || !found.unwrap().problems.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_cut_or_damaged_is_caught() {
    let sound = Folder::filled().await;
    let last = |folder: &Folder| folder.files("log/e0/p0").pop().unwrap();
    let folder = sound.copy();
    change(&last(&folder), |bytes| bytes.truncate(56));
    says(&check(&folder.place(), false).await.unwrap(), "below the frontier");
    let folder = sound.copy();
    fs::remove_file(last(&folder)).unwrap();
    says(&check(&folder.place(), false).await.unwrap(), "below the frontier");
    // A byte in the first frame of the last file: the frames after it tell that it was whole once.
    let folder = sound.copy();
    change(&last(&folder), |bytes| bytes[56 + 50] ^= 1);
    says(&check(&folder.place(), false).await.unwrap(), "damaged at byte 56");
    // An unfinished append is no problem.
    let folder = sound.copy();
    change(&last(&folder), |bytes| bytes.extend_from_slice(&[1, 2, 3]));
    let found = check(&folder.place(), false).await.unwrap();
    assert!(found.problems.is_empty() && found.notes.len() == 1, "{}", found.render(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_lie_are_caught() {
    let folder = Folder::filled().await;
    let server = Server::start(&folder.data).await;
    let late = serde_json::json!({"slug": "late", "eventType": "request", "aggregation": "COUNT"});
    server.client.create_meter(&late).await.unwrap();
    server.stop().await;
    // Windows claim a meter that is younger than they are, and that they know nothing of.
    folder
        .sql("UPDATE coverage SET revision = 1000, generations = '{\"mode\":\"all_but\",\"list\":[]}'")
        .await;
    let found = report(&folder).await;
    says(&found, "the meter late: subject \"s3\": windows say");
    assert!(check(&folder.place(), false).await.unwrap().problems.iter().all(|p| !p.contains("late")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_when_it_cannot_look() {
    let folder = Folder::empty();
    let shown = |failure: weir::output::Failure| failure.render(Style::PLAIN);
    let nothing = shown(check(&folder.place(), false).await.unwrap_err());
    assert!(nothing.contains("there is no Weir data"), "{nothing}");
    assert!(!folder.data.exists(), "a check makes nothing");
    let server = Server::start(&folder.data).await;
    let busy = shown(check(&folder.place(), false).await.unwrap_err());
    assert!(busy.contains("in use by a Weir server") && busy.contains("weir backup"), "{busy}");
    let failure = weir::check::run(&folder.place(), false).await.unwrap_err();
    assert_eq!(failure.code(), EXIT_UNFINISHED);
    server.stop().await;
    weir::check::run(&folder.place(), false).await.unwrap();
}
