//! The one line of figures, as segments that text and HTML write in their own way.

use crate::duration::Seconds;
use crate::size::{Bytes, Delta};
use crate::view::{Figure, View};

/// A peak says more than the figure after the cell only if it is higher by this many bytes.
const PEAK_SAYS_MORE: u64 = 1 << 20;
/// Child processes are mentioned from this change on.
const CHILDREN_SAY_MORE: u64 = 1 << 20;
/// From this share of the limit on, in per cent, the limit is mentioned.
const NEAR_LIMIT: u64 = 70;
/// GPUs that get a segment of their own.
const GPUS: usize = 4;

/// One part of the line, such as `RAM +512 MiB (peak 1.4 GiB)`. The texts are our own and figures: nothing of the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    /// What the value is of; may be empty.
    pub(crate) label: String,
    /// The figure.
    pub(crate) value: String,
    /// Said in passing after it; may be empty.
    pub(crate) aside: String,
    /// Whether this is the figure that a warning is about.
    pub(crate) strong: bool,
}

impl Segment {
    fn of(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
            ..Self::default()
        }
    }
}

/// The segments in their order.
pub(crate) fn segments(view: &View) -> Vec<Segment> {
    let mut line = Vec::new();
    if let Some(s) = view.wall_s.filter(|s| s.is_finite()) {
        line.push(Segment::of("", Seconds(s).to_string()));
    }
    if let Some(mut ram) = figure("RAM", &view.ram) {
        ram.strong = true;
        line.push(ram);
    }
    line.extend(share_of_limit(view));
    if let Some(children) = &view.children
        && children
            .delta
            .is_some_and(|d| d.unsigned_abs() >= CHILDREN_SAY_MORE)
    {
        let noun = if children.count == 1 {
            "child process"
        } else {
            "child processes"
        };
        let delta = Delta(children.delta.unwrap_or_default());
        line.push(Segment::of(
            format!("{} {noun}", children.count),
            delta.to_string(),
        ));
    }
    gpus(view, &mut line);
    line.push(Segment::of("", variables(view)));
    line
}

fn figure(label: &str, figure: &Figure) -> Option<Segment> {
    let value = match (figure.delta, figure.after) {
        (Some(delta), _) => Delta(delta).to_string(),
        (None, Some(after)) => Bytes(after).to_string(),
        (None, None) if figure.peak.is_some() => "?".to_owned(),
        (None, None) => return None,
    };
    let mut segment = Segment::of(label, value);
    let more = figure.peak.filter(|&peak| {
        figure
            .after
            .is_none_or(|after| peak.saturating_sub(after) >= PEAK_SAYS_MORE)
    });
    if let Some(peak) = more {
        // Samples can miss the top, so a sampled peak is a lower bound and says so.
        let bound = if figure.peak_is_sampled {
            "\u{2265} "
        } else {
            ""
        };
        segment.aside = format!("(peak {bound}{})", Bytes(peak));
    }
    Some(segment)
}

fn share_of_limit(view: &View) -> Option<Segment> {
    let limit = view.limit.filter(|&limit| limit > 0)?;
    let share = view.limit_share.filter(|&share| share >= NEAR_LIMIT)?;
    Some(Segment::of(
        "",
        format!("{share} % of {} limit", Bytes(limit)),
    ))
}

/// A machine with eight GPUs of which one is in use gets one segment, not eight.
fn gpus(view: &View, line: &mut Vec<Segment>) {
    let shown: Vec<_> = view
        .gpus
        .iter()
        .filter_map(|gpu| Some((gpu, figure(&format!("GPU{}", gpu.index), &gpu.figure)?)))
        .collect();
    if shown.len() <= 1 {
        line.extend(shown.into_iter().map(|(_, segment)| segment));
        return;
    }
    let (moved, still): (Vec<_>, Vec<_>) = shown
        .into_iter()
        .partition(|(_, segment)| segment.value != "+0" || !segment.aside.is_empty());
    let more = moved.len().saturating_sub(GPUS);
    let none_moved = moved.is_empty();
    line.extend(moved.into_iter().take(GPUS).map(|(_, segment)| segment));
    if more > 0 {
        line.push(Segment::of("", format!("{more} more GPUs")));
    } else if none_moved {
        line.push(Segment::of(format!("{} GPUs", still.len()), "+0"));
    }
}

fn variables(view: &View) -> String {
    let noun = if view.new_variables == 1 {
        "new var"
    } else {
        "new vars"
    };
    let mut text = format!("{} {noun}", view.new_variables);
    if view.dropped_variables > 0 {
        text.push_str(&format!(", {} dropped", view.dropped_variables));
    }
    text
}
