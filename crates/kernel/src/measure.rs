//! The meter while it measures: a reading may wait for children or a GPU, and the kernel serves others meanwhile.

use meter::Before;
use meter::Meter;
use meter::Reading;
use std::future::Future;
use std::pin::Pin;

type Work<T> = Pin<Box<dyn Future<Output = (Meter, T)>>>;

/// Who has the meter.
pub(crate) enum Slot {
    /// Measuring is switched off, or there is no interpreter.
    Absent,
    /// It waits for a cell.
    Resting(Meter),
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
        let Self::Resting(mut meter) = std::mem::replace(self, Self::Absent) else { return false };
        *self = Self::Beginning(Box::pin(async move {
            let before = meter.begin().await;
            (meter, before)
        }));
        true
    }

    /// Begins the reading after a cell. False if there is no meter.
    pub(crate) fn end(&mut self, before: Before) -> bool {
        let Self::Resting(mut meter) = std::mem::replace(self, Self::Absent) else { return false };
        *self = Self::Ending(Box::pin(async move {
            let reading = meter.end(before).await;
            (meter, reading)
        }));
        true
    }

    /// One point of the timeline.
    pub(crate) fn sample(&mut self) {
        if let Self::Resting(meter) = self {
            meter.sample();
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
