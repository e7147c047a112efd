//! What measuring costs the caller, in microseconds: `cargo run -p meter --release --example cost`.
//!
//! A child Python holds memory, threads or children; `begin`, `sample` and `end` are timed around nothing. Each row
//! gives the median and the 99th percentile of many rounds.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use meter::{Meter, Options};

const ROUNDS: usize = 2000;

const CASES: [(&str, &str); 4] = [
    ("100 MB", "data = b'x' * 100_000_000"),
    ("1 GB", "data = b'x' * 1_000_000_000"),
    (
        "64 threads",
        "[threading.Thread(target=time.sleep, args=(600,), daemon=True).start() for _ in range(63)]",
    ),
    (
        "2 children of 100 MB",
        "data = b'x' * 100_000_000\nfor _ in range(2):\n if not os.fork(): time.sleep(600)",
    ),
];

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!(
        "{:22} {:>18} {:>18} {:>18}",
        "µs: median, 99 %", "begin", "sample", "end"
    );
    for (name, code) in CASES {
        let mut child = Group(start(code)?);
        wait_until_ready(&mut child.0)?;
        let [begin, sample, end] = runtime.block_on(time(child.0.id()));
        println!(
            "{name:22} {:>18} {:>18} {:>18}",
            show(begin),
            show(sample),
            show(end)
        );
    }
    Ok(())
}

async fn time(pid: u32) -> [Vec<Duration>; 3] {
    let mut meter = Meter::new(pid, Options::default());
    let mut times: [Vec<Duration>; 3] = Default::default();
    let limit = Instant::now() + Duration::from_secs(10);
    for _ in 0..ROUNDS {
        let t0 = Instant::now();
        let before = meter.begin().await;
        let t1 = Instant::now();
        meter.sample();
        let t2 = Instant::now();
        let reading = meter.end(before).await;
        let t3 = Instant::now();
        drop(reading);
        for (times, took) in times.iter_mut().zip([t1 - t0, t2 - t1, t3 - t2]) {
            times.push(took);
        }
        if t3 > limit {
            break;
        }
    }
    times
}

fn show(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times
            .get(index)
            .map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    };
    format!("{:.1}, {:.1}", at(0.5), at(0.99))
}

fn start(code: &str) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;

    let code =
        format!("import os, threading, time\n{code}\nprint('ready', flush=True)\ntime.sleep(600)");
    Command::new("python3")
        .args(["-I", "-c", &code])
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
}

fn wait_until_ready(child: &mut Child) -> std::io::Result<()> {
    let Some(stdout) = child.stdout.as_mut() else {
        return Ok(());
    };
    BufReader::new(stdout).read_line(&mut String::new())?;
    Ok(())
}

/// Ends a child and its children.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: kill takes two numbers; the group has the number of a child that was not waited for.
        unsafe { libc::kill(-(self.0.id() as i32), libc::SIGKILL) };
        let _ = self.0.wait();
    }
}
