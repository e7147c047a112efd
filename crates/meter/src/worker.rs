//! One plain thread for readings that may take long or hang: children's memory, the GPU driver, `usage_request`.
//!
//! A broken device can hold its driver's callers for ever, and nothing can stop such a call. So a caller waits for a
//! bounded time, and asks nothing more until the late answer has come.

use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};

use crate::{
    gpu::{Library, Observation, OpenError, Peaks},
    platform::{self, Stat},
    reading::{Bond, Left},
    usage::{self, CpuClock, Usage},
};

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many processes are known each.
const LISTED: usize = 256;
/// How long the memory of children may take to read; the rest is then unknown.
const CHILDREN_BUDGET: Duration = Duration::from_millis(250);

/// The descendants of the main process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Family {
    /// How many are alive.
    pub(crate) count: u64,
    /// Their memory in bytes; `None` where reading it took too long.
    pub(crate) pss: Option<u64>,
    /// What goes when they end; `None` where that is not known of all.
    pub(crate) own: Option<u64>,
    /// Each of the first [`LISTED`].
    pub(crate) members: Vec<Member>,
}

/// One of the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// When it began, in ticks since boot.
    started: u64,
    pub(crate) left: Left,
}

impl Member {
    /// Whether it is the same process.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.left.pid == other.left.pid && self.started == other.started
    }

    fn of(pid: u32, session: Option<u32>, orphans: &[u32], pss: u64) -> Option<Self> {
        let stat = platform::stat(pid)?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let bond = match stat {
            _ if orphans.contains(&pid) => Bond::Orphan,
            Stat { session: own, .. } if Some(own) != session => Bond::Session,
            _ => Bond::Worker,
        };
        Some(Self {
            started: stat.started,
            left: Left {
                pid,
                name: name.trim_end().to_owned(),
                bond,
                pss: Some(pss),
            },
        })
    }
}

/// What the thread saw.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) family: Family,
    /// `None` where there is no GPU to ask.
    pub(crate) gpu: Option<Vec<Observation>>,
    /// The highest since the last observation of a [`Moment::Start`].
    pub(crate) peaks: Peaks,
    /// Why a driver that is here could not be used, once.
    pub(crate) refusal: Option<String>,
}

/// When an observation is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before a cell: peaks begin anew.
    Start,
    /// After it.
    End,
}

enum Request {
    Observe(Moment, oneshot::Sender<Observed>),
    PollGpu,
    Usage(oneshot::Sender<Usage>),
}

/// The caller's side. The thread ends once this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    requests: mpsc::Sender<Request>,
    /// Requests with an answer that were sent, and that were answered.
    sent: AtomicU64,
    answered: Arc<AtomicU64>,
    /// Nothing is asked until this many were answered.
    overdue: AtomicU64,
    polling: Arc<AtomicBool>,
}

impl Worker {
    /// Starts the thread for the tree of `pid`; `library` is NVIDIA's, where there may be a GPU.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(pid: u32, library: Option<PathBuf>) -> io::Result<Self> {
        let (requests, received) = mpsc::channel();
        let answered = Arc::new(AtomicU64::new(0));
        let polling = Arc::new(AtomicBool::new(false));
        let (counter, flag) = (Arc::clone(&answered), Arc::clone(&polling));
        thread::Builder::new()
            .name("meter".into())
            .spawn(move || Desk::open(pid, library).serve(&received, &counter, &flag))?;
        Ok(Self {
            requests,
            sent: AtomicU64::new(0),
            answered,
            overdue: AtomicU64::new(0),
            polling,
        })
    }

    /// Observes children and GPUs; `None` where the answer does not come in time.
    pub(crate) async fn observe(&self, moment: Moment) -> Option<Observed> {
        self.ask(|reply| Request::Observe(moment, reply)).await
    }

    /// Reads the answer to a `usage_request`; `None` where it does not come in time.
    pub(crate) async fn usage(&self) -> Option<Usage> {
        self.ask(Request::Usage).await
    }

    /// Has GPU peaks brought up to date, without waiting.
    pub(crate) fn poll_gpu(&self) {
        if !self.polling.swap(true, Ordering::Relaxed) {
            // A thread that has ended polls nothing, which loses a peak and no more.
            let _ = self.requests.send(Request::PollGpu);
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        if self.answered.load(Ordering::Acquire) < self.overdue.load(Ordering::Relaxed) {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).ok()?;
        let ticket = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        match timeout(PATIENCE, answer).await {
            Ok(answer) => answer.ok(),
            Err(_) => {
                self.overdue.fetch_max(ticket, Ordering::Relaxed);
                None
            }
        }
    }
}

/// The thread's side.
struct Desk {
    pid: u32,
    opened: Instant,
    library: Option<Library>,
    refusal: Option<String>,
    peaks: Peaks,
    clock: CpuClock,
}

impl Desk {
    fn open(pid: u32, library: Option<PathBuf>) -> Self {
        let mut refusal = None;
        let library = library.and_then(|path| match Library::open(&path) {
            Ok(library) => Some(library),
            Err(OpenError::Absent) => {
                tracing::debug!(path = %path.display(), "no NVIDIA library, driver or device");
                None
            }
            Err(OpenError::Refused(error)) => {
                refusal = Some(format!(
                    "GPU memory is not measured: NVIDIA's driver is here but refuses ({error}). `nvidia-smi` \
                     should tell why."
                ));
                None
            }
        });
        Self {
            pid,
            opened: Instant::now(),
            library,
            refusal,
            peaks: Peaks::default(),
            clock: CpuClock::default(),
        }
    }

    fn serve(
        mut self,
        requests: &mpsc::Receiver<Request>,
        answered: &AtomicU64,
        polling: &AtomicBool,
    ) {
        for request in requests {
            // A caller that has stopped waiting is no error.
            match request {
                Request::Observe(moment, reply) => {
                    let observed = self.observe(moment);
                    answered.fetch_add(1, Ordering::Release);
                    let _ = reply.send(observed);
                }
                Request::Usage(reply) => {
                    let descendants = platform::descendants(self.pid);
                    let now = self.opened.elapsed().as_secs_f64();
                    let usage = usage::read(self.pid, &descendants, now, &mut self.clock);
                    answered.fetch_add(1, Ordering::Release);
                    let _ = reply.send(usage);
                }
                Request::PollGpu => {
                    let descendants = platform::descendants(self.pid);
                    self.observe_gpu(&descendants);
                    polling.store(false, Ordering::Relaxed);
                }
            }
        }
    }

    fn observe(&mut self, moment: Moment) -> Observed {
        if moment == Moment::Start {
            self.peaks = Peaks::default();
        }
        let descendants = platform::descendants(self.pid);
        Observed {
            gpu: self.observe_gpu(&descendants),
            family: family(self.pid, &descendants),
            peaks: self.peaks.clone(),
            refusal: self.refusal.take(),
        }
    }

    fn observe_gpu(&mut self, descendants: &[u32]) -> Option<Vec<Observation>> {
        let library = self.library.as_mut()?;
        let tree: HashSet<u32> = descendants.iter().copied().chain([self.pid]).collect();
        let observations = library.observe(&tree);
        self.peaks.raise(&observations);
        Some(observations)
    }
}

/// Reads the memory of each process. One that has ended meanwhile is not counted.
fn family(root: u32, pids: &[u32]) -> Family {
    let started = Instant::now();
    let mut family = Family {
        pss: Some(0),
        own: Some(0),
        ..Family::default()
    };
    let session = platform::stat(root).map(|stat| stat.session);
    let orphans = platform::orphans();
    for &pid in pids {
        if started.elapsed() > CHILDREN_BUDGET {
            family.pss = None;
            family.own = None;
        }
        let Some(pss) = family.pss else {
            // Only counted; that one may have ended is no longer looked at.
            family.count += 1;
            continue;
        };
        if let Some(share) = platform::shared_out(pid) {
            family.count += 1;
            family.pss = Some(pss.saturating_add(share.pss));
            family.own = family
                .own
                .zip(share.own)
                .map(|(sum, own)| sum.saturating_add(own));
            if family.members.len() < LISTED {
                let member = Member::of(pid, session, &orphans, share.pss);
                family.members.extend(member);
            }
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(answered: u64, overdue: u64) -> (Worker, mpsc::Receiver<Request>) {
        let (requests, received) = mpsc::channel();
        let worker = Worker {
            requests,
            sent: AtomicU64::new(overdue),
            answered: Arc::new(AtomicU64::new(answered)),
            overdue: AtomicU64::new(overdue),
            polling: Arc::new(AtomicBool::new(false)),
        };
        (worker, received)
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_hangs_is_waited_for_once_and_asked_again_when_it_has_answered() {
        let (worker, received) = worker(0, 0);
        assert!(worker.usage().await.is_none());
        let late = received.try_recv();
        assert!(matches!(late, Ok(Request::Usage(_))));
        assert!(worker.usage().await.is_none());
        assert!(
            received.try_recv().is_err(),
            "asked while an answer is overdue"
        );

        worker.answered.store(1, Ordering::Release);
        assert!(worker.usage().await.is_none());
        assert!(
            received.try_recv().is_ok(),
            "not asked after the late answer"
        );
    }

    #[test]
    fn polls_do_not_queue_up() {
        let (worker, received) = worker(0, 0);
        worker.poll_gpu();
        worker.poll_gpu();
        assert_eq!(received.try_iter().count(), 1);
    }

    #[test]
    fn processes_that_have_ended_are_not_counted() {
        let alive = std::process::id();
        let family = family(u32::MAX, &[u32::MAX, alive]);
        assert_eq!(family.count, 1);
        assert!(family.pss > Some(0));
    }

    #[tokio::test]
    async fn the_thread_answers_for_a_process_without_children_or_gpu() {
        let worker = Worker::start(u32::MAX, None).unwrap();
        let observed = worker.observe(Moment::Start).await.unwrap();
        assert_eq!(
            observed.family,
            Family {
                pss: Some(0),
                own: Some(0),
                ..Family::default()
            }
        );
        assert_eq!(observed.gpu, None);
        assert_eq!(worker.usage().await.unwrap().kernel_memory, None);
    }
}
