//! What a check has found: problems, remarks, and how much was looked at.

use std::fmt::Write as _;

use crate::output::grouped_digits;
use crate::segments::counted;

/// The outcome of a check.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is wrong, each with its place.
    pub problems: Vec<String>,
    /// What is not wrong and yet worth knowing.
    pub notes: Vec<String>,
    pub segments: u64,
    pub segment_bytes: u64,
    /// Rows at rest whose coordinates were read.
    pub rows: u64,
    pub log_files: u64,
    pub log_records: u64,
    pub log_bytes: u64,
    /// Meters whose windows were compared with their rows; None if nobody asked.
    pub meters: Option<u64>,
}

impl Report {
    pub(super) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// A line for each problem and remark, and one with the counts.
    pub fn render(&self, problems_max: usize) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        for problem in self.problems.iter().take(problems_max) {
            let _ = writeln!(out, "problem: {problem}");
        }
        if let Some(more) = self.problems.len().checked_sub(problems_max).filter(|more| *more > 0) {
            let _ = writeln!(out, "problem: … and {more} more");
        }
        for note in &self.notes {
            let _ = writeln!(out, "note: {note}");
        }
        let number = |count: u64| grouped_digits(&count.to_string());
        let _ = write!(
            out,
            "checked {} ({} bytes, {}) and {} of the log ({} bytes, {})",
            counted(self.segments, "segment"),
            number(self.segment_bytes),
            counted(self.rows, "row"),
            counted(self.log_files, "file"),
            number(self.log_bytes),
            counted(self.log_records, "record"),
        );
        if let Some(meters) = self.meters {
            let _ = write!(out, ", and the windows of {}", counted(meters, "meter"));
        }
        let _ = writeln!(out, ": {}", counted(self.problems.len() as u64, "problem"));
        out
    }
}
