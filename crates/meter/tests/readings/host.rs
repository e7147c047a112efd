//! Memory of a child Python and its tree.

use meter::{Bond, Children, Host, LimitSource, Meter, Options, PeakQuality, Reading};

use crate::python::Python;

const MIB: u64 = 1 << 20;

/// What a Python's own small objects and the kernel's batches of counts may add.
const NOISE: u64 = MIB;

fn options() -> Options {
    Options {
        gpu: false,
        ..Options::default()
    }
}

fn meter(python: &Python) -> Meter {
    Meter::new(python.pid(), options())
}

/// Reads around one run of `code`.
async fn cell(meter: &mut Meter, python: &mut Python, code: &str) -> Reading {
    let before = meter.begin().await;
    python.run(code);
    meter.end(before).await
}

#[track_caller]
fn assert_near(found: Option<i64>, expected: u64) {
    let error = found.unwrap() - expected as i64;
    assert!(
        error.unsigned_abs() <= NOISE,
        "{found:?} is not near {expected}"
    );
}

#[tokio::test]
async fn a_spike_within_one_call_is_the_peak_that_the_system_counted() {
    let mut python = Python::start();
    let mut meter = meter(&python);
    let before = meter.begin().await;
    python.run("len(b'x' * (400 << 20))");
    let counted = python.number("resource.getrusage(resource.RUSAGE_SELF).ru_maxrss") << 10;
    let host = meter.end(before).await.host;

    let peak = host.peak.unwrap();
    assert_eq!(host.peak_quality, Some(PeakQuality::Exact));
    assert!(
        peak.abs_diff(counted) <= MIB,
        "{peak} is not near {counted}"
    );
    assert_near(Some((peak - host.before.unwrap()) as i64), 400 * MIB);
    assert_near(host.delta, 0);
}

#[tokio::test]
async fn a_peak_is_that_of_its_own_cell() {
    let mut python = Python::start();
    let mut meter = meter(&python);
    cell(&mut meter, &mut python, "len(b'x' * (100 << 20))").await;
    let host = cell(&mut meter, &mut python, "pass").await.host;
    assert_near(Some((host.peak.unwrap() - host.before.unwrap()) as i64), 0);
}

#[tokio::test]
async fn without_the_systems_mark_the_samples_give_the_peak() {
    let mut python = Python::start();
    let options = Options {
        reset_peak: false,
        ..options()
    };
    let mut meter = Meter::new(python.pid(), options);
    // The system's mark stays at this spike, which is no cell's.
    python.run("len(b'x' * (200 << 20))");

    let before = meter.begin().await;
    python.run("kept = b'x' * (50 << 20)");
    let sampled = meter.sample().unwrap();
    python.run("del kept");
    let reading = meter.end(before).await;

    assert_eq!(reading.host.peak_quality, Some(PeakQuality::Sampled));
    assert_eq!(reading.host.peak, Some(sampled));
    assert_near(
        Some((sampled - reading.host.before.unwrap()) as i64),
        50 * MIB,
    );
    assert_eq!(reading.timeline.len(), 3);
    assert_eq!(reading.timeline[1].rss, sampled);
}

#[tokio::test]
async fn memory_that_was_not_touched_is_not_used() {
    let mut python = Python::start();
    let mut meter = meter(&python);
    let reading = cell(
        &mut meter,
        &mut python,
        "kept = mmap.mmap(-1, 1 << 30, mmap.MAP_PRIVATE)",
    )
    .await;
    assert_near(reading.host.delta, 0);
    assert_near(
        reading
            .host
            .peak
            .map(|peak| (peak - reading.host.before.unwrap()) as i64),
        0,
    );
}

#[tokio::test]
async fn anonymous_file_and_shared_memory_are_told_apart() {
    let mut python = Python::start();
    let mut meter = meter(&python);
    let host = cell(&mut meter, &mut python, "data = b'x' * (30 << 20)")
        .await
        .host;
    assert_near(host.anon, 30 * MIB);
    assert_near(host.file, 0);
    assert_near(host.shmem, 0);
    assert_eq!(host.swap, Some(0));

    let code = "shared = mmap.mmap(-1, 20 << 20)\nfor i in range(0, 20 << 20, 4096): shared[i] = 1";
    let host = cell(&mut meter, &mut python, code).await.host;
    assert_near(host.anon, 0);
    assert_near(host.shmem, 20 * MIB);

    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.as_file().set_len(10 * MIB).unwrap();
    let code = format!(
        "with open({:?}, 'rb') as f: mapped = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\nsum(mapped[::4096])",
        file.path()
    );
    let host = cell(&mut meter, &mut python, &code).await.host;
    assert_near(host.anon, 0);
    assert_near(host.file, 10 * MIB);
}

#[tokio::test]
async fn released_memory_is_a_negative_delta() {
    let mut python = Python::start();
    let mut meter = meter(&python);
    python.run("data = b'x' * (30 << 20)");
    let host = cell(&mut meter, &mut python, "del data").await.host;
    assert_near(host.delta.map(|delta| -delta), 30 * MIB);
    assert_eq!(
        host.delta,
        Some(host.after.unwrap() as i64 - host.before.unwrap() as i64)
    );
}

/// Forks a child that reads what it inherits, takes `own` MiB of its own and waits.
fn fork(own: u64) -> String {
    format!(
        "r, w = os.pipe()\n\
         child = os.fork()\n\
         if not child:\n\
        \x20   sum(data[::4096]); mine = b'x' * ({own} << 20)\n\
        \x20   os.write(w, b'1'); time.sleep(600); os._exit(0)\n\
         os.read(r, 1)"
    )
}

#[tokio::test]
async fn a_forked_child_counts_with_its_share_and_is_missed_when_it_ends() {
    let mut python = Python::start();
    let mut meter = meter(&python);
    python.run("data = b'x' * (100 << 20)");
    let none = Children {
        count: 0,
        pss: Some(0),
        own: Some(0),
        delta: Some(0),
        left: Vec::new(),
    };
    assert_eq!(
        cell(&mut meter, &mut python, "pass").await.host.children,
        Some(none)
    );

    // Half of the inherited 100 MiB and all of its own 40.
    let forked = cell(&mut meter, &mut python, &fork(40))
        .await
        .host
        .children
        .unwrap();
    assert_eq!(forked.count, 1);
    let share = forked.pss.unwrap();
    assert!((85 * MIB..=100 * MIB).contains(&share), "{share}");
    assert_eq!(forked.delta, Some(share as i64));

    let code = "os.kill(child, signal.SIGKILL); os.waitpid(child, 0)";
    let ended = cell(&mut meter, &mut python, code)
        .await
        .host
        .children
        .unwrap();
    assert_eq!((ended.count, ended.pss), (0, Some(0)));
    assert_near(ended.delta.map(|delta| -delta), share);
}

#[tokio::test]
async fn a_grandchild_counts_and_one_that_nobody_waited_for_does_not() {
    let mut python = Python::start();
    let mut meter = meter(&python);
    let grandchild = "r, w = os.pipe()\n\
        child = os.fork()\n\
        if not child:\n\
        \x20   os.fork(); os.write(w, b'1'); time.sleep(600); os._exit(0)\n\
        n = 0\n\
        while n < 2: n += len(os.read(r, 2))";
    let family = cell(&mut meter, &mut python, grandchild)
        .await
        .host
        .children
        .unwrap();
    assert_eq!(family.count, 2);
    assert!(family.left.len() == 2 && family.left.iter().all(|one| one.bond == Bond::Worker));

    let zombie =
        "z = os.fork()\nif not z: os._exit(0)\nos.waitid(os.P_PID, z, os.WEXITED | os.WNOWAIT)";
    let family = cell(&mut meter, &mut python, zombie)
        .await
        .host
        .children
        .unwrap();
    assert_eq!(family.count, 2);
    assert_eq!(family.left, [], "they were there before");

    let own =
        "s = os.fork()\nif not s: os.setsid(); os.write(w, b'1'); time.sleep(600)\nos.read(r, 1)";
    let family = cell(&mut meter, &mut python, own)
        .await
        .host
        .children
        .unwrap();
    let bonds: Vec<Bond> = family.left.iter().map(|one| one.bond).collect();
    assert_eq!((family.count, bonds), (3, vec![Bond::Session]));
    python.run("os.kill(s, signal.SIGKILL)"); // nobody else ends it
}

#[tokio::test]
async fn a_process_that_does_not_exist_gives_an_empty_reading() {
    let mut meter = Meter::new(u32::MAX, options());
    let before = meter.begin().await;
    assert_eq!(meter.sample(), None);
    assert_eq!(meter.end(before).await, Reading::default());
}

#[tokio::test]
async fn a_process_that_ends_during_a_cell_leaves_what_was_seen() {
    let mut python = Python::start();
    let mut meter = meter(&python);
    let before = meter.begin().await;
    let start = before.resident();
    python.run("kept = b'x' * (50 << 20)");
    let sampled = meter.sample();
    python.kill();
    assert_eq!(meter.sample(), None);
    let expected = Host {
        before: start,
        peak: sampled,
        peak_quality: Some(PeakQuality::Sampled),
        ..Host::default()
    };
    assert_eq!(meter.end(before).await.host, expected);

    let before = meter.begin().await;
    assert_eq!(meter.end(before).await, Reading::default());
}

#[tokio::test]
async fn a_zombie_has_ended() {
    let mut python = Python::start();
    let zombie = python.number("os.fork() or os._exit(0)");
    python.run(&format!(
        "os.waitid(os.P_PID, {zombie}, os.WEXITED | os.WNOWAIT)"
    ));
    let mut meter = Meter::new(zombie as u32, options());
    let before = meter.begin().await;
    assert_eq!(before.resident(), None);
    assert_eq!(meter.end(before).await, Reading::default());
}

#[tokio::test]
async fn the_persons_own_limit_binds_if_it_is_the_smallest() {
    let mut python = Python::start();
    let limited = Options {
        user_limit: Some(300 * MIB),
        ..options()
    };
    let mut meter = Meter::new(python.pid(), limited);
    let host = cell(&mut meter, &mut python, "pass").await.host;
    assert_eq!(host.limit, Some(300 * MIB));
    assert_eq!(host.limit_source, Some(LimitSource::Policy));
    let left = meter.available().unwrap();
    assert_near(Some((left + host.after.unwrap()) as i64), 300 * MIB);

    let huge = Options {
        user_limit: Some(u64::MAX),
        ..options()
    };
    let mut meter = Meter::new(python.pid(), huge);
    let host = cell(&mut meter, &mut python, "pass").await.host;
    assert!(host.limit.unwrap() < u64::MAX);
    assert_ne!(host.limit_source, Some(LimitSource::Policy));
}
