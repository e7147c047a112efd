//! The findings that hold: brought up to date by each detector, told when they are news, ended when their memory is gone.

use std::collections::BTreeMap;

use crate::causes::{Detector, Scope, Verdict};
use crate::facts::Facts;
use crate::record::{Cause, Confidence, CulpritKind, Finding};

/// A finding is told again when it has grown by this factor; until then the person knows.
const TOLD_AGAIN: f64 = 1.5;

#[derive(Debug)]
pub(super) struct Open {
    pub finding: Finding,
    /// What the code of the cell that made it says.
    pub remark: Option<String>,
    /// The number of the detector that found it: two may share a cause.
    pub detector: usize,
    /// The source whose cell made it.
    pub source: String,
    /// The size that the person has been told.
    pub told: u64,
}

impl Open {
    /// Whether it says only that memory grew.
    pub fn is_unexplained(&self) -> bool {
        is_unexplained(&self.finding)
    }
}

/// Whether a finding says only that memory grew.
pub(super) fn is_unexplained(finding: &Finding) -> bool {
    finding.cause == Cause::NativeLeak
        || (finding.cause == Cause::UserGrowth && finding.culprit.kind == CulpritKind::Holder)
}

/// Brings the open findings of one detector up to date and answers with what the person should be told now.
pub(super) fn take(
    open: &mut BTreeMap<String, Open>,
    (number, detector): (usize, &Detector),
    source: &str,
    verdict: Verdict,
    remark: impl Fn(&Finding) -> Option<String>,
) -> Vec<Finding> {
    let found = match verdict {
        Verdict::Unknown => return Vec::new(),
        Verdict::Gone => Vec::new(),
        Verdict::Holds(findings) => findings,
    };
    open.retain(|id, one| {
        one.detector != number
            || (detector.scope == Scope::Source && one.source != source)
            || found.iter().any(|finding| finding.id == *id)
    });
    let mut told = Vec::new();
    for mut finding in found {
        let before = open.get(&finding.id);
        let bytes = before.map_or(0, |one| one.told);
        let surer = before.is_some_and(|one| finding.confidence > one.finding.confidence);
        let news = bytes == 0 || surer || finding.bytes as f64 >= bytes as f64 * TOLD_AGAIN;
        // A remark about the cell that made it holds on while later cells only find it again.
        let earlier = before.and_then(|one| one.remark.clone());
        let said = news.then(|| remark(&finding)).flatten().or(earlier);
        if let Some(said) = &said {
            finding.message.push(' ');
            finding.message.push_str(said);
        }
        let entry = Open {
            finding: finding.clone(),
            remark: said,
            detector: number,
            source: source.to_owned(),
            told: if news { finding.bytes } else { bytes },
        };
        open.insert(finding.id.clone(), entry);
        if news {
            told.push(finding);
        }
    }
    told
}

/// Ends findings about a variable that the person has deleted or emptied.
pub(super) fn close_released(
    open: &mut BTreeMap<String, Open>,
    tier0: &Facts,
    tier1: Option<&Facts>,
) {
    open.retain(|_, one| {
        let culprit = &one.finding.culprit;
        if culprit.kind != CulpritKind::Variable {
            return true;
        }
        let is_culprit = |name: &String| match culprit.name.split_once('*') {
            None => *name == culprit.name,
            Some((start, end)) => name.starts_with(start) && name.ends_with(end),
        };
        let emptied = tier1.is_some_and(|facts| {
            facts.variables.iter().any(|variable| {
                is_culprit(&variable.name)
                    && variable.everywhere() < one.finding.bytes / 2
                    && variable.moved() < 0
            })
        });
        !emptied && !tier0.dropped.iter().any(is_culprit)
    });
}

pub(super) fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| {
        std::cmp::Reverse((
            finding.leak,
            finding.confidence > Confidence::Possible,
            weight(finding),
        ))
    });
}

/// Free memory that an allocator keeps is used again: it weighs less than what is held.
fn weight(finding: &Finding) -> u64 {
    match finding.cause {
        Cause::AllocatorRetention | Cause::PoolCache => finding.bytes / 3,
        _ => finding.bytes,
    }
}
