//! A cell at length: `%hygiene why`.

use ledger::{CellRecord, Finding, Past, Status};

use crate::doc::{Block, Cell, Table, bar};
use crate::line::segments;
use crate::size::{Bytes, Delta};
use crate::text::Shown;
use crate::view::{self, View, Warning, word};
use crate::{Options, Severity, cause, html};

/// Longest texts in characters.
const NAME: usize = 60;
const REMARK: usize = 200;
/// Rows of a table; there is room for all that a record holds.
const ROWS: usize = 60;
/// Variables that moved less are counted only.
const SMALL: u64 = 4096;

/// What is told of a cell, and how loud it is.
pub(crate) fn blocks(
    past: &Past,
    findings: &[Finding],
    others: usize,
    options: &Options,
) -> (Vec<Block>, Severity) {
    let record = &past.record;
    let whole = Options {
        details_delta: 0,
        ..options.clone()
    };
    let view = View::of(record, &whole);
    let warnings: Vec<Warning> = findings
        .iter()
        .map(|finding| view::listed(finding, options))
        .collect();
    let severity = view::loudest(&warnings);
    let mut out = vec![Block::Title(title(record)), Block::Figures(segments(&view))];
    out.extend(levels(record).map(Block::Sentence));
    if !view.trace.is_empty() {
        out.push(Block::Curve(html::curve(&view, severity)));
    }
    out.push(Block::Heading("What is kept by accident"));
    if findings.is_empty() {
        out.push(Block::Remark(Shown::own("Nothing of this cell.")));
    }
    for (finding, warning) in findings.iter().zip(&warnings) {
        out.push(Block::Warning(warning.clone()));
        out.push(Block::Remark(evidence(finding)));
    }
    if others > 0 {
        let noun = if others == 1 { "finding" } else { "findings" };
        out.push(Block::Remark(Shown::own(format!(
            "{others} more {noun} of other cells: %hygiene leaks"
        ))));
    }
    out.push(Block::Heading("Where the change went"));
    out.extend(rows(past, &warnings));
    out.extend(
        past.residue_may_be()
            .iter()
            .map(|text| Block::Remark(Shown::new(text, REMARK))),
    );
    let variables = variables(record);
    if !variables.rows.is_empty() {
        out.push(Block::Heading("Variables"));
        out.push(Block::Table(variables));
    }
    out.extend(names(past).map(Block::Remark));
    let gpus = view
        .gpus
        .iter()
        .map(|gpu| Block::Remark(gpu.remark.clone()));
    out.extend(gpus);
    out.extend(
        view.notes()
            .map(|(title, text)| Block::Remark(Shown::own(format!("{title}: {}", text.text())))),
    );
    (out, severity)
}

fn title(record: &CellRecord) -> Shown {
    let cell = &record.cell;
    let mut title = match cell.execution_count {
        Some(number) => format!("Cell [{number}]"),
        None => "A cell without a number".to_owned(),
    };
    if cell.run > 1 {
        title.push_str(&format!(", run {} of this code", cell.run));
    }
    title.push_str(match cell.status {
        Status::Ok => "",
        Status::Error => ", failed",
        Status::Aborted => ", not executed",
    });
    Shown::own(title)
}

/// The readings in words.
fn levels(record: &CellRecord) -> impl Iterator<Item = Shown> {
    let host = &record.host;
    let mut said = Vec::new();
    if let (Some(before), Some(after)) = (host.before, host.after) {
        let mut sentence = format!(
            "Resident memory was {} before and {} after",
            Bytes(before),
            Bytes(after)
        );
        if let Some(peak) = host.peak {
            let bound = if word(&host.peak_quality) == "sampled" {
                "at least "
            } else {
                ""
            };
            let above = peak.saturating_sub(before);
            sentence.push_str(&format!(
                "; the peak was {bound}{}, {} above the start",
                Bytes(peak),
                Bytes(above)
            ));
        }
        said.push(format!("{sentence}."));
    }
    let parts = [
        ("private memory", host.anon),
        ("files", host.file),
        ("shared memory", host.shmem),
        ("swap", host.swap),
    ];
    let moved: Vec<String> = parts
        .into_iter()
        .filter_map(|(what, delta)| {
            Some((
                what,
                delta.filter(|&delta| Delta(delta).to_string() != "+0")?,
            ))
        })
        .map(|(what, delta)| format!("{what} {}", Delta(delta)))
        .collect();
    if !moved.is_empty() {
        said.push(format!("By kind of page: {}.", moved.join(", ")));
    }
    if let Some(limit) = host.limit {
        let share = record
            .limit_share
            .map(|share| format!(", {:.0} % in use", share * 100.0));
        said.push(format!(
            "The limit is {} ({}){}.",
            Bytes(limit),
            word(&host.limit_source),
            share.unwrap_or_default()
        ));
    }
    said.into_iter().map(Shown::own)
}

/// How a finding is known, and where its cause is explained.
fn evidence(finding: &Finding) -> Shown {
    let culprit = view::culprit(finding);
    Shown::own(format!(
        "{} · {} · {} holds {} · %hygiene help {}",
        cause::title(&word(&finding.cause)).text(),
        word(&finding.confidence),
        culprit.text(),
        Bytes(finding.bytes),
        word(&finding.cause),
    ))
}

fn rows(past: &Past, warnings: &[Warning]) -> Vec<Block> {
    let ledger = &past.record.ledger;
    let sizes = ledger
        .rows
        .iter()
        .map(|row| row.bytes)
        .chain(ledger.residue);
    let largest = sizes.map(i64::unsigned_abs).max().unwrap_or(0);
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for row in ledger.rows.iter().take(ROWS) {
        let name = Shown::new(&row.owner, NAME);
        let space = word(&row.space);
        let on = if space == "host" {
            String::new()
        } else {
            format!(" on {}", space.to_uppercase())
        };
        let kind = format!("{}{on}", cause::title(&word(&row.cause)).text());
        let flagged = warnings.iter().any(|warning| warning.culprit == name);
        rows.push(vec![
            Cell::Name(name),
            Cell::Words(Shown::new(&kind, NAME)),
            Cell::Figure(Delta(row.bytes).to_string()),
            bar(row.bytes, largest, flagged),
            Cell::Aside(Shown::new(&row.evidence, REMARK)),
        ]);
    }
    if let Some(residue) = ledger.residue {
        let explained = ledger.explained.filter(|part| (0.0..=1.0).contains(part));
        let explained = explained.map(|part| format!("{:.0} % explained", (part * 100.0).floor()));
        rows.push(vec![
            Cell::Name(Shown::own("—")),
            Cell::Words(Shown::own("unattributed")),
            Cell::Figure(Delta(residue).to_string()),
            bar(residue, largest, false),
            Cell::Aside(Shown::own(explained.unwrap_or_default())),
        ]);
    }
    if rows.is_empty() {
        return vec![Block::Remark(Shown::own("Nothing is known."))];
    }
    let head = vec!["who", "what", "change", "", "how it is known"];
    vec![Block::Table(Table { head, rows })]
}

fn variables(record: &CellRecord) -> Table {
    let rows = record
        .variables
        .iter()
        .filter(|variable| variable.delta.unsigned_abs() >= SMALL)
        .take(ROWS);
    let rows = rows.map(|variable| {
        let bound = if variable.at_least { "\u{2265} " } else { "" };
        vec![
            Cell::Name(Shown::new(&variable.name, NAME)),
            Cell::Words(Shown::new(
                &format!("{} {}", variable.type_name, variable.detail),
                NAME,
            )),
            Cell::Figure(format!("{bound}{}", Bytes(variable.bytes))),
            Cell::Figure(Delta(variable.delta).to_string()),
            Cell::Words(Shown::own(word(&variable.change))),
        ]
    });
    Table {
        head: vec!["name", "type", "holds", "change", ""],
        rows: rows.collect(),
    }
}

/// Which names came, went and changed.
fn names(past: &Past) -> impl Iterator<Item = Shown> {
    let counts = &past.record.counts;
    let kinds = [
        ("New names", &past.new, counts.new),
        ("Dropped names", &past.dropped, counts.dropped),
        ("Bound anew or resized", &past.changed, counts.changed),
    ];
    kinds
        .into_iter()
        .filter(|(_, names, _)| !names.is_empty())
        .map(|(title, names, count)| {
            let shown: Vec<String> = names
                .iter()
                .map(|name| Shown::new(name, NAME).text().to_owned())
                .collect();
            let more = count.saturating_sub(names.len() as u64);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            Shown::own(format!("{title}: {}{more}.", shown.join(", ")))
        })
}
