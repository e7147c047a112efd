//! Rebirth: a fresh interpreter takes over the variables of the one there is, then its place.
//!
//! The cell `%hygiene rebirth` has written the variables to files in memory and waits. A second interpreter is started beside the
//! first, and reads them. Only when it has everything does the cell end; with its reply the fresh interpreter becomes the
//! kernel's, and the old one is asked to end. If anything fails before, the fresh one is dropped and nothing has changed.

use crate::Kernel;
use crate::agent::Envelope;
use crate::cell::Cell;
use crate::death::FAREWELL;
use crate::death::Life;
use crate::measure::Slot;
use bytes::Bytes;
use interpreter::Event;
use interpreter::Frame;
use interpreter::Interpreter;
use ledger::human;
use meter::Watch;
use policy::GuardLevel;
use serde::Deserialize;

/// So much of the machine's memory is left alone.
const RESERVE: u64 = 128 << 20;

/// An interpreter that is about to take the place of another.
pub(crate) struct Rebirth {
    fresh: Interpreter,
    /// What the cell is told when all is there.
    report: String,
    /// It has everything.
    has_all: bool,
    /// It has everything, and takes requests.
    is_ready: bool,
}

impl Rebirth {
    pub(crate) fn interpreter(&mut self) -> &mut Interpreter {
        &mut self.fresh
    }
}

/// What the agent wants to be carried.
#[derive(Deserialize)]
struct Wanted {
    names: Vec<String>,
    imports: Vec<String>,
}

/// What the fresh interpreter says of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Restored {
    error: Option<String>,
}

/// What may be taken while two interpreters are there.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// The cap, and what is held of it.
    cap: Option<(u64, u64)>,
    /// What is left of the machine or the control group.
    machine: u64,
}

impl Room {
    /// How much there is, or why `wanted` is too much.
    fn for_bytes(self, wanted: u64) -> Result<u64, String> {
        let machine = self.machine.saturating_sub(RESERVE);
        let of_cap = self.cap.map(|(cap, held)| cap.saturating_sub(held));
        let room = of_cap.unwrap_or(machine).min(machine);
        if wanted <= room {
            return Ok(room);
        }
        let of = match self.cap {
            Some((cap, _)) if of_cap == Some(room) => format!("the cap of {}", human(cap)),
            _ => "the machine's memory".into(),
        };
        Err(format!(
            "Nothing has changed: while both interpreters are there a rebirth takes up to {} more, and {} can be had of {of}. \
             Carry less: %hygiene rebirth NAME…",
            human(wanted),
            human(room)
        ))
    }
}

impl Kernel {
    /// Whether memory suffices for a rebirth; how much there is, empty if that is not known.
    pub(crate) fn room_for_rebirth(&self, wanted: &str) -> Result<String, String> {
        let wanted = wanted.parse().unwrap_or(u64::MAX);
        match self.room() {
            Some(room) => room.for_bytes(wanted).map(|bytes| bytes.to_string()),
            None => Ok(String::new()),
        }
    }

    /// Read now: the guard's last look may be older than the last cleanup.
    fn room(&self) -> Option<Room> {
        let mut watch = Watch::open(self.interpreter.as_ref()?.pid())?;
        let rules = self.setup.config.guard;
        let cap = rules.cap.filter(|_| rules.level != GuardLevel::Off);
        let own = watch.read()?.held;
        let held = |(pid, child): (u32, meter::Footing)| {
            // Forked workers share with the interpreter what they have not written to.
            Watch::own_of(pid).map_or(child.held, |own| own.min(child.held))
        };
        Some(Room {
            cap: cap.map(|cap| {
                (
                    cap,
                    own + watch.children().into_iter().map(held).sum::<u64>(),
                )
            }),
            machine: watch.room()?.available,
        })
    }

    /// Starts the fresh interpreter.
    pub(crate) fn begin_rebirth(&mut self, payload: &str, bytes: &str) {
        if self.rebirth.is_some() {
            return self.told(Err("a rebirth is under way".into()));
        }
        let (Ok(wanted), Ok(payload)) = (
            serde_json::from_str::<Wanted>(payload),
            serde_json::from_str(payload),
        ) else {
            return self.told(Err("the variables to be carried cannot be read".into()));
        };
        let bytes = badge::Bytes(bytes.parse().unwrap_or(0));
        let counted = self.cell.as_ref().is_some_and(Cell::stores_history);
        let next = self.execution_count + u64::from(counted);
        match Self::start_interpreter(&self.setup, Some(next), Some(payload)) {
            Ok(fresh) => {
                let report = format!(
                    "Reborn: a fresh interpreter with {} variables ({bytes}) and {} imports.",
                    wanted.names.len(),
                    wanted.imports.len()
                );
                self.rebirth = Some(Rebirth {
                    fresh,
                    report,
                    has_all: false,
                    is_ready: false,
                });
            }
            Err(why) => self.told(Err(format!("Nothing has changed: {why}"))),
        }
    }

    /// Takes an event of the fresh interpreter.
    pub(crate) fn rebirth_said(&mut self, event: Event) {
        match event {
            Event::Text(stream, text) => self.publish_text(stream, text),
            Event::Frame(frame) => self.rebirth_frame(frame),
            Event::OfFork(frame) => self.frame_of_fork(frame),
            Event::Debug(_) => {}
            Event::Exit(end) => {
                self.rebirth_failed(&format!("the fresh interpreter {}", end.exit));
            }
        }
    }

    fn rebirth_frame(&mut self, Frame(sections): Frame) {
        let mut sections = sections.into_iter();
        let head = sections.next().unwrap_or_default();
        let envelope: Envelope = serde_json::from_slice(&head).unwrap_or_default();
        let Some(rebirth) = &mut self.rebirth else {
            return;
        };
        match envelope.op.as_str() {
            "restored" => {
                let said = sections.next().unwrap_or_default();
                let restored: Restored = serde_json::from_slice(&said).unwrap_or_default();
                match restored.error {
                    Some(why) => self.rebirth_failed(&why),
                    None => rebirth.has_all = true,
                }
            }
            "ready" if rebirth.has_all => {
                rebirth.is_ready = true;
                let report = std::mem::take(&mut rebirth.report);
                self.told(Ok(report));
            }
            "no_ipython" => self.rebirth_failed("the interpreter has no IPython any more"),
            // Outputs of what is imported; the rest is of no interest before it is ours.
            "publish" => {
                let (_, metadata, content) = (
                    sections.next(),
                    sections.next().unwrap_or_default(),
                    sections.next().unwrap_or_default(),
                );
                self.publish(
                    &envelope.kind,
                    Bytes::new(),
                    metadata,
                    content,
                    sections.collect(),
                );
            }
            _ => {}
        }
    }

    fn rebirth_failed(&mut self, why: &str) {
        if self.rebirth.take().is_some_and(|rebirth| !rebirth.is_ready) {
            self.told(Err(format!("Nothing has changed: {why}")));
        }
    }

    /// The cell is over. If a fresh interpreter is ready, and the cell did not fail after all, it takes the place of the old one.
    pub(crate) fn take_the_place(&mut self, succeeded: bool) -> bool {
        let Some(mut rebirth) = self.rebirth.take().filter(|one| one.is_ready && succeeded) else {
            return false;
        };
        let why = "The interpreter was replaced by a fresh one (%hygiene rebirth).";
        self.bury_subshells(why);
        self.debugger_died(why);
        self.usage.forget();
        if !matches!(self.meter, Slot::Absent) {
            let options = crate::measure::meter_options(&self.setup.config);
            let meter = meter::Meter::new(rebirth.fresh.pid(), options);
            self.meter = Slot::Resting(Box::new(meter));
        }
        self.ledger = ledger::Session::new(crate::measure::thresholds(&self.setup.config));
        self.cleanup.forget();
        self.life = Life::Ready;
        if let Some(old) = &mut self.interpreter {
            rebirth.fresh.take_over_segments(old);
        }
        self.holdings = ledger::Holdings::default();
        self.stderr.clear();
        self.guarding.bury();
        if let Some(old) = self.interpreter.replace(rebirth.fresh) {
            tokio::spawn(farewell(old));
        }
        self.start_guard();
        true
    }
}

/// Lets an interpreter run its `atexit` functions, and ends it for certain.
async fn farewell(mut old: Interpreter) {
    old.send(&[Bytes::from_static(br#"{"op":"exit"}"#)]);
    let over = async { while !matches!(old.next().await, Event::Exit(_)) {} };
    if tokio::time::timeout(FAREWELL, over).await.is_err() {
        tracing::info!("the old interpreter did not end by itself and is killed");
    }
    // What is left of its process group ends as it is dropped.
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_left_of_the_cap_and_of_the_machine_must_suffice() {
        let room = |cap: Option<(u64, u64)>, machine| Room {
            cap: cap.map(|(cap, held)| (cap * MIB, held * MIB)),
            machine: machine * MIB,
        };
        assert_eq!(room(None, 328).for_bytes(200 * MIB), Ok(200 * MIB));
        assert_eq!(room(Some((600, 500)), 10_000).for_bytes(MIB), Ok(100 * MIB));
        for (room, of) in [
            (room(None, 328), "200 MiB can be had of the machine's"),
            (
                room(Some((1000, 100)), 328),
                "200 MiB can be had of the machine's",
            ),
            (
                room(Some((600, 400)), 10_000),
                "200 MiB can be had of the cap of 600 MiB",
            ),
            (
                room(Some((600, 700)), 10_000),
                "0 B can be had of the cap of 600 MiB",
            ),
            (room(None, 1), "0 B can be had of the machine's"),
        ] {
            let why = room.for_bytes(201 * MIB).unwrap_err();
            assert!(why.contains(of) && why.contains("201 MiB more"), "{why}");
        }
    }
}
