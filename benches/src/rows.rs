//! The rows of `docs/BENCHMARKS.md` that need no other engine, one module each, and what they share: where
//! the programs are, where the data goes, and which limit program stands on the other side.

pub mod disk;
pub mod fill;
pub mod ingest;
pub mod latency;
pub mod memory;
pub mod restart;
pub mod visible;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::corpus::Form;
use crate::load::{Generator, Load, Pace, Sent, Until};
use crate::process::{Cores, Process, Weir, pinned};
use crate::{Fail, because};

/// What all rows need to know.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The server.
    pub weir: PathBuf,
    /// The limit programs.
    pub limits: PathBuf,
    /// Data folders are made in here and removed at the end.
    pub work: PathBuf,
    pub cores: Cores,
    /// More flags for `weir serve`.
    pub flags: Vec<String>,
    pub subjects: u32,
    pub rounds: u32,
    pub warmup: Duration,
}

/// The other side of a comparison: see `src/bin/weir-limits.rs`.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    Parse,
    Answer,
}

impl Limit {
    pub fn describe(self) -> &'static str {
        match self {
            Self::Parse => "axum, parses with simd-json",
            Self::Answer => "axum, answers 204",
        }
    }
}

impl Bench {
    /// A folder that goes away with its value. On a disk: what is kept in memory needs no fdatasync.
    pub fn folder(&self) -> Result<TempDir, Fail> {
        const TMPFS_MAGIC: i64 = 0x0102_1994;
        let folder = tempfile::Builder::new().prefix("weir-bench-").tempdir_in(&self.work)?;
        if rustix::fs::statfs(folder.path())?.f_type == TMPFS_MAGIC {
            return Err(because(format!("{} is no disk; name one with --work", self.work.display())));
        }
        Ok(folder)
    }

    /// A server on the folder's `weir-data`.
    pub async fn weir(&self, folder: &Path, more: &[&str]) -> Result<Weir, Fail> {
        let flags: Vec<String> =
            self.flags.iter().cloned().chain(more.iter().map(|flag| (*flag).to_owned())).collect();
        Weir::start(&self.weir, &folder.join("weir-data"), self.cores.server, &flags, folder).await
    }

    /// The same with an empty folder and the five meters.
    pub async fn fresh_weir(&self, folder: &Path, more: &[&str]) -> Result<Weir, Fail> {
        let server = self.weir(folder, more).await?;
        server.create_meters().await?;
        Ok(server)
    }

    pub async fn limit(&self, limit: Limit, folder: &Path) -> Result<Process, Fail> {
        let name = match limit {
            Limit::Parse => "parse",
            Limit::Answer => "answer",
        };
        Process::start(&self.limits, &[name.to_owned()], self.cores.server, folder).await
    }

    /// Percentiles of `fdatasync` after appending so many bytes, in microseconds.
    pub fn fdatasync(&self, bytes: usize, times: u32, folder: &Path) -> Result<Percentiles, Fail> {
        let output = pinned(&self.limits, self.cores.server)
            .args(["fdatasync", "--bytes", &bytes.to_string(), "--times", &times.to_string(), "--file"])
            .arg(folder.join("fdatasync"))
            .output()?;
        if !output.status.success() {
            return Err(because(String::from_utf8_lossy(&output.stderr)));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub fn generator(&self, form: Form, senders: usize) -> Generator {
        Generator::new(Load { form, senders, subjects: self.subjects })
    }

    /// Sends flat out without counting the time, so that connections, caches and memory are warm.
    pub async fn warm(&self, generator: &mut Generator, server: &Process) -> Result<(), Fail> {
        generator.run(server.address, Pace::FlatOut, Until::Elapsed(self.warmup)).await?;
        Ok(())
    }

    /// Events a second that a fresh server takes, folding included: what half load is half of.
    pub async fn capacity(&self, form: Form, senders: usize, duration: Duration) -> Result<f64, Fail> {
        let folder = self.folder()?;
        let server = self.fresh_weir(folder.path(), &[]).await?;
        let mut generator = self.generator(form, senders);
        self.warm(&mut generator, &server.process).await?;
        let begin = tokio::time::Instant::now();
        let sent = generator.run(server.address(), Pace::FlatOut, Until::Elapsed(duration)).await?;
        server.all_visible().await?;
        Ok(sent.events as f64 / begin.elapsed().as_secs_f64())
    }
}

/// In microseconds.
#[derive(Clone, Copy, Debug, serde::Deserialize, serde::Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
}

impl Percentiles {
    pub fn of(sent: &Sent) -> Self {
        Self { p50: sent.percentile_us(50.0), p99: sent.percentile_us(99.0) }
    }
}

/// Bytes of all files below a folder: as long as they are, and as the disk has them.
pub fn bytes_below(folder: &Path) -> Result<(u64, u64), Fail> {
    use std::os::unix::fs::MetadataExt as _;
    let mut total = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let (length, blocks) =
            if meta.is_dir() { bytes_below(&entry.path())? } else { (meta.len(), meta.blocks() * 512) };
        total = (total.0 + length, total.1 + blocks);
    }
    Ok(total)
}
