//! Colours, fonts and inline styles.
//!
//! JupyterLab's sanitiser drops `<style>`, `<svg>`, `var()`, `currentColor`, `hsl()`, `calc()`, `aria-*` and `data-*`; every
//! property and value here is one that it keeps (`tests/sanitiser.rs`). Text inherits its colour, so it follows any theme; colour
//! is decoration only: the edge, a tint, the sign of a warning, bars and the curve.

use crate::Severity;

pub(crate) const AMBER: &str = "#e08c1a";
pub(crate) const RED: &str = "#e03131";
pub(crate) const BLUE: &str = "#3b82f6";

pub(crate) const SANS: &str =
    "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif";
const MONO: &str = "font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace";

/// Colour of what a severity draws: the sign, the curve.
pub(crate) fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Quiet => BLUE,
        Severity::Notable => AMBER,
        Severity::Leak => RED,
    }
}

/// The box around everything.
pub(crate) fn frame(severity: Severity) -> String {
    let (edge, tint) = match severity {
        Severity::Quiet => ("rgba(128,128,128,.35)", "transparent"),
        Severity::Notable => (AMBER, "rgba(217,119,6,.09)"),
        Severity::Leak => (RED, "rgba(220,38,38,.09)"),
    };
    format!(
        "{SANS};font-size:12px;line-height:1.55;text-align:left;margin:3px 0 1px 0;padding:1px 8px 1px 8px;\
         border-left:3px solid {edge};background:{tint};border-radius:2px;display:block;max-width:860px"
    )
}

/// A line of code to run. It may wrap, since a notebook's output area scrolls sideways badly; a `long` one is a block.
pub(crate) fn hint(long: bool) -> String {
    let place = if long {
        "display:block;margin:2px 0 1px 0;padding:2px 6px"
    } else {
        "padding:1px 5px"
    };
    format!(
        "{MONO};font-size:11px;background:rgba(128,128,128,.16);border:none;border-radius:3px;{place};\
         white-space:pre-wrap;overflow-wrap:break-word"
    )
}

/// A name in the table.
pub(crate) fn name() -> String {
    format!("{MONO};font-size:11.5px;background:transparent;border:none;padding:0")
}

pub(crate) const TABLE: &str =
    "border-collapse:collapse;border:none;margin:2px 0 4px 0;width:auto;background:transparent";

/// A cell of the table; `more` adds to or replaces its properties.
pub(crate) fn cell(more: &[(&str, &str)]) -> String {
    let base = [
        ("border", "none"),
        ("padding", "1px 10px 1px 0"),
        ("text-align", "left"),
        ("font-size", "11.5px"),
        ("line-height", "1.5"),
        ("vertical-align", "middle"),
        ("white-space", "nowrap"),
    ];
    let kept = base
        .iter()
        .filter(|(key, _)| more.iter().all(|(other, _)| other != key));
    kept.chain(more)
        .map(|(key, value)| format!("{key}:{value}"))
        .collect::<Vec<_>>()
        .join(";")
}
