//! Rows and columns, as a table for people or as CSV for programs. Cells are texts, so a number
//! keeps every digit that the server wrote.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::Style;

/// Spaces after a column; the line between columns, here a blank, adds one.
const GAP: u16 = 1;

/// What a column is called, and whether it lines up on the right.
#[derive(Clone, Debug)]
pub struct Column {
    name: String,
    right: bool,
}

impl Column {
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), right: false }
    }

    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), right: true }
    }
}

/// A table of texts.
#[derive(Clone, Debug)]
pub struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// For people. Control characters in cells are made visible, as they come from events and could
    /// otherwise command the terminal.
    pub fn table(&self, style: Style) -> String {
        let rule = if style.unicode { '─' } else { '-' };
        let mut table = Table::new();
        table
            .set_content_arrangement(ContentArrangement::Disabled)
            .load_style(TableStyle::new().header_separator(LineStyle::none().fill(rule).junction(rule)))
            .set_header(self.columns.iter().map(|column| cell(&column.name, column.right)));
        for row in &self.rows {
            table.add_row(row.iter().zip(&self.columns).map(|(text, column)| cell(text, column.right)));
        }
        let last = self.columns.len().saturating_sub(1);
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index == last { 0 } else { GAP }));
        }
        let text = table.trim_fmt();
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        let mut out = style.bold(header) + "\n";
        for line in lines {
            out.push_str(line);
            out.push('\n');
        }
        out
    }

    /// RFC 4180, with line feeds alone.
    pub fn csv(&self) -> String {
        let mut out = String::new();
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        csv_line(&mut out, &names);
        for row in &self.rows {
            csv_line(&mut out, &row.iter().map(String::as_str).collect::<Vec<_>>());
        }
        out
    }
}

fn cell(text: &str, right: bool) -> Cell {
    let visible: String = text
        .chars()
        .map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character })
        .collect();
    Cell::new(visible).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
}

/// Appends one line of CSV.
pub fn csv_line(out: &mut String, cells: &[&str]) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(cell);
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid =
            Grid::new(vec![Column::text("carrier"), Column::number("distance"), Column::text("note")]);
        grid.row(vec!["UA".into(), "1705.000000000000000000000000000001".into(), "a, \"b\"".into()]);
        grid.row(vec!["Zürich 航空".into(), "-2".into(), "red\u{1b}[31m\nnext".into()]);
        grid
    }

    #[test]
    fn tables_line_up() {
        insta::assert_snapshot!(grid().table(Style { colour: false, unicode: true }));
        insta::assert_snapshot!(grid().table(Style::PLAIN));
    }

    #[test]
    fn an_empty_table_is_its_head() {
        insta::assert_snapshot!(Grid::new(vec![Column::text("slug")]).table(Style::PLAIN));
    }

    #[test]
    fn csv_quotes_what_it_must() {
        insta::assert_snapshot!(grid().csv());
    }
}
