//! The table that users read, against the rows that are tested.

use super::rows::Row;

const HEADING: &str = "## Events: input and answer";

/// Fails unless the document has exactly these rows in this order, each with its answers.
pub(super) fn compare(rows: Vec<Row>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/inputs.md");
    let document = std::fs::read_to_string(path).unwrap();
    let section = document.split(HEADING).nth(1).expect("the document has the section");
    let section = section.split("\n##").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    // The first one is the head.
    let written: Vec<String> = lines.skip(1).map(cells).collect();
    let tested: Vec<String> =
        rows.iter().map(|row| format!("{} | {} | {}", row.name, row.http.answer, row.grpc.answer)).collect();
    for line in &tested {
        assert!(written.contains(line), "docs/inputs.md has no row\n| {line} |");
    }
    assert_eq!(written, tested, "docs/inputs.md has other rows than the tests, or in another order");
}

/// The first three cells; what follows them explains.
fn cells(line: &str) -> String {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    cells[..3].join(" | ")
}
