//! What can still be said of a process that has ended.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use crate::{
    Meter,
    change::{self, Before},
    limit::Limits,
    platform::{KillCounters, Kills},
    reading::{PeakQuality, Reading},
};

/// The counters of the out-of-memory killer are looked at no more often than this.
const LOOK: Duration = Duration::from_secs(1);

/// The counters of the out-of-memory killer as they were a while ago. The system counts a kill before the process is gone, so
/// the newest count may be too new: the one before it is kept as well.
#[derive(Debug)]
pub(crate) struct KillWatch {
    pid: u32,
    counters: Option<KillCounters>,
    looked: Option<Instant>,
    before: Kills,
    latest: Kills,
}

impl KillWatch {
    pub(crate) fn new(pid: u32) -> Self {
        let mut watch = Self {
            pid,
            counters: None,
            looked: None,
            before: Kills::default(),
            latest: Kills::default(),
        };
        watch.look(Instant::now());
        watch
    }

    /// A cell begins with the process alive: whatever was killed before has nothing to do with its end.
    pub(crate) fn forget(&mut self, now: Instant) {
        if self.look(now) {
            self.before = self.latest;
        }
    }

    /// True if it was time to look.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        if self
            .looked
            .is_some_and(|last| now.duration_since(last) < LOOK)
        {
            return false;
        }
        let counters = self
            .counters
            .get_or_insert_with(|| KillCounters::of(self.pid));
        let count = counters.read();
        self.before = if self.looked.is_some() {
            self.latest
        } else {
            count
        };
        self.latest = count;
        self.looked = Some(now);
        true
    }

    /// What has been killed lately. Unknown if nobody ever looked.
    fn lately(&self) -> Kills {
        self.counters
            .as_ref()
            .map(|counters| counters.read().since(self.before))
            .unwrap_or_default()
    }
}

impl Meter {
    /// What the out-of-memory killer has ended since shortly before the last sample.
    pub fn killed_lately(&self) -> Kills {
        self.kills.lately()
    }

    /// The reading of a cell whose interpreter has ended: what was read before it, and the samples. `peak` is what the system
    /// said of the dead process.
    pub fn after_death(&mut self, before: &Before, peak: Option<u64>) -> Reading {
        let sampled = self.timeline.peak();
        let mut host = change::host(before, None, sampled.max(peak));
        if peak.is_some() && peak >= sampled {
            host.peak_quality = Some(PeakQuality::Exact);
        }
        let kept = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = kept.as_ref().and_then(Limits::smallest);
        drop(kept);
        host.limit = limit.map(|(bytes, _)| bytes);
        host.limit_source = limit.map(|(_, source)| source);
        Reading {
            host,
            timeline: self.timeline.finish(),
            ..Reading::default()
        }
    }

    /// Resident bytes at the last sample.
    pub fn last_sample(&self) -> Option<u64> {
        self.timeline.last()
    }
}
