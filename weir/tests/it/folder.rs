//! A data folder that a real server has made, in this process, for the commands that look into one.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir::client::Client;
use weir::data::Place;
use weir::serve::{self, Running};
use weir::settings::{Layer, Origin, Settings};

pub(crate) const EVENTS: u64 = 600;

pub(crate) struct Folder {
    temporary: TempDir,
    pub(crate) data: PathBuf,
}

/// A server in this process, on a folder.
pub(crate) struct Server {
    running: Running,
    pub(crate) client: Client,
}

impl Server {
    pub(crate) async fn start(data: &Path) -> Self {
        let running = Box::pin(serve::start(Self::settings(data))).await.unwrap();
        let client = Client::new(&format!("http://{}", running.addr)).unwrap();
        Self { running, client }
    }

    /// Why no server starts on a folder.
    pub(crate) async fn refused(data: &Path) -> String {
        let started = Box::pin(serve::start(Self::settings(data))).await;
        started.expect_err("the folder is refused").to_string()
    }

    fn settings(data: &Path) -> Settings {
        let given = [
            ("data_dir", data.display().to_string()),
            ("listen", "127.0.0.1:0".to_owned()),
            ("partitions", "2".to_owned()),
            ("flush_events", "100".to_owned()),
            ("flush_interval", "100ms".to_owned()),
            ("log_segment_bytes", "65536".to_owned()),
        ];
        Settings::resolve(&[Layer::of(Origin::Flag, given)]).unwrap()
    }

    pub(crate) async fn make_meters(&self) {
        for meter in [
            json!({"slug": "amount", "eventType": "request", "aggregation": "SUM", "valueProperty": "$.n",
                "groupBy": {"model": "$.model"}}),
            json!({"slug": "models", "eventType": "request", "aggregation": "UNIQUE_COUNT",
                "valueProperty": "$.model"}),
        ] {
            self.client.create_meter(&meter).await.unwrap();
        }
    }

    /// Sends events one batch after the other, each durable before the next; gives the last position.
    pub(crate) async fn send(&self, ids: std::ops::Range<u64>) -> String {
        let mut position = None;
        for first in ids.clone().step_by(50) {
            let batch: Vec<Value> = (first..ids.end.min(first + 50)).map(event).collect();
            position = self.client.ingest(Bytes::from(serde_json::to_vec(&batch).unwrap())).await.unwrap();
        }
        position.unwrap()
    }

    /// The sum of the meter `amount`, and the position of the answer.
    pub(crate) async fn amount(&self, position: Option<&str>) -> (String, Option<String>) {
        let (text, position) = self.client.query_with_position("amount", &json!({}), position).await.unwrap();
        let value = text.split_once("\"value\":").unwrap().1;
        (value.split_once(',').unwrap().0.to_owned(), position)
    }

    pub(crate) async fn stop(self) {
        Box::pin(self.running.stop()).await.unwrap();
    }
}

/// Ten subjects, three models, one a minute from 2026-01-01 on.
fn event(id: u64) -> Value {
    let time_us = 1_767_225_600_000_000 + i64::try_from(id).unwrap() * 61_000_000;
    json!({
        "specversion": "1.0", "id": id.to_string(), "source": "test", "type": "request",
        "subject": format!("s{}", id % 10), "time": weir_meter::time::format_utc(time_us),
        "data": {"n": format!("{id}.25"), "model": format!("m{}", id % 3)},
    })
}

/// What `amount` says of the events below an id.
pub(crate) fn sum_below(id: u64) -> String {
    let quarters: u64 = (0..id).map(|id| id * 4 + 1).sum();
    let fraction = ["", ".25", ".5", ".75"][(quarters % 4) as usize];
    format!("{}{fraction}", quarters / 4)
}

impl Folder {
    pub(crate) fn empty() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let data = temporary.path().join("data");
        Self { temporary, data }
    }

    /// With events, some of them twice, and everything at rest.
    pub(crate) async fn filled() -> Self {
        let folder = Self::empty();
        let server = Server::start(&folder.data).await;
        server.make_meters().await;
        server.send(0..EVENTS).await;
        server.send(0..50).await;
        server.stop().await;
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temporary.path().join(name)
    }

    pub(crate) fn place(&self) -> Place {
        Place::in_folder(&self.data).unwrap()
    }

    /// A copy to damage.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::empty();
        copy_folder(&self.data, &copy.data);
        copy
    }

    /// Files below a folder of the data, by name.
    pub(crate) fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.data.join(below))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        files
    }

    /// Changes the catalog behind everybody's back.
    pub(crate) async fn sql(&self, statement: &'static str) {
        use sqlx::{ConnectOptions as _, Connection as _};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.data.join("catalog.db"));
        let mut connection = options.foreign_keys(false).connect().await.unwrap();
        let changed = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        assert!(changed.rows_affected() > 0, "{statement} changed nothing");
        connection.close().await.unwrap();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
