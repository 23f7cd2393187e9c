//! One way to tell what was measured: a small table for people, and a file with everything for later.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Fail;

/// What a ratio has to be.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}"),
            Self::AtMost(bound) => format!("≤ {bound}"),
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    pub what: String,
    pub beside: String,
    pub unit: &'static str,
    /// Median of the rounds.
    pub ours: f64,
    pub theirs: f64,
    /// Median of each round's own ratio.
    pub ratio: f64,
    pub must: Option<Bound>,
    pub aim: Option<Bound>,
}

impl Row {
    /// From the pairs of all rounds.
    pub fn of(what: &str, beside: &str, unit: &'static str, pairs: &[(f64, f64)]) -> Self {
        let of = |f: fn(&(f64, f64)) -> f64| median(pairs.iter().map(f).collect());
        Self {
            what: what.to_owned(),
            beside: beside.to_owned(),
            unit,
            ours: of(|(ours, _)| *ours),
            theirs: of(|(_, theirs)| *theirs),
            ratio: of(|(ours, theirs)| ours / theirs),
            must: None,
            aim: None,
        }
    }

    pub fn bounds(self, must: Bound, aim: Bound) -> Self {
        Self { must: Some(must), aim: Some(aim), ..self }
    }
}

/// All that one run found.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    rows: Vec<Row>,
    notes: Vec<String>,
    details: serde_json::Map<String, Value>,
}

impl Report {
    pub fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new(), notes: Vec::new(), details: serde_json::Map::new() }
    }

    pub fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Said below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Only in the file.
    pub fn detail(&mut self, name: &str, value: Value) {
        self.details.insert(name.to_owned(), value);
    }

    /// The generator must not be what was measured.
    pub fn busy(&mut self, of: &str, busy: f64) {
        if busy > 0.95 {
            self.note(format!(
                "beware: the generator used {:.0} % of its core against {of}: it may be the limit",
                busy * 100.0
            ));
        }
    }

    /// Prints the table to stdout and writes `NAME.json` into the folder.
    pub fn finish(self, folder: &Path) -> Result<(), Fail> {
        println!("\n{}", self.table());
        for note in &self.notes {
            println!("  {note}");
        }
        fs::create_dir_all(folder)?;
        let file: PathBuf = folder.join(format!("{}.json", self.name));
        fs::write(&file, serde_json::to_string_pretty(&self.json())?)?;
        println!("  everything: {}", file.display());
        Ok(())
    }

    fn table(&self) -> String {
        let head = ["what", "ours", "beside", "", "ratio", "must", "aim", ""].map(str::to_owned);
        let mut lines = vec![head.to_vec()];
        for row in &self.rows {
            let met = |bound: Option<Bound>| bound.is_some_and(|bound| bound.met(row.ratio));
            let verdict = match (row.must, row.aim) {
                (None, None) => "",
                (Some(_), _) if !met(row.must) => "missed",
                (_, Some(_)) if met(row.aim) => "aim met",
                (Some(_), _) => "met",
                (None, Some(_)) => "aim missed",
            };
            lines.push(vec![
                row.what.clone(),
                format!("{} {}", figure(row.ours), row.unit),
                format!("{} {}", figure(row.theirs), row.unit),
                row.beside.clone(),
                figure(row.ratio),
                row.must.map(Bound::text).unwrap_or_default(),
                row.aim.map(Bound::text).unwrap_or_default(),
                verdict.to_owned(),
            ]);
        }
        let width = |column: usize| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let lines = lines.iter().map(|line| {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "what": row.what, "beside": row.beside, "unit": row.unit, "ours": row.ours,
                "theirs": row.theirs, "ratio": row.ratio,
                "must": row.must.map(Bound::text), "aim": row.aim.map(Bound::text),
            })
        });
        json!({
            "name": self.name,
            "command": std::env::args().collect::<Vec<_>>().join(" "),
            "machine": machine(),
            "optimised": !cfg!(debug_assertions),
            "rows": rows.collect::<Vec<_>>(),
            "notes": self.notes,
            "details": self.details,
        })
    }
}

/// Of any order; NaN for none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// Three digits, or whole numbers with separators.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<&str> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|group| std::str::from_utf8(group).unwrap_or_default())
                .collect();
            groups.join(",")
        }
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn machine() -> Value {
    let line = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let text = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    json!({
        "cpu": line("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, |n| n.get()),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": text("/proc/sys/kernel/osrelease"),
        "load": text("/proc/loadavg"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_figures() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!([1_234_567.0, 999.4, 12.34, 0.25].map(figure), ["1,234,567", "999", "12.3", "0.250"]);
    }

    #[test]
    fn a_bound_is_met_on_its_own_side() {
        assert!(Bound::AtLeast(0.2).met(0.2) && !Bound::AtLeast(0.2).met(0.19));
        assert!(Bound::AtMost(4.0).met(4.0) && !Bound::AtMost(4.0).met(4.1));
    }
}
