//! Interrupts, and what the person is told of a cell that goes on.

use crate::Kernel;
use crate::cell::Cell;
use interpreter::Stream;
use std::time::Duration;
use tokio::time::Instant;

/// Two interrupts of one cell within this time mean that the person waits for its end.
const IMPATIENCE: Duration = Duration::from_secs(5);
/// The agent is given this long to say where the cell is. It cannot while compiled code holds the GIL.
const ANSWER: Duration = Duration::from_millis(300);
/// The agent has taken notice of an interrupt after this long at the latest, unless compiled code keeps the GIL.
const NOTICED: Duration = Duration::from_secs(1);

/// What interrupts have come to.
#[derive(Default)]
pub(crate) struct Interrupts {
    /// The cell that was interrupted last, and when.
    last: Option<(u64, Instant)>,
    /// A cell that goes on, and until when the agent may say where it is.
    wondering: Option<(u64, Instant)>,
    /// When the last one was sent.
    sent: Option<Instant>,
}

impl Interrupts {
    /// When the agent has not answered.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.wondering.map(|(_, until)| until)
    }

    /// True if one has just been sent. It was meant for an earlier cell than the next.
    pub(crate) fn take_sent(&mut self) -> bool {
        self.sent.take().is_some_and(|at| at.elapsed() < NOTICED)
    }

    /// True if this is the second interrupt of a cell within a short time.
    fn is_second(&mut self, cell: u64, now: Instant) -> bool {
        let second = self
            .last
            .is_some_and(|(before, at)| before == cell && now - at < IMPATIENCE);
        self.last = (!second).then_some((cell, now));
        second
    }
}

impl Kernel {
    /// Interrupts what the interpreter does for us: the main shell, and subshells if that runs no cell. Nothing happens while
    /// all are idle.
    pub(crate) fn interrupt(&mut self) {
        if self.interrupts_stopped_cell() {
            return;
        }
        self.forget_question(crate::stdin::Asker::Cell);
        if let Some(cell) = &mut self.cell
            && !cell.was_sent()
        {
            cell.interrupt_when_sent();
            return;
        }
        let running = self.cell.as_ref().filter(|cell| cell.is_running());
        let running = running.map(|cell| cell.id);
        if self.cell.is_none() && self.closing.is_none() {
            self.interrupt_subshells();
        }
        // A step may run finalisers, which are the person's code.
        if running.is_none() && self.forwarded.is_empty() && !self.cleanup.is_at_work() {
            return;
        }
        let Some(interpreter) = &self.interpreter else {
            return;
        };
        interpreter.interrupt();
        let now = Instant::now();
        self.interrupts.sent = Some(now);
        if let Some(cell) = running
            && self.interrupts.is_second(cell, now)
        {
            interpreter.ask_where();
            self.interrupts.wondering = Some((cell, now + ANSWER));
        }
    }

    /// The agent says where the cell is, or nothing in time: then `place` is empty.
    pub(crate) fn tell_why_it_goes_on(&mut self, place: &str) {
        let Some((id, _)) = self.interrupts.wondering.take() else {
            return; // too late
        };
        if !self
            .cell
            .as_ref()
            .is_some_and(|cell| cell.id == id && Cell::is_running(cell))
        {
            return;
        }
        let place = if place.is_empty() {
            "It is in a call of compiled code that lets no Python code run meanwhile".to_owned()
        } else {
            format!(
                "It is at {place}, in a call of compiled code or in code that catches interrupts"
            )
        };
        let text = format!(
            "Interrupted twice, and the cell goes on. {place}; it is interrupted when that returns to Python. \
             To end it now, restart the kernel: all variables are lost then.\n"
        );
        self.show_text(Stream::Stderr, text.as_bytes(), self.text_parent.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_interrupt_of_a_cell_within_five_seconds_is_told_from_others() {
        let (mut interrupts, start) = (Interrupts::default(), Instant::now());
        let second = [
            (1, 0, false),
            (1, 2, true),
            (1, 3, false),
            (2, 4, false),
            (2, 10, false),
            (2, 14, true),
        ];
        for (cell, at, expected) in second {
            let now = start + Duration::from_secs(at);
            assert_eq!(
                interrupts.is_second(cell, now),
                expected,
                "cell {cell} at {at} s"
            );
        }
    }
}
