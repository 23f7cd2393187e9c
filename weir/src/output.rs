//! What people see: data on stdout, everything else on stderr, readable without colour, and plain
//! ASCII where the terminal may not show more.

mod bar;
mod failure;
mod table;

use std::io::{ErrorKind, IsTerminal, Write};

pub use bar::{bar, grouped_digits};
pub use failure::{EXIT_FAILURE, EXIT_UNFINISHED, EXIT_USAGE, Failure};
pub use table::{Column, Grid, csv_line};

/// What the reader's terminal can show.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub colour: bool,
    pub unicode: bool,
}

impl Style {
    /// Neither colour nor anything past ASCII.
    pub const PLAIN: Self = Self { colour: false, unicode: false };

    pub fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    pub fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|term| term == "dumb");
        // The first of these that is set decides, as in the C library.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default();
        let locale = locale.to_ascii_lowercase().replace('-', "");
        Self {
            colour: terminal && !dumb && variable("NO_COLOR").is_none(),
            unicode: !dumb && locale.contains("utf8"),
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.escaped("1", text)
    }

    pub fn faint(self, text: &str) -> String {
        self.escaped("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.escaped("1;31", text)
    }

    fn escaped(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Writes data to stdout. A reader that went away, as `head` does, is no failure.
pub fn data(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Tells a person something on stderr. Nobody may be reading there, and that is fine.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
