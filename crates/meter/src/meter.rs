//! One cell: before, samples, after.

use std::{
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    change::{self, Before},
    gpu,
    limit::Limits,
    notice::{Notice, Notices},
    platform::{self, Process},
    post_mortem::KillWatch,
    reading::{Reading, Sample},
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

/// Follows one process. See the [crate] documentation.
#[derive(Debug)]
pub struct Meter {
    pub(crate) pid: u32,
    options: Options,
    process: Option<Process>,
    /// When the cell in hand began.
    started: Option<Instant>,
    pub(crate) timeline: Timeline,
    pub(crate) limits: Mutex<Option<Limits>>,
    /// The library to load, until it is known that it leads to no GPU.
    library: Option<PathBuf>,
    worker: OnceLock<Option<Worker>>,
    gpu_polled: Option<Instant>,
    pub(crate) kills: KillWatch,
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
            kills: KillWatch::new(pid),
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
        self.kills.forget(now);
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
        if self.kills.look(now) {
            self.with_limits(|_| None::<()>); // known if the process should die
        }
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

    /// Resident bytes of the interpreter now, outside of any cell; never waits. `None` once it has ended.
    pub fn resident(&self) -> Option<u64> {
        self.process.as_ref()?.resident()
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
        let mut host = change::host(&before, status, self.timeline.peak());
        if status.is_some() {
            host.children = change::children(before.family, family);
            let limit = self.with_limits(Limits::smallest);
            host.limit = limit.map(|(bytes, _)| bytes);
            host.limit_source = limit.map(|(_, source)| source);
        }
        Reading {
            host,
            gpu: gpu::judge(
                &before.gpu,
                observed.gpu.as_deref().unwrap_or_default(),
                &observed.peaks,
            ),
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
            Some(process) => match process.has_children() {
                Some(false) => Some(!platform::orphans().is_empty()),
                known => known,
            },
            None => Some(false),
        };
        if has_children == Some(false) && self.library.is_none() {
            let none = Family {
                pss: Some(0),
                own: Some(0),
                ..Family::default()
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
        (Some(std::mem::take(&mut observed.family)), observed)
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        process::{Command, Stdio},
    };

    use super::*;
    use crate::reading::PeakQuality;

    #[tokio::test]
    async fn a_refusal_to_set_the_mark_back_is_told_once_and_leaves_samples() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Once it has answered it takes no more memory, so its mark cannot rise.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();

        let mut meter = Meter::new(
            child.id(),
            Options {
                gpu: false,
                ..Options::default()
            },
        );
        meter.process.as_mut().unwrap().refuse_reset();
        for told in [1, 0] {
            let before = meter.begin().await;
            let sampled = meter.sample();
            let reading = meter.end(before).await;
            assert_eq!(reading.host.peak, sampled);
            assert_eq!(reading.host.peak_quality, Some(PeakQuality::Sampled));
            assert_eq!(reading.notices.len(), told);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_meter_and_its_readings_may_move_to_another_thread() {
        fn sendable<T: Send>(value: T) -> T {
            value
        }
        let mut meter = sendable(Meter::new(u32::MAX, Options::default()));
        drop(sendable(meter.begin()));
        drop(sendable(meter.usage()));
    }
}
