//! The data format that has been released is kept as a folder, made by the binary that wrote it first:
//! every later one opens it and answers the same bytes. And the other way round: a folder of a newer format is
//! refused with a sentence that says what to do, and left as it is.
//!
//! `just keep-format FOLDER` makes such a folder, by the story told in `make`; see `tests/fixtures`.

mod make;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use tempfile::TempDir;
use weir_tests::folder::{contents, files};
use weir_tests::http::{Api, POSITION};
use weir_tests::maintenance::{self, fail, path};
use weir_tests::plain::send;
use weir_tests::reference::json::Json;
use weir_tests::server::Options;

use make::{FLAGS, Kept};

/// Each folder that was ever kept.
const KEPT: [&str; 1] = ["1"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data-format")
}

/// Unpacks a kept folder.
fn unpacked(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let archive = fixtures().join(name).join("data.tar.gz");
    let tar = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder.path()).status().unwrap();
    assert!(tar.success(), "{} cannot be unpacked", archive.display());
    let data = folder.path().join("data");
    (folder, data)
}

/// What was asked of a kept folder, and answered.
fn answers(name: &str) -> Vec<Kept> {
    Kept::read(&fs::read_to_string(fixtures().join(name).join("answers.json")).unwrap())
}

/// Each question is answered as it was, for everything there is and at the position it was answered at.
async fn expect_answers(api: &Api, answers: &[Kept], when: &str) {
    let everything = api.position().await;
    for kept in answers {
        for position in [&everything, &kept.position] {
            let headers = [(POSITION, position.as_str())];
            let reply = api.send(Method::GET, &kept.path, &headers, Vec::new()).await.expect(200);
            assert_eq!(reply.body, kept.body, "{when}: {}", kept.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_is_opened_and_answers_the_same() {
    for name in KEPT {
        let (_folder, data) = unpacked(name);
        let answers = answers(name);
        assert!(answers.len() > 5, "only {} questions were kept", answers.len());
        // As it lies: with events in the log that nobody has folded.
        maintenance::check(&data);
        let server = Options::new(&data, &FLAGS).start();
        expect_answers(&Api::new(&server.url), &answers, "at first").await;
        server.stop();
        maintenance::check(&data);
        // Brought to rest, merged and asked again, with newer events that none of the questions are about.
        let server = Options::new(&data, &FLAGS).start();
        let api = Api::new(&server.url);
        expect_answers(&api, &answers, "after a restart").await;
        send(&api, &make::newer()).await;
        for kept in &answers {
            let headers = [(POSITION, kept.position.as_str())];
            let reply = api.send(Method::GET, &kept.path, &headers, Vec::new()).await.expect(200);
            assert_eq!(reply.body, kept.body, "with newer events: {}", kept.path);
        }
        server.stop();
        maintenance::check(&data);
    }
}

/// Told again, the story ends the same; so what was kept was no accident, and the next folder can be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_of_the_kept_folder_can_be_told_again() {
    let told = make::tell().await;
    if let Some(target) = std::env::var_os("WEIR_KEEP_FORMAT") {
        told.keep(Path::new(&target));
        return;
    }
    let newest = answers(KEPT[KEPT.len() - 1]);
    // Meters have other ids there, and positions other keys.
    let rows = |kept: &[Kept]| -> Vec<(String, String)> {
        kept.iter()
            .map(|kept| (kept.path.clone(), format!("{:?}", Json::parse(&kept.body).get("data").unwrap())))
            .collect()
    };
    assert_eq!(rows(&told.answers), rows(&newest));
}

/// Castagnoli's checksum, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// The last file of a partition's log.
fn log_file(data: &Path) -> PathBuf {
    files(&data.join("log")).into_iter().rfind(|file| file.extension().is_some_and(|e| e == "log")).unwrap()
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

fn newer_log_file(data: &Path) {
    change(&log_file(data), |bytes| {
        bytes[8] += 1;
        let crc = crc32c(&bytes[..52]);
        bytes[52..56].copy_from_slice(&crc.to_le_bytes());
    });
}

/// The last frame of the log is of the next version, and whole.
fn newer_frame(data: &Path) {
    change(&log_file(data), |bytes| {
        let mut frame = 56;
        loop {
            let length = u32::from_le_bytes(bytes[frame..frame + 4].try_into().unwrap()) as usize;
            if frame + 8 + length == bytes.len() {
                break;
            }
            frame += 8 + length;
        }
        bytes[frame + 8] += 1;
        let covered = [&bytes[..52], &bytes[frame..frame + 4], &bytes[frame + 8..]].concat();
        let crc = crc32c(&covered);
        bytes[frame + 4..frame + 8].copy_from_slice(&crc.to_le_bytes());
    });
}

fn newer_store(data: &Path) {
    change(&data.join("store/weir-store"), |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.starts_with("format 1\n"), "{text}");
        *bytes = text.replace("format 1\n", "format 2\nflavour unheard of\n").into_bytes();
    });
}

/// As the next step of the catalog would note itself.
fn newer_catalog(data: &Path) {
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1])\n\
                  db.execute(\"INSERT INTO migrations SELECT max(version) + 1, 'later', zeroblob(32), 0 FROM migrations\")\n\
                  db.commit()\n\
                  db.close()\n";
    let python = Command::new("python3").args(["-c", script]).arg(data.join("catalog.db")).status().unwrap();
    assert!(python.success(), "this test changes a catalog with python3");
}

type Change = fn(&Path);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused_and_left_as_it_is() {
    let newest = KEPT[KEPT.len() - 1];
    let changes: [(&str, Change); 4] = [
        ("log file", newer_log_file),
        ("frame", newer_frame),
        ("store", newer_store),
        ("catalog", newer_catalog),
    ];
    for (part, newer) in changes {
        let (_folder, data) = unpacked(newest);
        // Stopped well, so that SQLite has nothing to bring in order, and with something in the log.
        let server = Options::new(&data, &["--flush-interval", "1h"]).start();
        send(&Api::new(&server.url), &make::newer()).await;
        server.stop();
        newer(&data);
        let before = contents(&data);
        let (status, log) = match Options::new(&data, &FLAGS).try_start() {
            Err(refusal) => refusal,
            Ok(_) => panic!("a newer {part} is opened"),
        };
        assert!(status.code().is_some_and(|code| code != 0), "{part}: {status}");
        let sentence = log.lines().filter(|line| line.contains("rror")).collect::<Vec<_>>().join("\n");
        println!("a newer {part}: {sentence}");
        assert!(sentence.contains("newer") && !log.contains("panicked"), "{part}: {log}");
        // Where it is, which version it has, and what to do.
        assert!(
            sentence.contains(&path(&data)) && sentence.contains(" 2") || sentence.contains(" 3"),
            "{sentence}"
        );
        assert_eq!(
            changed(&before, &data),
            Vec::<PathBuf>::new(),
            "{part}: refused and changed all the same"
        );
        let said = fail(&["check", &path(&data)]);
        println!("  check: {}", said.trim());
        assert_eq!(changed(&before, &data), Vec::<PathBuf>::new(), "{part}: changed by a check");
    }
}

/// Files that are not as they were.
fn changed(before: &std::collections::BTreeMap<PathBuf, Vec<u8>>, data: &Path) -> Vec<PathBuf> {
    let after = contents(data);
    let all = before.keys().chain(after.keys());
    all.filter(|file| before.get(*file) != after.get(*file)).cloned().collect()
}
