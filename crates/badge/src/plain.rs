//! The badge as plain text: one line, and one a warning.

use crate::line::{Segment, segments};
use crate::view::View;

const MARK: &str = "[hygiene]";

pub(crate) fn badge(view: &View) -> String {
    let mut out = format!("{MARK} {}", line(&segments(view)));
    for warning in &view.warnings {
        out.push_str(&format!(
            "\n{MARK} ! {}: {}",
            warning.title.text(),
            warning.message.text()
        ));
        if !warning.hint.is_empty() {
            out.push_str(&format!("  -> {}", warning.hint.text()));
        }
    }
    if let Some(more) = view.more_warnings() {
        out.push_str(&format!("\n{MARK} ! {more}"));
    }
    for (title, text) in view.notes() {
        out.push_str(&format!("\n{MARK} {title}: {}", text.text()));
    }
    out
}

fn line(segments: &[Segment]) -> String {
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
