//! What can be seen of a running server from outside: what the kernel says of its memory and its open
//! files, and its metrics.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::Pid;

use crate::http::Api;
use crate::server::Server;

/// Resident bytes that no file backs.
pub fn rss_anon(pid: Pid) -> Option<u64> {
    status(pid, "RssAnon:")
}

/// Bytes of writable private memory that it may use without asking again: what `RLIMIT_DATA` limits.
pub fn data(pid: Pid) -> Option<u64> {
    status(pid, "VmData:")
}

/// How many files and sockets are open.
pub fn open_files(pid: Pid) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).ok()?.count())
}

/// A size in bytes; none if the process is gone.
fn status(pid: Pid, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Every sample under `/metrics`, by name and labels as they stand there.
#[derive(Clone, Debug)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads them from a server that was started with `--telemetry-listen`.
    pub async fn of(server: &Server) -> Self {
        let address = server.telemetry.as_deref().expect("the server was told to serve metrics");
        let text = Api::new(address).get("/metrics").await.expect(200).body;
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|l| l.rsplit_once(' '));
        Self(samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect())
    }

    /// The sum of a metric over all its labels that contain this text; 0 if there is none.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let of_name = |sample: &str| {
            sample.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        // An empty sum is -0, which prints as that.
        self.0.iter().filter(|(s, _)| of_name(s) && s.contains(label)).map(|(_, value)| value).sum::<f64>()
            + 0.0
    }
}

/// The port to give to `--telemetry-listen`: any.
pub const TELEMETRY: [&str; 2] = ["--telemetry-listen", "127.0.0.1:0"];
