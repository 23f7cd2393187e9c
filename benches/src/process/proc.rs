//! What `/proc` says about a process.

use crate::{Fail, because};

/// The kernel's clock tick; 100 on every Linux that is in use.
const TICKS_PER_S: f64 = 100.0;

/// Bytes a process wrote.
#[derive(Clone, Copy, Debug, Default)]
pub struct Io {
    /// That the process caused to be written to the disk, at the granularity of pages.
    pub write_bytes: u64,
    /// Of these, not written after all, since the file was removed before.
    pub cancelled_write_bytes: u64,
    /// That it passed to `write`, sockets included.
    pub wchar: u64,
}

pub(super) fn io(process: u32) -> Result<Io, Fail> {
    let text = read(process, "io")?;
    Ok(Io {
        write_bytes: field(&text, "write_bytes:")?,
        cancelled_write_bytes: field(&text, "cancelled_write_bytes:")?,
        wchar: field(&text, "wchar:")?,
    })
}

pub(super) fn rss_anon(process: u32) -> Result<u64, Fail> {
    Ok(field(&read(process, "status")?, "RssAnon:")? * 1024)
}

/// Anonymous memory of this process.
pub fn own_rss_anon() -> Result<u64, Fail> {
    rss_anon(std::process::id())
}

/// What this process has written.
pub fn own_io() -> Result<Io, Fail> {
    io(std::process::id())
}

/// Seconds on a core, in user code and in the kernel.
pub(super) fn cpu_s(process: u32) -> Result<f64, Fail> {
    cpu_of(&read(process, "stat")?)
}

/// The same of this process.
pub fn own_cpu_s() -> f64 {
    std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| cpu_of(&text).ok()).unwrap_or(f64::NAN)
}

fn cpu_of(stat: &str) -> Result<f64, Fail> {
    // The name may hold spaces; behind it come fields from the third on.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<u64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) as f64 / TICKS_PER_S),
        _ => Err(because("/proc/…/stat cannot be read")),
    }
}

fn read(process: u32, file: &str) -> Result<String, Fail> {
    std::fs::read_to_string(format!("/proc/{process}/{file}"))
        .map_err(|error| because(format!("the server is gone? /proc/{process}/{file}: {error}")))
}

fn field(text: &str, name: &str) -> Result<u64, Fail> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.ok_or_else(|| because(format!("no {name} in /proc")))
}
