//! The built binary as a process: found, started on a free port, asked to stop, or killed. A process
//! never outlives the value that holds it.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A cold start with a log to read again takes this long at most, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longer than the server's own grace for requests under way.
const STOP_LIMIT: Duration = Duration::from_secs(40);
/// Commands that are expected to end by themselves.
const RUN_LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);
/// Lines of the server's log that are kept for a failure's message.
const LOG_LINES_MAX: usize = 60;

/// The built binary: `WEIR_BIN`, or the one beside the test's own folder.
pub fn binary() -> PathBuf {
    if let Some(named) = env::var_os("WEIR_BIN") {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "WEIR_BIN names {}, and there is no such file", named.display());
        return named;
    }
    // target/debug/deps/it-… → target/debug/weir
    let own = env::current_exe().expect("the test knows its own path");
    let beside = own.parent().and_then(Path::parent).expect("a test lies two folders deep").join("weir");
    assert!(
        beside.is_file(),
        "these tests need the built binary at {}; run `cargo build -p weir` first, or name one with WEIR_BIN",
        beside.display()
    );
    beside
}

/// A command line of the binary that does not listen to this machine's settings.
pub fn command(args: &[&str]) -> Command {
    wrapped(&[], args)
}

/// The same, started by another program: words that become the binary in the same process, as `nsenter` and
/// `sh -c 'exec "$@"'` do.
fn wrapped(wrapper: &[String], args: &[&str]) -> Command {
    let mut command = match wrapper.split_first() {
        Some((program, words)) => {
            let mut command = Command::new(program);
            command.args(words).arg(binary());
            command
        }
        None => Command::new(binary()),
    };
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("WEIR_") {
            command.env_remove(name);
        }
    }
    command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs a command to its end and returns what it said; kills it, and fails, if it takes too long.
pub fn run(args: &[&str]) -> Output {
    run_in(&[], args)
}

/// The same behind a wrapper, see [`Options::wrapper`].
pub fn run_in(wrapper: &[String], args: &[&str]) -> Output {
    run_within(RUN_LIMIT, wrapper, args)
}

/// The same with a time limit of its own.
pub fn run_within(limit: Duration, wrapper: &[String], args: &[&str]) -> Output {
    let mut command = wrapped(wrapper, args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("weir starts");
    let pid = pid_of(&child);
    let (done, watched) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().expect("weir ends");
    drop(done);
    watchdog.join().unwrap();
    output
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Such as `http://127.0.0.1:4711`.
    pub url: String,
    /// Where it serves metrics, if it was told to.
    pub telemetry: Option<String>,
    log: Arc<Mutex<VecDeque<String>>>,
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Options {
    pub data: PathBuf,
    /// Flags of `weir serve`.
    pub flags: Vec<String>,
    /// Where it notes what it is doing.
    pub phase_file: Option<PathBuf>,
    /// Words before the binary's own: a program that becomes the binary in the same process.
    pub wrapper: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

impl Options {
    pub fn new(data: &Path, flags: &[&str]) -> Self {
        Self {
            data: data.to_owned(),
            flags: flags.iter().map(|f| (*f).to_owned()).collect(),
            phase_file: None,
            wrapper: Vec::new(),
            environment: Vec::new(),
        }
    }

    fn command(&self) -> Command {
        let mut command = wrapped(&self.wrapper, &["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(&self.data).args(&self.flags);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(file) = &self.phase_file {
            command.env("WEIR_PHASE_FILE", file);
        }
        command
    }

    /// Starts a server and waits until it listens.
    pub fn start(&self) -> Server {
        self.try_start().unwrap_or_else(|(status, log)| panic!("the server ended with {status}:\n{log}"))
    }

    /// The same; if the process ends instead, its status and what it said.
    pub fn try_start(&self) -> Result<Server, (ExitStatus, String)> {
        let mut child =
            self.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("weir starts");
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let lines = watch(&mut child, &log);
        let mut server = Server { child, url: String::new(), telemetry: None, log };
        match lines.recv_timeout(START_LIMIT) {
            Ok(url) => {
                server.url = url;
                // It says this before it says that it listens.
                server.telemetry = server.log().lines().find_map(telemetry_in);
                Ok(server)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = server.wait("end after closing its log");
                Err((status, server.log()))
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("the server says no address after {START_LIMIT:?}:\n{}", server.log())
            }
        }
    }
}

/// Keeps the last lines of the server's log, and finds the address in them.
fn watch(child: &mut Child, log: &Arc<Mutex<VecDeque<String>>>) -> Receiver<String> {
    let stderr = child.stderr.take().expect("stderr is a pipe");
    let log = Arc::clone(log);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut sender = Some(sender);
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let (Some(address), true) = (address_in(&line), sender.is_some()) {
                let _ = sender.take().map(|s| s.send(address));
            }
            let mut log = log.lock().unwrap();
            if log.len() == LOG_LINES_MAX {
                log.pop_front();
            }
            log.push_back(line);
        }
    });
    receiver
}

/// `http://127.0.0.1:4711` in a line that says it listens.
fn address_in(line: &str) -> Option<String> {
    let rest = line.contains("listen").then(|| line.split_once("http://127.0.0.1:"))??.1;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("http://127.0.0.1:{port}"))
}

/// `http://127.0.0.1:4711` of a line that says where metrics are.
fn telemetry_in(line: &str) -> Option<String> {
    let address = line.contains("metrics").then(|| line.split_once("address="))??.1;
    Some(format!("http://{}", address.split_whitespace().next()?))
}

impl Server {
    /// The last lines of its log.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().iter().map(|line| format!("{line}\n")).collect()
    }

    /// Asks it to stop and waits until it has; fails unless it ends well.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait("stop on SIGTERM");
        assert!(status.success(), "asked to stop, the server ended with {status}:\n{}", self.log());
    }

    /// Kills it as the kernel does when memory is out: no code of its own runs any more.
    pub fn kill(self) {
        self.kill_when(|| true);
    }

    /// The same, as soon as the condition holds. It is asked without pause, as what it waits for may
    /// last some microseconds only, and must become true in the end.
    pub fn kill_when(mut self, mut condition: impl FnMut() -> bool) {
        while !condition() {
            std::hint::spin_loop();
        }
        self.signal(Signal::KILL);
        self.wait("die of SIGKILL");
    }

    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// Asks it to stop and does not wait for it.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended, however that is.
    pub fn end(mut self) -> ExitStatus {
        self.wait("end")
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid_of(&self.child), signal).expect("a child can be signalled");
    }

    fn wait(&mut self, what: &str) -> ExitStatus {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(waited < STOP_LIMIT, "the server does not {what}:\n{}", self.log());
            thread::sleep(POLL);
            waited += POLL;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the server's last lines\n{}---", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}
