//! A disk that is full whenever a test says so. Where user namespaces are allowed it is a file system of
//! its own in memory, which only the server sees. Where they are not, the kernel's limit on the length of
//! files takes its place: then writes fail with another error, and not all at the same time, but they fail.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;

use crate::folder;
use crate::server::Server;

/// Sizes are said to `ulimit` in these.
const BLOCK: u64 = 512;
/// Without a disk of its own no file is let grow beyond this, whatever room is left: the log would begin
/// another one before it met a higher limit.
const LENGTH_MAX: u64 = 128 << 10;
const FILLER: &str = "filler";
const STEP: usize = 4_096;

#[derive(Debug)]
pub struct SmallDisk {
    /// Where it is mounted, or just a folder.
    place: TempDir,
    /// A process that does nothing but keep the namespace; it ends with this value.
    holder: Option<Child>,
    /// Without a disk of its own: the longest file that there may be.
    longest: Cell<Option<u64>>,
}

impl SmallDisk {
    pub fn new(bytes: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let holder = mount(place.path(), bytes);
        if holder.is_none() {
            println!("no namespace to mount in: limiting the length of files instead");
        }
        Self { place, holder, longest: Cell::new(None) }
    }

    /// Whether the error of a write is the one of a full disk.
    pub fn is_real(&self) -> bool {
        self.holder.is_some()
    }

    /// Where a server is to keep its data, as it sees it.
    pub fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// The words to start a server, or a command, with.
    pub fn wrapper(&self) -> Vec<String> {
        let words = match &self.holder {
            Some(holder) => {
                let pid = holder.id().to_string();
                ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", &pid]
                    .map(str::to_owned)
            }
            None => {
                let limit = self.longest.get().map_or("unlimited".to_owned(), |l| (l / BLOCK).to_string());
                let script = format!("ulimit -S -f {limit}; exec \"$@\"");
                ["sh", "-c", &script, "sh", "env", "--"].map(str::to_owned)
            }
        };
        words.to_vec()
    }

    /// Fills the disk up, but for so many bytes. A running server that should notice has to be named.
    pub fn leave(&self, bytes: u64, server: Option<&Server>) {
        if self.holder.is_none() {
            let lengths =
                folder::files(&self.data()).into_iter().map(|file| fs::metadata(file).unwrap().len());
            self.limit(Some((lengths.max().unwrap_or(0) + bytes).min(LENGTH_MAX)), server);
            return;
        }
        let mut filler = File::create(self.outside().join(FILLER)).unwrap();
        // To the last byte; only then the gap.
        while filler.write_all(&[7; STEP]).is_ok() {}
        let length = filler.metadata().unwrap().len();
        filler.set_len(length.saturating_sub(bytes)).unwrap();
    }

    /// Makes room again.
    pub fn free(&self, server: Option<&Server>) {
        if self.holder.is_none() {
            self.limit(None, server);
            return;
        }
        folder::remove(&self.outside().join(FILLER));
    }

    fn limit(&self, longest: Option<u64>, server: Option<&Server>) {
        self.longest.set(longest);
        if let Some(server) = server {
            let maximum = getrlimit(Resource::Fsize).maximum;
            prlimit(Some(server.pid()), Resource::Fsize, Rlimit { current: longest, maximum }).unwrap();
        }
    }

    /// The place as this process sees it.
    fn outside(&self) -> PathBuf {
        let holder = self.holder.as_ref().expect("there is a disk");
        let inside = self.place.path().strip_prefix("/").unwrap();
        Path::new("/proc").join(holder.id().to_string()).join("root").join(inside)
    }
}

/// Mounts a file system where only the returned process, and whoever joins it, sees it.
fn mount(place: &Path, bytes: u64) -> Option<Child> {
    // It ends when its input does, so also when this process is killed.
    let script = "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" && echo mounted && exec cat > /dev/null";
    let mut holder = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh", &bytes.to_string()])
        .arg(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut said = String::new();
    BufReader::new(holder.stdout.take()?).read_line(&mut said).ok()?;
    if said.trim() == "mounted" {
        return Some(holder);
    }
    let _ = holder.wait();
    None
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}
