//! The badge as plain text: one line, and one a warning; a list as one line a finding.

use crate::line::{Segment, segments};
use crate::view::{List, View, Warning};

pub(crate) const MARK: &str = "[hygiene]";
/// What a list without findings says.
pub(crate) const NOTHING: &str = "nothing is kept by accident";

pub(crate) fn badge(view: &View) -> String {
    let mut out = format!("{MARK} {}", line(&segments(view)));
    for warning in &view.warnings {
        out.push_str(&format!("\n{MARK} ! {}", sentence(warning)));
    }
    if let Some(more) = view.more_warnings() {
        out.push_str(&format!("\n{MARK} ! {more}"));
    }
    for (title, text) in view.notes() {
        out.push_str(&format!("\n{MARK} {title}: {}", text.text()));
    }
    out
}

pub(crate) fn list(list: &List) -> String {
    if list.findings.is_empty() {
        return format!("{MARK} {NOTHING}");
    }
    let sentences = list.findings.iter().map(sentence).chain(list.more());
    let lines: Vec<String> = sentences.map(|text| format!("{MARK} {text}")).collect();
    lines.join("\n")
}

pub(crate) fn sentence(warning: &Warning) -> String {
    let mut out = format!("{}: {}", warning.title.text(), warning.message.text());
    if !warning.hint.is_empty() {
        out.push_str(&format!("  -> {}", warning.hint.text()));
    }
    out
}

pub(crate) fn line(segments: &[Segment]) -> String {
    let words = |segment: &Segment| {
        [&segment.label, &segment.value, &segment.aside]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    segments.iter().map(words).collect::<Vec<_>>().join(" · ")
}
