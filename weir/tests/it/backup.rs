//! A backup is made beside a serving server and restored into a folder that serves on.

use std::fs;

use weir::backup::{MANIFEST, backup, restore};
use weir::check::check;
use weir::client::ClientError;
use weir::output::Style;

use crate::folder::{EVENTS, Folder, Server, change, sum_below};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backup_is_in_it() {
    let folder = Folder::empty();
    let server = Server::start(&folder.data).await;
    server.make_meters().await;
    let position = server.send(0..EVENTS).await;
    let (sum, answered) = server.amount(Some(&position)).await;
    assert_eq!(sum, sum_below(EVENTS));

    let target = folder.path("backup");
    let place = folder.place();
    let (made, _) = tokio::join!(backup(&place, &target), server.send(EVENTS..EVENTS + 300));
    let made = made.unwrap();
    assert!(made.files > 3 && target.join(MANIFEST).is_file());
    assert_eq!(count(&target), made.files + 1, "the manifest names every file, and none is left beside");
    assert!(!folder.path("backup.partial").exists());
    let again = backup(&folder.place(), &target).await.unwrap_err().render(Style::PLAIN);
    assert!(again.contains("is there already"), "{again}");

    let restored = Folder::empty();
    restore(&target, &restored.data).await.unwrap();
    let found = check(&restored.place(), true).await.unwrap();
    assert!(found.problems.is_empty(), "{}", found.render(100));
    let there = Server::start(&restored.data).await;
    let now = there.client.position().await.unwrap();
    let (sum, _) = there.amount(Some(&now)).await;
    let number = |text: &str| text.parse::<f64>().unwrap();
    let (least, most) = (sum_below(EVENTS), sum_below(EVENTS + 300));
    assert!(number(&least) <= number(&sum) && number(&sum) <= number(&most), "{least} <= {sum} <= {most}");
    // Sent again, everything is there once.
    there.send(0..EVENTS + 300).await;
    let now = there.client.position().await.unwrap();
    assert_eq!(there.amount(Some(&now)).await.0, sum_below(EVENTS + 300));
    // Positions of the original are refused.
    for old in [Some(position), answered].into_iter().flatten() {
        let refused = there.client.query("amount", &serde_json::json!({}), Some(&old)).await;
        assert!(matches!(refused, Err(ClientError::Refused(problem)) if problem.status == 400));
    }
    there.stop().await;
    server.stop().await;
    for folder in [&folder, &restored] {
        let found = check(&folder.place(), true).await.unwrap();
        assert!(found.problems.is_empty(), "{}", found.render(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_refused_and_nothing_is_overwritten() {
    let folder = Folder::filled().await;
    let target = folder.path("backup");
    backup(&folder.place(), &target).await.unwrap();
    // A copy, as hard links are the very files of the original.
    let copies = Folder::empty();
    let damaged = copies.path("copy");
    copy(&target, &damaged);
    let rows: Vec<_> =
        fs::read_dir(damaged.join("store/rows")).unwrap().map(|entry| entry.unwrap().path()).collect();
    change(&rows[0], |bytes| bytes[50] ^= 1);
    fs::remove_file(damaged.join("log/e0/p1").read_dir().unwrap().next().unwrap().unwrap().path()).unwrap();
    let restored = Folder::empty();
    let refused = restore(&damaged, &restored.data).await.unwrap_err().render(Style::PLAIN);
    assert!(
        refused.contains("2 problems") && refused.contains("CRC32C") && refused.contains("is gone"),
        "{refused}"
    );
    assert!(fs::read_dir(&restored.data).unwrap().all(|entry| entry.unwrap().file_name() == "lock"));

    let refused = restore(&target, &folder.data).await.unwrap_err().render(Style::PLAIN);
    assert!(refused.contains("is not empty"), "{refused}");
    fs::remove_file(damaged.join(MANIFEST)).unwrap();
    let refused = restore(&damaged, &restored.data).await.unwrap_err().render(Style::PLAIN);
    assert!(refused.contains("no whole backup"), "{refused}");
    // The good one restores into the folder that the refused ones left empty.
    restore(&target, &restored.data).await.unwrap();
    let manifest = fs::read_to_string(target.join(MANIFEST)).unwrap();
    fs::write(damaged.join(MANIFEST), manifest.replacen("log/e0", "../out", 1)).unwrap();
    let outside = restore(&damaged, &copies.path("new")).await.unwrap_err().render(Style::PLAIN);
    assert!(outside.contains("which no backup holds"), "{outside}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_and_half_a_restore_are_not_taken_for_data() {
    let folder = Folder::filled().await;
    let target = folder.path("backup");
    let inside = folder.data.join("backup");
    let refused = backup(&folder.place(), &inside).await.unwrap_err().render(Style::PLAIN);
    assert!(refused.contains("lies inside") && !inside.exists(), "{refused}");
    backup(&folder.place(), &target).await.unwrap();
    let half = Folder::empty();
    fs::create_dir_all(half.data.join("restoring")).unwrap();
    for (data, says) in [(&target, "is a backup"), (&half.data, "a restore that broke off")] {
        let files = count(data);
        let place = weir::data::Place::in_folder(data).unwrap();
        let checked = check(&place, false).await.unwrap_err().render(Style::PLAIN);
        assert!(checked.contains(says), "{checked}");
        let served = Server::refused(data).await;
        assert!(served.contains(says), "{served}");
        assert_eq!(count(data), files, "nothing is made there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_without_any_file_at_rest_comes_back_whole() {
    let folder = Folder::empty();
    let server = Server::start(&folder.data).await;
    backup(&folder.place(), &folder.path("backup")).await.unwrap();
    server.stop().await;
    let restored = Folder::empty();
    restore(&folder.path("backup"), &restored.data).await.unwrap();
    let found = check(&restored.place(), false).await.unwrap();
    assert!(found.problems.is_empty(), "{}", found.render(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_be_made_leaves_nothing() {
    let folder = Folder::filled().await;
    let rows = folder.files("store/rows").remove(0);
    change(&rows, |bytes| bytes.truncate(bytes.len() - 1));
    let target = folder.path("backup");
    let refused = backup(&folder.place(), &target).await.unwrap_err().render(Style::PLAIN);
    assert!(refused.contains("is not what it should be"), "{refused}");
    assert!(!target.exists() && !folder.path("backup.partial").exists());
    let nothing = Folder::empty();
    let refused = backup(&nothing.place(), &target).await.unwrap_err().render(Style::PLAIN);
    assert!(refused.contains("there is no Weir data"), "{refused}");
}

fn count(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
