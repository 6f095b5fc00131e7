//! Rows of text in columns.

use super::line::{Ink, Line, clean};

/// Text in columns, each as wide as its widest cell.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    rows: Vec<Vec<(Ink, String)>>,
}

impl Columns {
    /// With a row of titles.
    pub(crate) fn titled(titles: &[&str]) -> Self {
        let titles = titles.iter().map(|title| (Ink::Faint, (*title).to_owned()));
        Self {
            rows: vec![titles.collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (Ink, String)>) {
        let cells = cells.into_iter().map(|(ink, text)| (ink, cut(text)));
        self.rows.push(cells.collect());
    }

    /// The rows as lines.
    pub(crate) fn lines(self) -> Vec<Line> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|(_, text)| width(text)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        let line = |row: &Vec<(Ink, String)>| {
            let last = row.len().saturating_sub(1);
            let cells = row.iter().zip(&widths).enumerate();
            cells.fold(Line::default(), |line, (column, ((ink, text), wide))| {
                let gap = if column == last { 0 } else { wide + 2 - width(text) };
                line.and(*ink, text.clone()).and(Ink::Plain, " ".repeat(gap))
            })
        };
        self.rows.iter().map(line).collect()
    }
}

/// The longest cell: the key of a lease in a table of several streams has 200 characters at most.
const LONGEST: usize = 200;

/// One endless name must not make all rows as wide.
fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn width(text: &str) -> usize {
    clean(text).chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_shown_of_their_cells() {
        let mut columns = Columns::titled(&["A", "B"]);
        columns.row([(Ink::Plain, "x\u{7}".to_owned()), (Ink::Good, "y".to_owned())]);
        let lines: Vec<_> = columns.lines().iter().map(|line| line.rendered(false)).collect();
        assert_eq!(lines, ["A       B", r"x\u{7}  y"]);
    }

    #[test]
    fn an_endless_cell_is_cut() {
        let mut columns = Columns::default();
        columns.row([(Ink::Plain, "é".repeat(300_000))]);
        let line = columns.lines().remove(0).rendered(false);
        assert_eq!(line.chars().count(), 201);
    }
}
