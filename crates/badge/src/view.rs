//! What a badge says of a record. The only place that knows the fields of the record, and where each text is cleaned.

use ledger::{CellRecord, Finding};
use meter::{Children, Gpu, Host};
use serde::Serialize;
use serde_json::Value;

use crate::size::{Bytes, Delta, NOISE};
use crate::spark::{self, Point};
use crate::text::Shown;
use crate::{Options, Severity, cause, rows};

/// Warning lines shown; the others are counted.
const WARNINGS: usize = 4;
/// Notes (notices and cleanup steps) shown.
const NOTES: usize = 3;
/// Longest texts in characters.
const MESSAGE: usize = 240;
/// The longest hint in characters. A hint is there to be run, so a longer one is not cut: another command takes its place.
const HINT: usize = 400;
/// Where the whole hint is told.
const LEAKS: &str = "%hygiene leaks";
const NAME: usize = 40;
const DETAIL: usize = 48;
const REMARK: usize = 80;
/// Findings that a list shows; the others are counted. Its messages have more room than those of a badge.
const LISTED: usize = 100;
const LISTED_MESSAGE: usize = 1_000;

/// A measured figure of one space, bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figure {
    pub(crate) after: Option<u64>,
    pub(crate) delta: Option<i64>,
    pub(crate) peak: Option<u64>,
    pub(crate) peak_is_sampled: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ChildrenView {
    pub(crate) count: u64,
    pub(crate) delta: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GpuView {
    pub(crate) index: u32,
    pub(crate) figure: Figure,
    /// What must be known to read the figure right: the device, the quality, a framework's own counters.
    pub(crate) remark: Shown,
}

/// A finding that is worth a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Warning {
    pub(crate) severity: Severity,
    pub(crate) title: Shown,
    pub(crate) message: Shown,
    pub(crate) hint: Shown,
    pub(crate) culprit: Shown,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowView {
    pub(crate) name: Shown,
    pub(crate) kind: Shown,
    pub(crate) delta: i64,
    /// The size is a lower bound.
    pub(crate) at_least: bool,
    pub(crate) remark: Shown,
    /// A warning is about this.
    pub(crate) flagged: bool,
}

/// What a list of findings says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct List {
    pub(crate) findings: Vec<Warning>,
    further: usize,
}

impl List {
    pub(crate) fn of(findings: &[Finding], options: &Options) -> Self {
        Self {
            findings: findings
                .iter()
                .take(LISTED)
                .map(|f| listed(f, options))
                .collect(),
            further: findings.len().saturating_sub(LISTED),
        }
    }

    pub(crate) fn severity(&self) -> Severity {
        loudest(&self.findings)
    }

    /// A sentence about the findings that found no place.
    pub(crate) fn more(&self) -> Option<String> {
        (self.further > 0).then(|| format!("{} more findings", self.further))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) wall_s: Option<f64>,
    pub(crate) ram: Figure,
    pub(crate) limit: Option<u64>,
    /// Of the limit, in per cent.
    pub(crate) limit_share: Option<u64>,
    pub(crate) children: Option<ChildrenView>,
    pub(crate) gpus: Vec<GpuView>,
    pub(crate) new_variables: u64,
    pub(crate) dropped_variables: u64,
    pub(crate) warnings: Vec<Warning>,
    further_warnings: usize,
    notices: Vec<Shown>,
    cleaned: Option<Shown>,
    /// Empty where the cell is too small for a panel, as is `trace`.
    pub(crate) rows: Vec<RowView>,
    pub(crate) trace: Vec<Point>,
}

impl View {
    pub(crate) fn of(record: &CellRecord, options: &Options) -> Self {
        let mut warnings: Vec<(&Finding, Severity)> = record
            .findings
            .iter()
            .filter_map(|f| Some((f, severity(f, options)?)))
            .collect();
        // The record has the worst first; this only keeps a leak from standing below something that is merely notable.
        warnings.sort_by_key(|&(_, severity)| std::cmp::Reverse(severity));
        let further_warnings = warnings.len().saturating_sub(WARNINGS);
        let warnings: Vec<Warning> = warnings
            .into_iter()
            .take(WARNINGS)
            .map(|(f, s)| warning(f, s))
            .collect();
        let details = !warnings.is_empty() || largest_delta(record) >= options.details_delta;
        Self {
            wall_s: record.wall_s,
            ram: ram(&record.host),
            limit: record.host.limit,
            limit_share: limit_share(record),
            children: record.host.children.as_ref().map(children),
            gpus: record.gpu.iter().map(gpu).collect(),
            new_variables: record.counts.new,
            dropped_variables: record.counts.dropped,
            further_warnings,
            notices: record
                .notices
                .iter()
                .take(NOTES)
                .map(|text| Shown::new(text, MESSAGE))
                .collect(),
            cleaned: cleaned(&record.steps),
            rows: if details {
                rows::of(variables(record), ledger_rows(record), &warnings)
            } else {
                Vec::new()
            },
            trace: if details { trace(record) } else { Vec::new() },
            warnings,
        }
    }

    pub(crate) fn severity(&self) -> Severity {
        loudest(&self.warnings)
    }

    /// A sentence about the warnings that found no place.
    pub(crate) fn more_warnings(&self) -> Option<String> {
        (self.further_warnings > 0)
            .then(|| format!("{} more findings: {LEAKS}", self.further_warnings))
    }

    /// Titles and texts of what is neither a figure nor a warning.
    pub(crate) fn notes(&self) -> impl Iterator<Item = (&'static str, &Shown)> {
        let steps = self.cleaned.iter().map(|text| ("Cleaned up", text));
        steps.chain(self.notices.iter().map(|text| ("Note", text)))
    }
}

pub(crate) fn loudest(warnings: &[Warning]) -> Severity {
    let severities = warnings.iter().map(|w| w.severity);
    severities.max().unwrap_or(Severity::Quiet)
}

/// The largest change of any space in bytes.
pub(crate) fn largest_delta(record: &CellRecord) -> u64 {
    let children = record.host.children.as_ref().and_then(|c| c.delta);
    let gpus = record.gpu.iter().map(|gpu| gpu.delta);
    gpus.chain([record.host.delta, children])
        .flatten()
        .map(i64::unsigned_abs)
        .max()
        .unwrap_or(0)
}

/// How loud a finding is; `None` if it gets no line. A guess never makes a warning (cell record, "A finding"). An intended large
/// load is no news either: the figures say it.
pub(crate) fn severity(finding: &Finding, options: &Options) -> Option<Severity> {
    if word(&finding.confidence) == "possible" {
        None
    } else if finding.leak {
        Some(Severity::Leak)
    } else {
        let news = !is_variable(&word(&finding.cause)) && finding.bytes >= options.details_delta;
        news.then_some(Severity::Notable)
    }
}

/// Whether a cause is nothing but variables of the user, which the table shows by their types.
pub(crate) fn is_variable(cause: &str) -> bool {
    matches!(cause, "variables" | "user_growth")
}

/// A warning of a badge: short, since it was not asked for.
fn warning(finding: &Finding, severity: Severity) -> Warning {
    Warning {
        severity,
        title: title(finding),
        message: message(finding, MESSAGE),
        hint: hint(&finding.hint),
        culprit: culprit(finding),
    }
}

/// A line of a list: whole, and quiet where a badge would say nothing.
pub(crate) fn listed(finding: &Finding, options: &Options) -> Warning {
    Warning {
        severity: severity(finding, options).unwrap_or(Severity::Quiet),
        title: title(finding),
        message: message(finding, LISTED_MESSAGE),
        hint: Shown::code(&finding.hint),
        culprit: culprit(finding),
    }
}

fn title(finding: &Finding) -> Shown {
    match (finding.leak, word(&finding.confidence).as_str()) {
        (true, "certain") => Shown::own("Leak"),
        (true, "possible") => Shown::own("Possible leak"),
        (true, _) => Shown::own("Leak suspected"),
        (false, _) => cause::title(&word(&finding.cause)),
    }
}

pub(crate) fn culprit(finding: &Finding) -> Shown {
    Shown::new(&finding.culprit.name, NAME)
}

fn message(finding: &Finding, max: usize) -> Shown {
    let message = Shown::new(&finding.message, max);
    if !message.is_empty() {
        return message;
    }
    Shown::own(format!(
        "{} holds {}.",
        culprit(finding).text(),
        Bytes(finding.bytes)
    ))
}

fn hint(hint: &str) -> Shown {
    if hint.chars().count() > HINT {
        Shown::own(LEAKS)
    } else {
        Shown::code(hint)
    }
}

/// A share past any sense is cut off, so that it fits the line.
fn limit_share(record: &CellRecord) -> Option<u64> {
    let percent = record.limit_share? * 100.0;
    (percent >= 0.0).then_some(percent.min(999.0) as u64)
}

fn ram(host: &Host) -> Figure {
    Figure {
        after: host.after,
        delta: host.delta,
        peak: host.peak,
        peak_is_sampled: word(&host.peak_quality) == "sampled",
    }
}

fn children(children: &Children) -> ChildrenView {
    ChildrenView {
        count: children.count,
        delta: children.delta,
    }
}

pub(crate) fn gpu(gpu: &Gpu) -> GpuView {
    let mut said = vec![Shown::new(&word(&gpu.name), NAME).text().to_owned()];
    said.extend(gpu.used.map(|used| format!("{} in use", Bytes(used))));
    match word(&gpu.quality).as_str() {
        "device_delta" => said.push("figures of the whole device".to_owned()),
        "framework" => said.push("figures of the framework".to_owned()),
        _ => {}
    }
    said.retain(|part| !part.is_empty());
    let mut remark = format!("GPU{}: {}", gpu.index, said.join(", "));
    for (name, counters) in gpu.frameworks.iter().take(2) {
        if let (Some(live), Some(cached)) = (counters.live, counters.cached) {
            let name = Shown::new(name, NAME);
            remark.push_str(&format!(
                "; {}: {} live, {} cached",
                name.text(),
                Bytes(live),
                Bytes(cached)
            ));
        }
    }
    let figure = Figure {
        after: gpu.used,
        delta: gpu.delta,
        peak: gpu.peak,
        peak_is_sampled: true,
    };
    GpuView {
        index: gpu.index,
        figure,
        remark: Shown::own(remark),
    }
}

/// The cleanup steps that gave something back, in one line; nothing if none did.
fn cleaned(steps: &[ledger::StepDone]) -> Option<Shown> {
    let useful: Vec<(String, String)> = steps
        .iter()
        .filter_map(|step| {
            let released = [
                (step.released.host, ""),
                (step.released.gpu, " of GPU memory"),
            ];
            let amounts: Vec<String> = released
                .into_iter()
                .filter_map(|(bytes, of)| Some((u64::try_from(bytes?).ok()?, of)))
                .filter(|&(bytes, _)| bytes >= NOISE)
                .map(|(bytes, of)| format!("{}{of}", Bytes(bytes)))
                .collect();
            let name = word(&step.step).replace('_', " ");
            let trigger = Shown::new(&word(&step.trigger).replace('_', " "), NAME);
            let text = format!(
                "{} {}",
                Shown::new(&name, NAME).text(),
                amounts.join(" and ")
            );
            (!amounts.is_empty()).then(|| (text, trigger.text().to_owned()))
        })
        .collect();
    let (_, last) = useful.last()?;
    let mut told: Vec<String> = useful
        .iter()
        .take(NOTES)
        .map(|(text, _)| text.clone())
        .collect();
    if useful.len() > NOTES {
        told.push(format!("{} more", useful.len() - NOTES));
    }
    let mut text = told.join(", ");
    if !last.is_empty() && useful.iter().all(|(_, trigger)| trigger == last) {
        text.push_str(&format!(" ({last})"));
    }
    Some(Shown::own(text))
}

/// The variables that changed.
fn variables(record: &CellRecord) -> Vec<RowView> {
    let row = |v: &ledger::VariableChange| RowView {
        name: Shown::new(&v.name, NAME),
        kind: Shown::new(&format!("{} {}", v.type_name, v.detail), DETAIL),
        delta: v.delta,
        at_least: v.at_least,
        remark: Shown::new(&word(&v.change), REMARK),
        flagged: false,
    };
    record.variables.iter().map(row).collect()
}

/// The rows of the ledger, largest first as far as they matter, and its residue.
fn ledger_rows(record: &CellRecord) -> rows::LedgerView {
    let ledger = &record.ledger;
    let row = |row: &ledger::Row| {
        let space = word(&row.space);
        let mut kind = cause::title(&word(&row.cause)).text().to_owned();
        if space != "host" && !space.is_empty() {
            kind.push_str(&format!(" on {}", space.to_uppercase()));
        }
        let row_view = RowView {
            name: Shown::new(&row.owner, NAME),
            kind: Shown::new(&kind, DETAIL),
            delta: row.bytes,
            at_least: false,
            remark: Shown::new(&word(&row.evidence), REMARK),
            flagged: false,
        };
        // The table shows variables by their types, but for what they hold elsewhere than in the interpreter's memory.
        (row_view, space == "host" && is_variable(&word(&row.cause)))
    };
    rows::LedgerView {
        rows: ledger.rows.iter().map(row).collect(),
        residue: ledger.residue,
        explained: ledger.explained.filter(|part| (0.0..=1.0).contains(part)),
    }
}

pub(crate) fn trace(record: &CellRecord) -> Vec<Point> {
    spark::reduce(record.timeline.iter().map(|sample| Point {
        t_s: sample.t_s,
        bytes: sample.rss,
    }))
}

/// The word that a field is written as in the record, whether its type is text, an enumeration or optional.
pub(crate) fn word<T: Serialize>(field: &T) -> String {
    match serde_json::to_value(field) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) | Err(_) => String::new(),
        Ok(other) => other.to_string(),
    }
}

impl RowView {
    /// The change as it is written in the table.
    pub(crate) fn amount(&self) -> String {
        let bound = if self.at_least { "\u{2265} " } else { "" };
        format!("{bound}{}", Delta(self.delta))
    }
}
