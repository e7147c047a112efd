//! One cell: before, samples, after.

use std::{
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    gpu::{self, Observation, Peaks},
    limit::Limits,
    platform::{self, Process, Status},
    reading::{Children, Gpu, Host, PeakQuality, Reading, Sample, delta, difference},
    timeline::Timeline,
    usage::{self, Usage},
    worker::{Family, Moment, Observed, Worker},
};

/// GPU peaks are polled no more often than this.
const GPU_POLL: Duration = Duration::from_millis(100);

/// What a [`Meter`] measures.
#[derive(Clone, Debug)]
pub struct Options {
    /// The person's own limit in bytes.
    pub user_limit: Option<u64>,
    /// Whether to ask GPUs.
    pub gpu: bool,
    /// Whether to set the system's peak mark back for each cell. It makes the peak exact, and what user code reads from
    /// `getrusage` (`ru_maxrss`) becomes the peak since the last cell began.
    pub reset_peak: bool,
    /// NVIDIA's management library; `None` looks for it where a driver is loaded, or where the environment variable
    /// `RUST_HYGIENE_NVML_LIBRARY` says.
    pub nvml_library: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_limit: None,
            gpu: true,
            reset_peak: true,
            nvml_library: None,
        }
    }
}

/// What was read at the start of a cell.
#[derive(Clone, Debug, Default)]
pub struct Before {
    status: Option<Status>,
    /// Whether the peak mark was set back.
    reset: bool,
    family: Option<Family>,
    gpu: Vec<Observation>,
}

impl Before {
    /// Resident bytes of the interpreter at the start of the cell.
    pub fn resident(&self) -> Option<u64> {
        self.status.map(|status| status.rss)
    }
}

/// Follows one process. See the [crate] documentation.
#[derive(Debug)]
pub struct Meter {
    pid: u32,
    options: Options,
    process: Option<Process>,
    /// When the cell in hand began.
    started: Option<Instant>,
    timeline: Timeline,
    limits: Mutex<Option<Limits>>,
    /// The library to load, until it is known that it leads to no GPU.
    library: Option<PathBuf>,
    worker: OnceLock<Option<Worker>>,
    gpu_polled: Option<Instant>,
    notices: Notices,
}

impl Meter {
    /// A meter for the process `pid` and those below it. Where there may be a GPU its driver is called at once, on a
    /// thread of its own, since that may take seconds. A process that does not exist gives empty readings.
    pub fn new(pid: u32, options: Options) -> Self {
        let library = options
            .gpu
            .then(|| platform::nvml_library(options.nvml_library.as_deref()))
            .flatten();
        let meter = Self {
            pid,
            options,
            process: Process::open(pid),
            started: None,
            timeline: Timeline::new(),
            limits: Mutex::new(None),
            library,
            worker: OnceLock::new(),
            gpu_polled: None,
            notices: Notices::default(),
        };
        if meter.library.is_some() {
            meter.worker();
        }
        meter
    }

    /// Takes the reading before a cell, as the last thing before it runs. Waits for nothing unless there are children
    /// or a GPU.
    pub async fn begin(&mut self) -> Before {
        let (family, observed) = self.observe(Moment::Start).await;
        let mut before = Before {
            family,
            gpu: observed.gpu.unwrap_or_default(),
            ..Before::default()
        };
        self.timeline.clear();
        if let Some(process) = &mut self.process {
            before.status = process.status();
            if before.status.is_some() && self.options.reset_peak {
                match process.reset_highest() {
                    Ok(()) => before.reset = true,
                    Err(error) => self.notices.once(Notice::PeakRefused, || {
                        format!(
                            "Peaks are sampled, not exact: the system refuses to set back the peak mark of the \
                             interpreter ({error})."
                        )
                    }),
                }
            }
        }
        if let Some(status) = before.status {
            self.timeline.push(Sample {
                t_s: 0.0,
                rss: status.rss,
            });
        }
        let now = Instant::now();
        self.started = Some(now);
        self.gpu_polled = Some(now);
        before
    }

    /// Takes a sample while a cell runs, to be called every 10 to 50 ms; never waits. Returns the resident bytes of the
    /// interpreter, or `None` once it has ended.
    pub fn sample(&mut self) -> Option<u64> {
        let rss = self.process.as_ref()?.resident()?;
        let started = self.started?;
        let now = Instant::now();
        self.timeline.push(Sample {
            t_s: now.duration_since(started).as_secs_f64(),
            rss,
        });
        if self.library.is_some()
            && self
                .gpu_polled
                .is_none_or(|last| now.duration_since(last) >= GPU_POLL)
        {
            self.gpu_polled = Some(now);
            if let Some(worker) = self.worker() {
                worker.poll_gpu();
            }
        }
        Some(rss)
    }

    /// Takes the reading after a cell, as the first thing after it. Where the interpreter has ended, what was known
    /// before and the samples remain.
    pub async fn end(&mut self, before: Before) -> Reading {
        let status = self.process.as_mut().and_then(Process::status);
        if let (Some(status), Some(started)) = (status, self.started.take()) {
            self.timeline.push(Sample {
                t_s: started.elapsed().as_secs_f64(),
                rss: status.rss,
            });
        }
        let (family, observed) = self.observe(Moment::End).await;
        let mut host = host(&before, status, self.timeline.peak());
        if status.is_some() {
            host.children = children(before.family, family);
            let limit = self.with_limits(Limits::smallest);
            host.limit = limit.map(|(bytes, _)| bytes);
            host.limit_source = limit.map(|(_, source)| source);
        }
        Reading {
            host,
            gpu: devices(&before.gpu, &observed),
            timeline: self.timeline.finish(),
            notices: self.notices.take(),
        }
    }

    /// The answer to a `usage_request`. CPU shares count from the last call on this meter.
    pub async fn usage(&self) -> Usage {
        let answer = match self.worker() {
            Some(worker) => worker.usage().await,
            None => None,
        };
        answer.unwrap_or_else(|| usage::identity(self.pid))
    }

    /// Bytes that the interpreter may still take before a limit or the machine's memory is reached, page cache that can
    /// be dropped included. The person's own limit counts the interpreter alone, without its children.
    pub fn available(&self) -> Option<u64> {
        let resident = self.process.as_ref().and_then(Process::resident);
        self.with_limits(|limits| limits.available(resident))
    }

    /// Asks the thread about children and GPUs, if there are any. The family is `None` where it could not be read.
    async fn observe(&mut self, moment: Moment) -> (Option<Family>, Observed) {
        let has_children = match &mut self.process {
            Some(process) => process.has_children(),
            None => Some(false),
        };
        if has_children == Some(false) && self.library.is_none() {
            let none = Family {
                count: 0,
                pss: Some(0),
            };
            return (Some(none), Observed::default());
        }
        let answer = match self.worker() {
            Some(worker) => worker.observe(moment).await,
            None => None,
        };
        let Some(mut observed) = answer else {
            self.notices.once(Notice::NoAnswer, || {
                "Children and GPUs are not measured for now: the system or a GPU driver does not answer in time."
                    .into()
            });
            return (None, Observed::default());
        };
        if observed.gpu.is_none() {
            self.library = None; // There is none to ask, now or later.
        }
        if let Some(refusal) = observed.refusal.take() {
            self.notices.once(Notice::GpuRefused, || refusal);
        }
        if observed.family.pss.is_none() {
            self.notices.once(Notice::SlowChildren, || {
                format!(
                    "The memory of {} child processes is not measured: reading it takes too long.",
                    observed.family.count
                )
            });
        }
        (Some(observed.family), observed)
    }

    fn worker(&self) -> Option<&Worker> {
        self.worker
            .get_or_init(|| {
                Worker::start(self.pid, self.library.clone())
                    .inspect_err(|error| tracing::warn!(%error, "no thread for the meter"))
                    .ok()
            })
            .as_ref()
    }

    fn with_limits<T>(&self, use_them: impl FnOnce(&Limits) -> Option<T>) -> Option<T> {
        let mut kept = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = match kept.take() {
            Some(limits) if limits.is_fresh() => limits,
            _ => Limits::read(self.pid, self.options.user_limit),
        };
        use_them(kept.insert(limits))
    }
}

/// The host's part of a reading, without children and limit.
fn host(before: &Before, after: Option<Status>, polled: Option<u64>) -> Host {
    let start = before.status;
    let change = |part: fn(&Status) -> Option<u64>| {
        delta(after.as_ref().and_then(part), start.as_ref().and_then(part))
    };
    let (peak, peak_quality) = peak(before, after, polled).unzip();
    Host {
        before: start.map(|status| status.rss),
        after: after.map(|status| status.rss),
        delta: change(|status| Some(status.rss)),
        peak,
        peak_quality,
        anon: change(|status| status.anon),
        file: change(|status| status.file),
        shmem: change(|status| status.shmem),
        swap: change(|status| status.swap),
        ..Host::default()
    }
}

/// The highest of all that was seen. The system's mark counts if it was set back, or if it rose: then it is of this
/// cell. It may lag behind the samples by what the kernel has not added up yet, so those count in any case.
fn peak(before: &Before, after: Option<Status>, polled: Option<u64>) -> Option<(u64, PeakQuality)> {
    let start = before.status?;
    let mark = after.and_then(|after| after.highest);
    let rose = mark > start.highest && start.highest.is_some();
    let mark = mark.filter(|_| before.reset || rose);
    let seen = after
        .map(|after| after.rss)
        .max(polled)
        .max(Some(start.rss));
    let quality = if mark.is_some() {
        PeakQuality::Exact
    } else {
        PeakQuality::Sampled
    };
    Some((seen.max(mark)?, quality))
}

/// The change of the family, of which either end may be unknown.
fn children(before: Option<Family>, after: Option<Family>) -> Option<Children> {
    let after = after?;
    Some(Children {
        count: after.count,
        pss: after.pss,
        delta: before
            .and_then(|before| before.pss)
            .zip(after.pss)
            .map(|(before, after)| difference(after, before)),
    })
}

fn devices(before: &[Observation], observed: &Observed) -> Vec<Gpu> {
    let none = Peaks::default();
    match &observed.gpu {
        Some(after) => gpu::judge(before, after, &observed.peaks),
        None => gpu::judge(before, &[], &none),
    }
}

/// Texts for the person, each kind once.
#[derive(Debug, Default)]
struct Notices {
    given: Vec<Notice>,
    waiting: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    PeakRefused,
    GpuRefused,
    NoAnswer,
    SlowChildren,
}

impl Notices {
    fn once(&mut self, notice: Notice, text: impl FnOnce() -> String) {
        if !self.given.contains(&notice) {
            self.given.push(notice);
            self.waiting.push(text());
        }
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(rss: u64, highest: Option<u64>) -> Option<Status> {
        Some(Status {
            rss,
            highest,
            ..Status::default()
        })
    }

    fn before(reset: bool, status: Option<Status>) -> Before {
        Before {
            status,
            reset,
            ..Before::default()
        }
    }

    #[test]
    fn a_peak_is_exact_only_if_the_systems_mark_is_of_this_cell() {
        use PeakQuality::{Exact, Sampled};
        let cases = [
            (
                "set back",
                true,
                Some(90),
                Some(50),
                None,
                Some((50, Exact)),
            ),
            (
                "samples above a lagging mark",
                true,
                Some(90),
                Some(50),
                Some(55),
                Some((55, Exact)),
            ),
            (
                "old mark",
                false,
                Some(90),
                Some(90),
                Some(40),
                Some((40, Sampled)),
            ),
            (
                "old mark, no samples",
                false,
                Some(90),
                Some(90),
                None,
                Some((30, Sampled)),
            ),
            (
                "a new record",
                false,
                Some(90),
                Some(95),
                Some(40),
                Some((95, Exact)),
            ),
            (
                "no mark at all",
                true,
                None,
                None,
                Some(40),
                Some((40, Sampled)),
            ),
            (
                "a mark that only the end has",
                false,
                None,
                Some(95),
                None,
                Some((30, Sampled)),
            ),
        ];
        for (name, reset, mark_before, mark_after, polled, expected) in cases {
            let before = before(reset, status(20, mark_before));
            assert_eq!(
                peak(&before, status(30, mark_after), polled),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_process_that_ended_during_a_cell_leaves_what_was_seen_of_it() {
        let before = before(true, status(20, Some(25)));
        let host = host(&before, None, Some(40));
        let expected = Host {
            before: Some(20),
            peak: Some(40),
            peak_quality: Some(PeakQuality::Sampled),
            ..Host::default()
        };
        assert_eq!(host, expected);
    }

    #[test]
    fn children_change_by_what_is_known_at_both_ends() {
        let family = |count, pss| Some(Family { count, pss });
        for (before, after, expected) in [
            (
                family(0, Some(0)),
                family(2, Some(70)),
                Some((2, Some(70), Some(70))),
            ),
            (
                family(2, Some(70)),
                family(0, Some(0)),
                Some((0, Some(0), Some(-70))),
            ),
            (
                family(2, None),
                family(2, Some(70)),
                Some((2, Some(70), None)),
            ),
            (family(2, Some(70)), family(2, None), Some((2, None, None))),
            (None, family(1, Some(5)), Some((1, Some(5), None))),
            (family(1, Some(5)), None, None),
        ] {
            let found = children(before, after).map(|found| (found.count, found.pss, found.delta));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_notice_is_given_once() {
        let mut notices = Notices::default();
        notices.once(Notice::NoAnswer, || "a".into());
        notices.once(Notice::NoAnswer, || "b".into());
        assert_eq!(notices.take(), ["a"]);
        notices.once(Notice::NoAnswer, || "c".into());
        assert!(notices.take().is_empty());
    }
}
