//! What is told of a cell: its record, and its badge.

use super::Cell;
use super::CellReply;
use crate::Kernel;
use crate::publish::to_bytes;
use ledger::CellEnd;
use ledger::CellRecord;
use ledger::Facts;
use ledger::Status;
use meter::Bond;
use meter::Reading;
use policy::CellFlags;
use policy::Effective;
use serde_json::json;

/// A cell whose peak rose this much gets a badge even if nothing is retained, bytes.
const NOTABLE_PEAK: u64 = 64 << 20;

/// The notice of a cell that was not alone.
const SHARED: &str = "A cell ran in a subshell at the same time: the figures are of both together.";

impl Kernel {
    /// The record of the cell that the interpreter died in.
    pub(crate) fn record_of_death(
        &mut self,
        cell: &Cell,
        reading: Reading,
        death: ledger::Death,
    ) -> CellRecord {
        let notices = std::mem::take(&mut self.notices);
        let mut record = self.ledger.close_cell(CellEnd {
            execution_count: cell.stores_history().then_some(self.execution_count),
            source: &cell.content.code,
            status: Status::Error,
            wall_s: Some(cell.work_began.elapsed().as_secs_f64()),
            cpu_s: None,
            overhead_s: None,
            reading,
            tier0: Facts::default(),
            tier1: None,
            notices,
        });
        record.death = Some(death);
        self.peaks.note(&record);
        record
    }

    pub(super) fn record(
        &mut self,
        cell: &Cell,
        reply: &CellReply,
        reading: Reading,
        explained: Option<Facts>,
    ) -> CellRecord {
        self.holdings.update(&reply.facts, explained.as_ref());
        let mut notices = std::mem::take(&mut self.notices);
        notices.extend(reply.notice.clone());
        notices.extend(cell.shares_memory.then(|| SHARED.to_owned()));
        notices.extend(left_behind(&reading));
        let number = reply
            .envelope
            .execution_count
            .unwrap_or(self.execution_count);
        let (steps, told) = self.cleanup.take_done();
        notices.extend(told);
        let record = self.ledger.close_cell(CellEnd {
            execution_count: cell
                .content
                .stores_history()
                .then(|| number.saturating_sub(1)),
            source: &cell.content.code,
            status: if reply.envelope.status == "ok" {
                Status::Ok
            } else {
                Status::Error
            },
            wall_s: reply.envelope.wall_s,
            cpu_s: reply.envelope.cpu_s,
            overhead_s: Some(cell.overhead.as_secs_f64()),
            reading,
            tier0: reply.facts.clone(),
            tier1: explained,
            notices,
        });
        CellRecord { steps, ..record }
    }

    pub(crate) fn badge_options(&self) -> badge::Options {
        badge::Options {
            details_delta: self.setup.config.details_delta,
            ..badge::Options::default()
        }
    }

    pub(super) fn show(&self, cell: &Cell, record: &CellRecord) {
        if matches!(self.setup.badge, Effective::Off | Effective::Metadata) {
            return; // before anything is formatted
        }
        let options = self.badge_options();
        let flags = CellFlags {
            silent: cell.content.silent,
            store_history: cell.content.stores_history(),
            code_is_empty: cell
                .content
                .code
                .lines()
                .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')),
            display_suppressed: cell.content.code.trim_start().starts_with("%%capture"),
            pending_clear_output_wait: cell.clear_is_pending,
            streams_drained: true, // the agent's reply comes after its last text
            finished: true,
            has_warning: badge::severity(record, &options) != badge::Severity::Quiet
                || record.notices.iter().any(|notice| notice != SHARED),
            notable: badge::largest_delta(record) >= self.setup.config.min_delta
                || peak_rise(record) >= NOTABLE_PEAK
                || released(record) >= NOTABLE_PEAK,
        };
        if !policy::should_show(self.setup.badge, &flags) {
            return;
        }
        let bundle = badge::bundle(record, &options);
        let content = json!({"data": bundle.data, "metadata": bundle.metadata, "transient": {}});
        self.outbox.publish(
            "display_data",
            Some(&cell.request.origin.header),
            crate::publish::EMPTY,
            to_bytes(&content),
            Vec::new(),
        );
    }
}

/// Says which processes a cell has left that nobody looks after: workers with a living parent are no news.
fn left_behind(reading: &Reading) -> Option<String> {
    const NAMED: usize = 4;
    let left = reading.host.children.iter().flat_map(|all| &all.left);
    let loose: Vec<_> = left.filter(|one| one.bond != Bond::Worker).collect();
    let names: Vec<_> = loose
        .iter()
        .take(NAMED)
        .map(|one| format!("{} ({})", one.name, one.pid))
        .collect();
    let more = match loose.len() {
        0 => return None,
        count if count > NAMED => format!(" and {} more", count - NAMED),
        _ => String::new(),
    };
    Some(format!(
        "This cell has left running, detached from the interpreter: {}{more}. The end of the kernel ends what is left of it.",
        names.join(", ")
    ))
}

/// What cleanup steps gave back since the record before, bytes.
fn released(record: &CellRecord) -> u64 {
    let steps = record.steps.iter().map(|step| &step.released);
    steps
        .flat_map(|released| [released.host, released.gpu])
        .flatten()
        .map(|bytes| u64::try_from(bytes).unwrap_or(0))
        .sum()
}

/// How far the peak rose above where the cell began, bytes.
pub(crate) fn peak_rise(record: &CellRecord) -> u64 {
    record
        .host
        .peak
        .zip(record.host.before)
        .map_or(0, |(peak, before)| peak.saturating_sub(before))
}
