//! An answer of some length, as blocks that text and HTML write in their own way.

use crate::Severity;
use crate::html;
use crate::line::Segment;
use crate::plain;
use crate::style;
use crate::text::{Shown, escape};
use crate::view::Warning;

/// One part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Block {
    /// What this is, once at the top.
    Title(Shown),
    /// What the next part is.
    Heading(&'static str),
    /// Figures in one line.
    Figures(Vec<Segment>),
    /// A finding.
    Warning(Warning),
    /// A sentence.
    Sentence(Shown),
    /// A sentence said in passing.
    Remark(Shown),
    /// Rows of the same form.
    Table(Table),
    /// HTML for the resident memory over a cell; text has no place for it.
    Curve(String),
}

/// Rows of the same form under a head.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    /// Words over the columns; all empty for none.
    pub(crate) head: Vec<&'static str>,
    /// Each as long as the head.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// What stands in one place of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// A name, as code.
    Name(Shown),
    /// Words.
    Words(Shown),
    /// Words that may be long, said in passing.
    Aside(Shown),
    /// A figure, to the right.
    Figure(String),
    /// A bar of this many of 100 parts; whether a warning is about it, and whether it was given back. Not in text.
    Bar(u64, bool, bool),
}

impl Cell {
    fn text(&self) -> &str {
        match self {
            Self::Name(shown) | Self::Words(shown) | Self::Aside(shown) => shown.text(),
            Self::Figure(text) => text,
            Self::Bar(..) => "",
        }
    }

    fn is_figure(&self) -> bool {
        matches!(self, Self::Figure(_))
    }
}

/// A bar for `size` where the largest is `largest`.
pub(crate) fn bar(size: i64, largest: u64, flagged: bool) -> Cell {
    let part = u128::from(size.unsigned_abs()) * 100 / u128::from(largest.max(1));
    Cell::Bar(part.min(100) as u64, flagged, size < 0)
}

pub(crate) fn text(blocks: &[Block]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for block in blocks {
        match block {
            Block::Title(shown) => lines.push(format!("{} {}", plain::MARK, shown.text())),
            Block::Heading(words) => lines.push(format!("\n{words}")),
            Block::Figures(segments) => lines.push(plain::line(segments)),
            Block::Warning(warning) => lines.push(format!("! {}", plain::sentence(warning))),
            Block::Sentence(shown) | Block::Remark(shown) => lines.push(shown.text().to_owned()),
            Block::Table(table) => lines.extend(text_table(table)),
            Block::Curve(_) => {}
        }
    }
    lines.join("\n")
}

fn text_table(table: &Table) -> Vec<String> {
    let is_bar = |column: usize| {
        table
            .rows
            .iter()
            .any(|row| matches!(row.get(column), Some(Cell::Bar(..))))
    };
    let columns: Vec<usize> = (0..table.head.len())
        .filter(|&column| !is_bar(column))
        .collect();
    let width = |column: &usize| {
        let cells = table
            .rows
            .iter()
            .filter_map(|row| row.get(*column))
            .map(Cell::text);
        cells
            .chain([table.head[*column]])
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().map(width).collect();
    let line = |cell: &dyn Fn(usize) -> (String, bool)| {
        let parts = columns.iter().zip(&widths).map(|(&column, &width)| {
            let (text, right) = cell(column);
            if right {
                format!("{text:>width$}")
            } else {
                format!("{text:<width$}")
            }
        });
        format!("  {}", parts.collect::<Vec<_>>().join("  "))
            .trim_end()
            .to_owned()
    };
    let figures = |column: usize| {
        table
            .rows
            .iter()
            .any(|row| row.get(column).is_some_and(Cell::is_figure))
    };
    let mut lines = Vec::new();
    if table.head.iter().any(|word| !word.is_empty()) {
        lines.push(line(&|column| {
            (table.head[column].to_owned(), figures(column))
        }));
    }
    for row in &table.rows {
        lines.push(line(&|column| match row.get(column) {
            Some(cell) => (cell.text().to_owned(), cell.is_figure()),
            None => (String::new(), false),
        }));
    }
    lines
}

pub(crate) fn html(blocks: &[Block], severity: Severity) -> String {
    let mut out = format!("<div style=\"{}\">", style::frame(severity));
    for block in blocks {
        match block {
            Block::Title(shown) => out.push_str(&format!(
                "<div style=\"font-weight:600;font-size:13px;padding:1px 0 2px 0\">{}</div>",
                shown.html()
            )),
            Block::Heading(words) => out.push_str(&format!(
                "<div style=\"font-weight:600;padding:7px 0 1px 0\">{}:</div>",
                escape(words)
            )),
            Block::Figures(segments) => {
                out.push_str(&format!("<div>{}</div>", html::line(segments, severity)));
            }
            Block::Warning(warning) => out.push_str(&html::warning_line(warning)),
            Block::Sentence(shown) => out.push_str(&format!("<div>{}</div>", shown.html())),
            Block::Remark(shown) => out.push_str(&html::remark(shown.text())),
            Block::Table(table) => out.push_str(&html_table(table)),
            Block::Curve(curve) => out.push_str(curve),
        }
    }
    out.push_str("</div>");
    out
}

fn html_table(table: &Table) -> String {
    let mut body = String::new();
    let right = |column: usize| {
        table
            .rows
            .iter()
            .any(|row| row.get(column).is_some_and(Cell::is_figure))
    };
    if table.head.iter().any(|word| !word.is_empty()) {
        body.push_str("<tr style=\"background:transparent\">");
        for (column, word) in table.head.iter().enumerate() {
            let align = if right(column) { "right" } else { "left" };
            let style = style::cell(&[("opacity", ".62"), ("text-align", align)]);
            body.push_str(&format!("<td style=\"{style}\">{}</td>", escape(word)));
        }
        body.push_str("</tr>");
    }
    for row in &table.rows {
        body.push_str("<tr style=\"background:transparent\">");
        for cell in row {
            body.push_str(&html_cell(cell));
        }
        body.push_str("</tr>");
    }
    format!(
        "<table style=\"{};{}\"><tbody>{body}</tbody></table>",
        style::TABLE,
        style::SANS
    )
}

fn html_cell(cell: &Cell) -> String {
    let (style, text) = match cell {
        Cell::Name(shown) => (
            style::cell(&[]),
            format!("<code style=\"{}\">{}</code>", style::name(), shown.html()),
        ),
        Cell::Words(shown) => (style::cell(&[("opacity", ".7")]), shown.html()),
        Cell::Aside(shown) => (
            style::cell(&[("opacity", ".7"), ("white-space", "normal")]),
            shown.html(),
        ),
        Cell::Figure(text) => (style::cell(&[("text-align", "right")]), html::figure(text)),
        &Cell::Bar(part, flagged, given_back) => {
            (style::cell(&[]), html::bar(part, flagged, given_back))
        }
    };
    format!("<td style=\"{style}\">{text}</td>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_text_is_aligned_and_has_no_bars() {
        let row = |name: &str, figure: &str| {
            vec![
                Cell::Name(Shown::own(name)),
                Cell::Figure(figure.into()),
                bar(5, 10, false),
                Cell::Words(Shown::own("x")),
            ]
        };
        let table = Table {
            head: vec!["name", "now", "", "kind"],
            rows: vec![row("a", "+1.0 MiB"), row("longer", "+100 MiB")],
        };
        let expected = "  name         now  kind\n  a       +1.0 MiB  x\n  longer  +100 MiB  x";
        assert_eq!(text(&[Block::Table(table)]), expected);
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(-5, 10, true), Cell::Bar(50, true, true));
        assert_eq!(bar(i64::MIN, 1, false), Cell::Bar(100, false, true));
        assert_eq!(bar(0, 0, false), Cell::Bar(0, false, false));
    }
}
