//! Data folders as people leave them: two servers on one, parts of two installations or of two days mixed, a
//! copy that broke off, caches that are gone or garbage, a folder that cannot be written. Either the answers
//! are right, or the server refuses to start, says why, and has changed nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;
use weir_tests::folder::{self, contents, replace};
use weir_tests::http::{Api, BATCH};
use weir_tests::maintenance::{self, fail, path};
use weir_tests::plain::{ask_all, event, meter, send, total};
use weir_tests::reference::Aggregation;
use weir_tests::server::{Options, run, run_in};

/// 2026-06-01T00:00:00Z
const JUNE: i64 = 1_780_272_000;
/// Small log files, so that some of them are cut away, and few identities in memory, so that there are files of
/// others.
const FLAGS: [&str; 10] = [
    "--flush-interval",
    "100ms",
    "--log-segment-bytes",
    "8KiB",
    "--compaction-fanout",
    "4",
    "--partitions",
    "2",
    "--identities-in-memory",
    "100",
];
const EVENTS: u64 = 1_200;

fn events(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers
        .map(|n| {
            let data = format!(r#"{{"value":{n},"model":"m{}"}}"#, n % 3);
            event(&n.to_string(), &format!("s{}", n % 10), JUNE + (n * 61 % 80_000) as i64, &data)
        })
        .collect()
}

fn sum_below(number: u64) -> String {
    (number * number.saturating_sub(1) / 2).to_string()
}

/// A folder with events at rest, copies of it from two moments, and nobody in it.
struct Story {
    folder: TempDir,
    /// With the first half of the events.
    earlier: PathBuf,
    /// With all of them; the log has lost its oldest files.
    later: PathBuf,
}

impl Story {
    async fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join(name);
        let earlier = folder.path().join("earlier");
        for numbers in [0..EVENTS / 2, EVENTS / 2..EVENTS] {
            let first = numbers.start == 0;
            let server = Options::new(&data, &FLAGS).start();
            let api = Api::new(&server.url);
            if first {
                api.create_meter(&meter("sum", Aggregation::Sum, &[("model", "$.model")])).await;
            }
            // One flush after the other, so that the log is cut.
            for part in events(numbers.clone()).chunks(100) {
                send(&api, part).await;
                sleep(Duration::from_millis(130)).await;
            }
            assert_eq!(total(&ask_all(&api, "sum", "").await), sum_below(numbers.end));
            server.stop();
            if first {
                folder::copy(&data, &earlier);
            }
        }
        Self { later: data, folder, earlier }
    }

    /// A copy of the later folder, with something done to it.
    fn broken(&self, name: &str, change: impl FnOnce(&Path)) -> PathBuf {
        let copy = self.folder.path().join(name);
        folder::remove(&copy);
        folder::copy(&self.later, &copy);
        change(&copy);
        copy
    }
}

/// Fails unless no server starts on this folder, for a reason that names one of these, and nothing has changed.
#[track_caller]
fn expect_refused(data: &Path, when: &str, says: &[&str]) {
    let before = (contents(data), folders(data));
    let (status, log) = match Options::new(data, &FLAGS).try_start() {
        Err(refusal) => refusal,
        Ok(_) => panic!("{when}: a server starts"),
    };
    let sentence = log.lines().filter(|line| line.contains("rror")).collect::<Vec<_>>().join("\n");
    println!("{when}: {sentence}");
    assert!(status.code().is_some_and(|code| code != 0), "{when}: {status}");
    assert!(!log.contains("panicked"), "{when}: {log}");
    assert!(says.iter().any(|word| sentence.contains(word)), "{when}: one of {says:?} is missing in {log}");
    assert!(!log.contains("because:"), "{when}: the cause is told twice: {log}");
    expect_same(&before.0, data, when);
    assert_eq!(before.1, folders(data), "{when}: refused, and folders were made");
}

/// Every folder below this one.
fn folders(data: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut found: Vec<PathBuf> =
        below.flat_map(|folder| [vec![folder.clone()], folders(&folder)].concat()).collect();
    found.sort();
    found
}

#[track_caller]
fn expect_same(before: &std::collections::BTreeMap<PathBuf, Vec<u8>>, data: &Path, when: &str) {
    let after = contents(data);
    let changed: Vec<_> = before
        .keys()
        .chain(after.keys())
        .filter(|file| before.get(*file) != after.get(*file))
        .map(|file| file.display().to_string())
        .collect();
    assert!(changed.is_empty(), "{when}: refused, and changed all the same: {changed:?}");
}

/// Fails unless a server starts and answers everything, a retry of everything changes nothing, and the folder
/// is sound afterwards.
async fn expect_sound(data: &Path, when: &str) {
    let server = Options::new(data, &FLAGS).start();
    let api = Api::new(&server.url);
    assert_eq!(total(&ask_all(&api, "sum", "").await), sum_below(EVENTS), "{when}");
    send(&api, &events(0..EVENTS)).await;
    assert_eq!(total(&ask_all(&api, "sum", "").await), sum_below(EVENTS), "{when}, sent again");
    server.stop();
    maintenance::check(data);
}

fn rows(data: &Path) -> PathBuf {
    largest(&data.join("store/rows"))
}

fn largest(folder: &Path) -> PathBuf {
    let size = |file: &PathBuf| fs::metadata(file).unwrap().len();
    let files = folder::files(folder);
    files.into_iter().filter(|file| file.extension().is_some()).max_by_key(size).expect("there are files")
}

fn emptied(folder: &Path) {
    folder::remove(folder);
    fs::create_dir_all(folder).unwrap();
}

fn cut_in_half(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_do_not_belong_together_are_refused() {
    let (one, other) = tokio::join!(Story::new("one"), Story::new("other"));
    for part in ["log", "store"] {
        let mixed = one.broken("mixed", |data| replace(part, &other.later, data));
        expect_refused(&mixed, &format!("the {part} of another installation"), &["installation"]);
    }
    let mixed = one.broken("mixed", |data| replace("catalog.db", &other.later, data));
    expect_refused(&mixed, "the catalog of another installation", &["installation"]);

    // Of the same installation, from different days. What is folded is not in the log any more, or not yet.
    let mixed = one.broken("mixed", |data| replace("catalog.db", &one.earlier, data));
    expect_refused(&mixed, "an older catalog", &["gap", "older", "starts at"]);
    let mixed = one.broken("mixed", |data| replace("log", &one.earlier, data));
    expect_refused(&mixed, "an older log", &["ends at offset"]);
    let mixed = one.broken("mixed", |data| replace("store", &one.earlier, data));
    expect_refused(&mixed, "an older store", &["damaged", "missing"]);
    let mixed = one.broken("mixed", |data| {
        replace("store", &one.earlier, data);
        replace("log", &one.earlier, data);
    });
    expect_refused(&mixed, "an older log and store", &["ends at offset", "missing", "damaged"]);

    // All three of the same moment are a whole.
    let server = Options::new(&one.earlier, &FLAGS).start();
    assert_eq!(total(&ask_all(&Api::new(&server.url), "sum", "").await), sum_below(EVENTS / 2));
    server.stop();
    expect_sound(&one.later, "what it was all copied from").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_catalog_with_a_log_that_still_has_everything_folds_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // No file of the log is ever full, so none goes.
    let flags = ["--flush-interval", "100ms", "--partitions", "2"];
    let server = Options::new(&data, &flags).start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("sum", Aggregation::Sum, &[])).await;
    send(&api, &events(0..400)).await;
    server.stop();
    let earlier = folder.path().join("earlier");
    folder::copy(&data, &earlier);
    let server = Options::new(&data, &flags).start();
    send(&Api::new(&server.url), &events(300..EVENTS)).await;
    server.stop();
    replace("catalog.db", &earlier, &data);
    // It may have come about by accident, so somebody has to say that it is meant.
    let (status, said) = Options::new(&data, &flags).try_start().expect_err("an older catalog");
    assert!(!status.success() && said.contains("older than what was committed"), "{said}");
    fs::remove_file(data.join("catalog.commits")).unwrap();
    // The store has files that this catalog never heard of: they count nowhere and stay.
    let unknown = folder::files(&data.join("store/rows"));
    let server = Options::new(&data, &flags).start();
    let api = Api::new(&server.url);
    assert_eq!(total(&ask_all(&api, "sum", "").await), sum_below(EVENTS));
    send(&api, &events(0..EVENTS)).await;
    assert_eq!(total(&ask_all(&api, "sum", "").await), sum_below(EVENTS));
    server.stop();
    for file in unknown {
        assert!(file.exists(), "{} was deleted, although no catalog here knows it", file.display());
    }
    // A check says so as well, and finds nothing else.
    let output = run(&["check", &path(&data), "--windows"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let mut problems = said.lines().filter(|line| line.starts_with("problem:"));
    assert!(said.contains("problem:") && problems.all(|line| line.contains("known to no listing")), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_folder_is_refused_and_caches_are_made_again() {
    let story = Story::new("data").await;
    let lost = |part: &'static str| move |data: &Path| folder::remove(&data.join(part));
    let refused = |name: &str, change: &dyn Fn(&Path), says: &[&str]| {
        expect_refused(&story.broken("broken", change), name, says);
    };
    refused("no catalog", &lost("catalog.db"), &["catalog"]);
    refused("half a catalog", &|data| cut_in_half(&data.join("catalog.db")), &["catalog", "malformed"]);
    refused("an empty catalog", &|data| fs::write(data.join("catalog.db"), b"").unwrap(), &["catalog"]);
    refused("no log", &lost("log"), &["log is missing"]);
    refused("an empty log", &|data| emptied(&data.join("log")), &["ends at offset 0"]);
    refused("no store", &lost("store"), &["weir-store"]);
    refused("an empty store", &|data| emptied(&data.join("store")), &["weir-store"]);
    refused("a store without its marker", &lost("store/weir-store"), &["weir-store"]);
    refused("half a file of rows", &|data| cut_in_half(&rows(data)), &["damaged"]);
    refused(
        "a file of rows is missing",
        &|data| fs::remove_file(rows(data)).unwrap(),
        &["damaged", "missing"],
    );
    // What is left of the frame in which the copy broke off looks like a write that a crash broke off.
    refused("half the log", &|data| cut_in_half(&largest(&data.join("log"))), &["ends at offset"]);
    let partition = "log/e0/p0";
    refused("a partition of the log is missing", &lost(partition), &["ends at offset", "p0", "partition 0"]);

    // Windows and members are a cache, and so is what the index of identities keeps.
    let windows = |data: &Path| {
        // One that counts: of those that were replaced, nobody needs any.
        let mut listed = maintenance::segments(data);
        listed.retain(|segment| segment.kind == "windows" && !segment.file.is_empty());
        let largest = listed.iter().max_by_key(|segment| segment.bytes).expect("there are windows");
        data.join("store").join(&largest.file)
    };
    let whole = story.broken("cache", |data| fs::remove_file(windows(data)).unwrap());
    expect_sound(&whole, "a file of windows is missing").await;
    let whole = story.broken("cache", |data| cut_in_half(&windows(data)));
    expect_sound(&whole, "half a file of windows").await;
    assert!(!folder::files(&story.later.join("index")).is_empty(), "identities are in memory only");
    let whole = story.broken("cache", |data| folder::remove(&data.join("index")));
    expect_sound(&whole, "no index").await;
    let whole = story.broken("cache", |data| {
        for file in folder::files(&data.join("index")) {
            cut_in_half(&file);
        }
        fs::create_dir_all(data.join("index")).unwrap();
        fs::write(data.join("index/0000"), b"no run of identities").unwrap();
    });
    expect_sound(&whole, "an index cut in half").await;
    let whole = story.broken("cache", |data| {
        for file in folder::files(&data.join("index")) {
            let length = fs::metadata(&file).unwrap().len() as usize;
            fs::write(&file, vec![0x5a; length]).unwrap();
        }
    });
    expect_sound(&whole, "an index of garbage").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Options::new(&data, &FLAGS).start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("sum", Aggregation::Sum, &[])).await;
    let sender = tokio::spawn({
        let api = api.clone();
        async move {
            for part in events(0..EVENTS).chunks(10) {
                api.post("/api/v1/events", BATCH, format!("[{}]", part.join(","))).await.expect(204);
            }
        }
    });
    for turn in 0..2 {
        let (status, log) =
            Options::new(&data, &FLAGS).try_start().expect_err("a second server in the folder");
        assert!(
            !status.success() && log.contains(&path(&data)) && !log.contains("panicked"),
            "{turn}: {log}"
        );
        // The folder of its own does not help if a part is somebody else's.
        for (flag, url, part) in [("--log", "file", "log"), ("--store", "file", "store")] {
            let part = data.join(part);
            let apart = folder.path().join(format!("apart{turn}"));
            let url = format!("{url}:{}", path(&part));
            let (status, log) = Options::new(&apart, &[flag, &url]).try_start().expect_err("a part in use");
            assert!(!status.success() && log.contains("in use") && log.contains(&path(&part)), "{log}");
        }
        // Nor the catalog, whose own locks let others in between two transactions.
        let apart = folder.path().join(format!("catalog{turn}"));
        let url = format!("sqlite:{}", path(&data.join("catalog.db")));
        let (status, log) =
            Options::new(&apart, &["--catalog", &url]).try_start().expect_err("a catalog in use");
        assert!(!status.success() && log.contains("in use"), "{log}");
        let said = fail(&["check", &path(&data)]);
        assert!(said.contains("in use"), "{said}");
    }
    sender.await.unwrap();
    assert_eq!(total(&ask_all(&api, "sum", "").await), sum_below(EVENTS));
    server.stop();
    maintenance::check(&data);
}

/// Words that run a program where it cannot write to this folder.
fn read_only(data: &Path) -> Vec<String> {
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    let words = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", &path(data)];
    let mut trial = Command::new(words[0]);
    trial.args(&words[1..]).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
    if trial.status().is_ok_and(|status| status.success()) {
        return words.map(str::to_owned).to_vec();
    }
    // No namespaces: permissions do for everybody but root.
    println!("no namespace to mount in: taking the permissions away instead");
    let below =
        folder::files(data).into_iter().flat_map(|file| [file.clone(), file.parent().unwrap().to_owned()]);
    for place in below.chain([data.to_owned()]) {
        let mut permissions = fs::metadata(&place).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&place, permissions).unwrap();
    }
    let trial = fs::File::create(data.join("trial"));
    assert!(trial.is_err(), "this test needs user namespaces, or a user other than root");
    Vec::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_is_refused() {
    let story = Story::new("data").await;
    let wrapper = read_only(&story.later);
    let before = contents(&story.later);
    let options = Options { wrapper: wrapper.clone(), ..Options::new(&story.later, &FLAGS) };
    let (status, log) = options.try_start().expect_err("nothing can be kept there");
    println!("{log}");
    assert!(status.code().is_some_and(|code| code != 0) && !log.contains("panicked"), "{status}: {log}");
    assert!(log.contains(&path(&story.later)), "a sentence that names the folder: {log}");
    assert!(!log.contains("because:"), "the cause is told twice: {log}");
    expect_same(&before, &story.later, "read-only");
    // What only reads works, or says why not.
    for args in [&["check", &path(&story.later)][..], &["segments", "--data-dir", &path(&story.later)]] {
        let output = run_in(&wrapper, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("weir {args:?}: {}: {said}", output.status);
        assert!(output.status.code().is_some() && !said.contains("panicked"), "{said}");
        // Even to look into it needs to write beside it.
        assert!(!output.status.success() && said.contains(&path(&story.later)), "{said}");
        assert!(said.contains("copy") && !said.contains("weir check"), "what to do instead: {said}");
    }
    expect_same(&before, &story.later, "read-only, after the commands");
}
