//! The meter while it measures: a reading may wait for children or a GPU, and the kernel serves others meanwhile.

use meter::Before;
use meter::Meter;
use meter::Reading;
use policy::Config;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use wire::Incoming;

type Work<T> = Pin<Box<dyn Future<Output = (Box<Meter>, T)>>>;

/// Who has the meter.
pub(crate) enum Slot {
    /// Measuring is switched off, or there is no interpreter.
    Absent,
    /// It waits for a cell.
    Resting(Box<Meter>),
    /// It takes the reading before a cell.
    Beginning(Work<Before>),
    /// It takes the reading after a cell.
    Ending(Work<Reading>),
}

/// What a measurement gave.
pub(crate) enum Measured {
    Before(Before),
    After(Reading),
}

impl Slot {
    pub(crate) fn is_working(&self) -> bool {
        matches!(self, Self::Beginning(_) | Self::Ending(_))
    }

    /// Begins the reading before a cell. False if there is no meter.
    pub(crate) fn begin(&mut self) -> bool {
        if self.is_working() {
            return false; // what it works on is still awaited
        }
        let Self::Resting(mut meter) = std::mem::replace(self, Self::Absent) else {
            return false;
        };
        *self = Self::Beginning(Box::pin(async move {
            let before = meter.begin().await;
            (meter, before)
        }));
        true
    }

    /// Begins the reading after a cell. False if there is no meter.
    pub(crate) fn end(&mut self, before: Before) -> bool {
        if self.is_working() {
            return false; // what it works on is still awaited
        }
        let Self::Resting(mut meter) = std::mem::replace(self, Self::Absent) else {
            return false;
        };
        *self = Self::Ending(Box::pin(async move {
            let reading = meter.end(before).await;
            (meter, reading)
        }));
        true
    }

    /// The meter, if it is not at work.
    pub(crate) fn rested(self) -> Option<Box<Meter>> {
        match self {
            Self::Resting(meter) => Some(meter),
            _ => None,
        }
    }

    /// One point of the timeline: resident bytes.
    pub(crate) fn sample(&mut self) -> Option<u64> {
        match self {
            Self::Resting(meter) => meter.sample(),
            _ => None,
        }
    }

    /// The meter, while it measures nothing.
    pub(crate) fn resting(&self) -> Option<&Meter> {
        match self {
            Self::Resting(meter) => Some(meter),
            _ => None,
        }
    }

    /// Waits for the measurement that was begun; for ever if there is none. Cancel-safe.
    pub(crate) async fn finished(&mut self) -> Measured {
        let (meter, measured) = match self {
            Self::Beginning(work) => {
                let (meter, before) = work.await;
                (meter, Measured::Before(before))
            }
            Self::Ending(work) => {
                let (meter, reading) = work.await;
                (meter, Measured::After(reading))
            }
            Self::Absent | Self::Resting(_) => std::future::pending().await,
        };
        *self = Self::Resting(meter);
        measured
    }
}

/// The meter that answers `usage_request`s, beside the one that measures cells.
#[derive(Default)]
pub(crate) struct Usage {
    meter: Option<Box<Meter>>,
    waiting: VecDeque<Incoming>,
    asking: Option<Work<(Incoming, meter::Usage)>>,
    /// True if the question in the air is about an interpreter that has ended.
    stale: bool,
}

impl Usage {
    /// Forgets the interpreter that was measured; a request in the air is still answered.
    pub(crate) fn forget(&mut self) {
        self.meter = None;
        self.stale = self.asking.is_some();
    }

    /// Asks for the usage of the process `pid` on behalf of a request.
    pub(crate) fn ask(&mut self, pid: u32, request: Incoming) {
        self.waiting.push_back(request);
        if self.asking.is_none() {
            let options = meter::Options {
                gpu: false,
                reset_peak: false,
                ..meter::Options::default()
            };
            let meter = self
                .meter
                .take()
                .unwrap_or_else(|| Box::new(Meter::new(pid, options)));
            self.go_on(meter);
        }
    }

    fn go_on(&mut self, meter: Box<Meter>) {
        match self.waiting.pop_front() {
            Some(request) => {
                self.asking = Some(Box::pin(async move {
                    let usage = meter.usage().await;
                    (meter, (request, usage))
                }));
            }
            None => self.meter = Some(meter),
        }
    }

    /// The next answer; waits for ever while nothing is asked. Cancel-safe.
    pub(crate) async fn answered(&mut self) -> (Incoming, meter::Usage) {
        let Some(asking) = &mut self.asking else {
            return std::future::pending().await;
        };
        let (meter, answer) = asking.await;
        self.asking = None;
        if !std::mem::take(&mut self.stale) || !self.waiting.is_empty() {
            self.go_on(meter);
        }
        answer
    }
}

/// The ledger's thresholds as configured.
pub(crate) fn thresholds(config: &Config) -> ledger::Thresholds {
    ledger::Thresholds {
        min_output: config.finding.out_bytes,
        min_traceback: config.finding.traceback_bytes,
        growth_per_run: config.finding.growth_bytes,
        ..ledger::Thresholds::default()
    }
}

/// The smaller of `memory_limit` and the cap of the guard.
fn limit_of_person(config: &Config) -> Option<u64> {
    let cap = config
        .guard
        .cap
        .filter(|_| config.guard.level != policy::GuardLevel::Off);
    [config.memory_limit, cap].into_iter().flatten().min()
}

/// The meter's options as configured.
pub(crate) fn meter_options(config: &Config) -> meter::Options {
    meter::Options {
        user_limit: limit_of_person(config),
        gpu: config.gpu,
        reset_peak: config.reset_peak,
        ..meter::Options::default()
    }
}
