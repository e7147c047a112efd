//! The badge as HTML that every front end shows and no sanitiser harms.

use crate::line::{Segment, segments};
use crate::plain::NOTHING;
use crate::size::{Bytes, NOISE};
use crate::spark;
use crate::style;
use crate::text::{Shown, escape};
use crate::view::{List, RowView, View, Warning};
use crate::{Options, Severity};

/// Real spaces around the dot: with all styles stripped the line still reads well.
const DOT: &str = " <span style=\"opacity:.4;padding:0 3px\">·</span> ";

/// A hint of more characters stands below its message in a box of its own.
const LONG_HINT: usize = 72;

pub(crate) fn badge(view: &View, options: &Options) -> String {
    let severity = view.severity();
    let mut out = format!("<div style=\"{}\">", style::frame(severity));
    for warning in &view.warnings {
        out.push_str(&warning_line(warning));
    }
    if let Some(more) = view.more_warnings() {
        out.push_str(&remark(&more));
    }
    for (title, text) in view.notes() {
        out.push_str(&note(title, text));
    }
    let line = line(&segments(view), severity);
    if view.rows.is_empty() && view.trace.is_empty() {
        out.push_str(&format!("<div>{line}</div>"));
    } else {
        let open = if options.open { " open" } else { "" };
        // `list-item`: the classic notebook's style sheet would hide the triangle.
        out.push_str(&format!(
            "<details{open} style=\"display:block;margin:0;padding:0\">\
             <summary style=\"display:list-item;cursor:pointer;margin:0;padding:0\">{line}</summary>{}{}{}</details>",
            curve(view, severity),
            gpu_remarks(view, options),
            table(&view.rows),
        ));
    }
    out.push_str("</div>");
    out
}

pub(crate) fn list(list: &List) -> String {
    let mut out = format!("<div style=\"{}\">", style::frame(list.severity()));
    for finding in &list.findings {
        out.push_str(&warning_line(finding));
    }
    if list.findings.is_empty() {
        out.push_str(&remark(NOTHING));
    }
    if let Some(more) = list.more() {
        out.push_str(&remark(&more));
    }
    out.push_str("</div>");
    out
}

pub(crate) fn remark(text: &str) -> String {
    format!("<div style=\"opacity:.72\">{}</div>", escape(text))
}

pub(crate) fn line(segments: &[Segment], severity: Severity) -> String {
    let loud = severity != Severity::Quiet;
    let parts: Vec<String> = segments.iter().map(|s| segment(s, loud)).collect();
    let opacity = if loud { ".9" } else { ".72" };
    format!(
        "<span style=\"opacity:{opacity}\">{}</span>",
        parts.join(DOT)
    )
}

fn segment(segment: &Segment, loud: bool) -> String {
    let mut out = String::from("<span style=\"white-space:nowrap\">");
    if !segment.label.is_empty() {
        out.push_str(&format!(
            "<span style=\"opacity:.62\">{}</span>\u{a0}",
            figure(&segment.label)
        ));
    }
    let value = figure(&segment.value);
    if segment.strong && loud {
        out.push_str(&format!("<span style=\"font-weight:600\">{value}</span>"));
    } else {
        out.push_str(&value);
    }
    out.push_str("</span>");
    if !segment.aside.is_empty() {
        // A real space before it, so that a narrow window may break the line here.
        out.push_str(&format!(
            " <span style=\"opacity:.62;white-space:nowrap\">{}</span>",
            figure(&segment.aside)
        ));
    }
    out
}

/// A figure and its unit stay on one line.
pub(crate) fn figure(text: &str) -> String {
    escape(text).replace(' ', "\u{a0}")
}

pub(crate) fn warning_line(warning: &Warning) -> String {
    let sign = match warning.severity {
        Severity::Quiet => "opacity:.5".to_owned(),
        loud => format!("color:{}", style::colour(loud)),
    };
    // U+FE0E asks for the sign as text: as an emoji it would bring its own colours.
    let mut out = format!(
        "<div style=\"padding:1px 0 2px 0\"><span style=\"{sign}\">\u{26a0}\u{fe0e}</span>\u{a0}\
         <span style=\"font-weight:600\">{}:</span> <span>{}</span>",
        warning.title.html(),
        warning.message.html(),
    );
    if !warning.hint.is_empty() {
        out.push_str(&format!(
            " <code style=\"{}\">{}</code>",
            style::hint(warning.hint.text().chars().count() > LONG_HINT),
            warning.hint.html()
        ));
    }
    out.push_str("</div>");
    out
}

fn note(title: &str, text: &Shown) -> String {
    format!(
        "<div style=\"opacity:.72\"><span style=\"font-weight:600\">{title}:</span> {}</div>",
        text.html()
    )
}

pub(crate) fn curve(view: &View, severity: Severity) -> String {
    if view.trace.is_empty() {
        return String::new();
    }
    let peak = view
        .ram
        .peak
        .or_else(|| view.trace.iter().map(|p| p.bytes).max())
        .unwrap_or(0);
    format!(
        "<div style=\"padding:4px 0 2px 0\"><img alt=\"RSS over the cell: {}\" width=\"{}\" height=\"{}\" \
         style=\"display:inline-block;vertical-align:middle;margin:0;background:transparent\" src=\"{}\"/> \
         <span style=\"opacity:.6;font-size:11px;padding-left:8px\">RSS during the cell, peak {}</span></div>",
        spark::blocks(&view.trace),
        spark::WIDTH,
        spark::HEIGHT,
        spark::data_uri(&view.trace, style::colour(severity)),
        figure(&Bytes(peak).to_string()),
    )
}

/// What must be known of a GPU whose figure moved.
fn gpu_remarks(view: &View, options: &Options) -> String {
    let moved = |delta: Option<i64>| {
        delta.is_some_and(|d| d.unsigned_abs() >= options.details_delta.max(NOISE))
    };
    view.gpus
        .iter()
        .filter(|gpu| moved(gpu.figure.delta))
        .take(4)
        .map(|gpu| {
            format!(
                "<div style=\"opacity:.6;font-size:11px\">{}</div>",
                gpu.remark.html()
            )
        })
        .collect()
}

fn table(rows: &[RowView]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let largest = rows
        .iter()
        .map(|row| row.delta.unsigned_abs())
        .max()
        .unwrap_or(0)
        .max(1);
    let body: String = rows.iter().map(|row| table_row(row, largest)).collect();
    format!(
        "<table style=\"{};{}\"><tbody>{body}</tbody></table>",
        style::TABLE,
        style::SANS
    )
}

fn table_row(row: &RowView, largest: u64) -> String {
    let cells = [
        (
            style::cell(&[]),
            format!(
                "<code style=\"{}\">{}</code>",
                style::name(),
                row.name.html()
            ),
        ),
        (style::cell(&[("opacity", ".7")]), row.kind.html()),
        (
            style::cell(&[("text-align", "right")]),
            figure(&row.amount()),
        ),
        (style::cell(&[]), bar_of(row, largest)),
        (
            style::cell(&[("opacity", ".7"), ("white-space", "normal")]),
            row.remark.html(),
        ),
    ];
    let cells: String = cells
        .iter()
        .map(|(style, text)| format!("<td style=\"{style}\">{text}</td>"))
        .collect();
    format!("<tr style=\"background:transparent\">{cells}</tr>")
}

/// A bar as long as the row's share of the largest row.
fn bar_of(row: &RowView, largest: u64) -> String {
    let size = row.delta.unsigned_abs();
    let part = u128::from(size) * 100 / u128::from(largest);
    let part = if size < NOISE {
        0
    } else {
        part.clamp(1, 100) as u64
    };
    bar(part, row.flagged, row.delta < 0)
}

/// A bar of `part` of 100; short ones stay visible.
pub(crate) fn bar(part: u64, flagged: bool, given_back: bool) -> String {
    let colour = match (part, flagged) {
        (0, _) => "transparent",
        (_, true) => style::AMBER,
        (_, false) => style::BLUE,
    };
    let part = part.clamp(2, 100);
    // What was given back is drawn paler than what was taken.
    let opacity = if given_back { ";opacity:.45" } else { "" };
    format!(
        "<span style=\"display:inline-block;width:90px;height:6px;border-radius:3px;background:rgba(128,128,128,.18);\
         vertical-align:middle;line-height:0\"><span style=\"display:inline-block;width:{part}%;height:6px;\
         border-radius:3px;background:{colour};vertical-align:top{opacity}\"></span></span>"
    )
}
