//! The server and the limit programs as processes: pinned to a core, killed with whoever started them, and
//! what the kernel says about their memory, time and writing.

mod proc;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

pub use proc::{Io, own_cpu_s, own_io, own_rss_anon};

use crate::corpus::METERS;
use crate::wire::Http;
use crate::{Fail, because};

const START_LIMIT: Duration = Duration::from_secs(900);
const STOP_LIMIT: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(5);

/// Which core runs what.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub generator: usize,
}

impl Cores {
    /// Puts this process, and so the generator, on its core.
    pub fn pin_generator(self) -> Result<(), Fail> {
        let mut set = rustix::thread::CpuSet::new();
        set.set(self.generator);
        Ok(rustix::thread::sched_setaffinity(None, &set)?)
    }
}

/// A process that listens. It never outlives this value, nor the thread that made it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    pub address: SocketAddr,
}

impl Process {
    /// Starts a program that says `listening on http://…` on stderr, and waits until it does.
    pub async fn start(
        program: &Path,
        arguments: &[String],
        core: usize,
        folder: &Path,
    ) -> Result<Self, Fail> {
        let log = folder.join(format!("{}.log", program.file_name().unwrap_or_default().display()));
        let mut command = pinned(program, core);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WEIR_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let mut process = Self { child, log, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let limit = Instant::now() + START_LIMIT;
        loop {
            if let Some(address) = process.said("listening on http://") {
                process.address = address;
                return Ok(process);
            }
            if process.child.try_wait()?.is_some() || Instant::now() > limit {
                return Err(because(format!("{} does not start:\n{}", program.display(), process.log_end())));
            }
            sleep(POLL).await;
        }
    }

    /// An address in its log that stands behind these words.
    fn said(&self, words: &str) -> Option<SocketAddr> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let rest = log.split_once(words)?.1;
        // The whole line must have been written.
        rest.split_once('\n')?.0.split(|c: char| c.is_whitespace()).next()?.parse().ok()
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(mut self) -> Result<(), Fail> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let limit = Instant::now() + STOP_LIMIT;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(because(format!("ended with {status}:\n{}", self.log_end()))),
                None if Instant::now() > limit => return Err(because("does not stop")),
                None => sleep(POLL).await,
            }
        }
    }

    /// Kills it as the kernel does when memory is out.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command on one core that the kernel kills when the thread that started it is gone.
pub fn pinned(program: &Path, core: usize) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).args(["setpriv", "--pdeathsig", "KILL"]).arg(program);
    command
}

/// A Weir server on a folder.
#[derive(Debug)]
pub struct Weir {
    pub process: Process,
    telemetry: SocketAddr,
}

impl Weir {
    pub async fn start(
        binary: &Path,
        data: &Path,
        core: usize,
        flags: &[String],
        logs: &Path,
    ) -> Result<Self, Fail> {
        let telemetry = free_address()?;
        let mut arguments: Vec<String> =
            ["serve", "--listen", "127.0.0.1:0", "--telemetry-listen"].map(str::to_owned).to_vec();
        arguments.extend([telemetry.to_string(), "--data-dir".to_owned(), data.display().to_string()]);
        arguments.extend(flags.iter().flat_map(|flag| flag.split_whitespace().map(str::to_owned)));
        let process = Process::start(binary, &arguments, core, logs).await?;
        Ok(Self { process, telemetry })
    }

    pub fn address(&self) -> SocketAddr {
        self.process.address
    }

    pub async fn create_meters(&self) -> Result<(), Fail> {
        let mut http = Http::connect(self.address()).await?;
        for meter in METERS {
            let answer = http.post_json("/api/v1/meters", meter).await?;
            if answer.status != 201 {
                return Err(because(format!(
                    "a meter was answered {}: {}",
                    answer.status,
                    http.body_text(&answer)
                )));
            }
        }
        Ok(())
    }

    /// Returns once everything acknowledged so far is part of answers.
    pub async fn all_visible(&self) -> Result<(), Fail> {
        let mut http = Http::connect(self.address()).await?;
        let body = http.get("/api/v1/position", "").await?;
        let position: serde_json::Value = serde_json::from_slice(&body)?;
        let header = format!("weir-position: {}\r\n", position["position"].as_str().unwrap_or_default());
        // A subject without events: the waiting is what counts.
        let ask =
            format!("GET /api/v1/meters/slowest/query?subject=nobody HTTP/1.1\r\nhost: weir\r\n{header}\r\n");
        let limit = Instant::now() + STOP_LIMIT;
        loop {
            let answer = http.exchange(ask.as_bytes()).await?;
            match answer.status {
                200 => return Ok(()),
                503 | 504 if Instant::now() < limit => {}
                status => return Err(because(format!("answered {status}: {}", http.body_text(&answer)))),
            }
        }
    }

    /// Every number under `/metrics`, without the buckets.
    pub async fn metrics(&self) -> Result<serde_json::Map<String, serde_json::Value>, Fail> {
        let body = Http::connect(self.telemetry).await?.get("/metrics", "").await?;
        let text = String::from_utf8(body)?;
        let lines = text.lines().filter(|line| line.starts_with("weir_") && !line.contains("_bucket{"));
        Ok(lines.filter_map(|l| l.rsplit_once(' ')).map(|(n, v)| (n.to_owned(), number(v))).collect())
    }

    /// Waits until the server has had nothing to do for some seconds: folded, flushed, compacted.
    /// Returns how long that took, without the idle time at the end.
    pub async fn settle(&self, idle: Duration, limit: Duration) -> Result<Duration, Fail> {
        let (begin, step) = (Instant::now(), Duration::from_secs(1));
        let mut busy_until = begin;
        let mut cpu = proc::cpu_s(self.process.id())?;
        while busy_until.elapsed() < idle {
            if begin.elapsed() > limit {
                return Err(because(format!("the server is still busy after {limit:?}")));
            }
            sleep(step).await;
            let now = proc::cpu_s(self.process.id())?;
            if now - cpu > 0.03 {
                busy_until = Instant::now();
            }
            cpu = now;
        }
        Ok(busy_until - begin)
    }

    pub fn io(&self) -> Result<Io, Fail> {
        proc::io(self.process.id())
    }

    /// Resident bytes that no file backs.
    pub fn rss_anon(&self) -> Result<u64, Fail> {
        proc::rss_anon(self.process.id())
    }

    pub fn cpu_s(&self) -> Result<f64, Fail> {
        proc::cpu_s(self.process.id())
    }

    pub async fn stop(self) -> Result<(), Fail> {
        self.process.stop().await
    }
}

fn number(text: &str) -> serde_json::Value {
    text.parse::<f64>().map_or(serde_json::Value::Null, Into::into)
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr, Fail> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
