//! The server's life: started in a process group of its own, asked whether it is ready, ended with everything that it started.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::NAMES;
use super::plan::Plan;
use crate::output;

/// A cold start from a network disk takes many seconds; longer than this is broken.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long the server may take to end its kernels.
const FAREWELL: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);
/// A server answers with less than this about its kernels (bytes).
const LONGEST_ANSWER: u64 = 16 << 20;

/// Starts the server, calls `ready` once Colab can connect, and returns when it has ended because it was asked to.
///
/// # Errors
/// If it does not start, does not offer our kernel, or ends by itself.
pub async fn run(
    plan: &Plan,
    folder: &Path,
    token: &str,
    ready: impl Fn() -> io::Result<()>,
) -> Result<()> {
    let mut stop = Stop::new()?;
    let mut server = start(plan, folder)?;
    let outcome = tokio::select! {
        () = stop.asked() => Ok(()),
        status = server.wait() => ended(status),
        outcome = serve(plan, token, ready) => outcome,
    };
    // A second wish to end is granted at once.
    tokio::select! {
        () = end(&mut server) => {}
        () = stop.asked() => {}
    }
    kill_group(&mut server).await;
    outcome
}

/// Tells the person once it is ready, and then lasts for ever.
async fn serve(plan: &Plan, token: &str, ready: impl Fn() -> io::Result<()>) -> Result<()> {
    match timeout(PATIENCE, until_it_answers(plan.port, token)).await {
        Ok(specs) => check(&specs?, &plan.program)?,
        Err(_) => bail!(
            "the Jupyter server does not answer on port {}; has its configuration a certificate, or another address?",
            plan.port
        ),
    }
    ready()?;
    std::future::pending().await
}

fn start(plan: &Plan, folder: &Path) -> Result<Child> {
    let words = plan.command();
    let (program, options) = words.split_first().context("an empty command")?;
    let mut command = Command::new(program);
    command
        .args(options)
        .env_remove("JUPYTER_TOKEN")
        .envs(plan.variables(folder))
        .stdin(Stdio::null())
        // A group of its own: Ctrl-C reaches us, and we end it without the question that Jupyter would ask.
        .process_group(0)
        .kill_on_drop(true);
    let parent = std::process::id();
    // SAFETY: only async-signal-safe calls (signal-safety(7)) run between fork and exec: prctl, getppid, _exit.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) < 0 {
                return Err(io::Error::last_os_error());
            }
            if libc::getppid() as u32 != parent {
                libc::_exit(1); // we ended before prctl: no signal will come
            }
            Ok(())
        });
    }
    command
        .spawn()
        .with_context(|| format!("cannot run {}", plan.jupyter.display()))
}

fn ended(status: io::Result<std::process::ExitStatus>) -> Result<()> {
    let status = status.context("the Jupyter server cannot be watched")?;
    bail!("the Jupyter server has ended ({status}); what it said stands above");
}

/// What ends us: Ctrl-C, a polite kill, a terminal that is closed.
struct Stop([Signals; 3]);

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Lets the server end by itself, for it ends its kernels.
async fn end(server: &mut Child) {
    let Some(pid) = pid(server) else { return };
    if kill(pid, Signal::SIGTERM).is_ok() && timeout(FAREWELL, server.wait()).await.is_err() {
        output::note("the Jupyter server does not end; it is killed");
    }
}

async fn kill_group(server: &mut Child) {
    if let Some(pid) = pid(server) {
        let _ = killpg(pid, Signal::SIGKILL);
        let _ = server.wait().await;
    }
}

/// Nothing once it has been waited for: the number may be another process's by then.
fn pid(server: &Child) -> Option<Pid> {
    Some(Pid::from_raw(i32::try_from(server.id()?).ok()?))
}

/// The server's kernelspecs, as soon as it has any to tell.
async fn until_it_answers(port: u16, token: &str) -> Result<Value> {
    loop {
        match ask(port, token).await {
            Ok(answer) => return understand(&answer),
            Err(_) => sleep(PAUSE).await, // not yet there
        }
    }
}

async fn ask(port: u16, token: &str) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let request = format!(
        "GET /api/kernelspecs HTTP/1.0\r\nHost: localhost:{port}\r\nAuthorization: token {token}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

/// The JSON of an HTTP answer.
fn understand(answer: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split_whitespace().nth(1) {
        Some("200") => {
            serde_json::from_str(body).context("the Jupyter server's answer cannot be read")
        }
        Some("401" | "403") => bail!(
            "the Jupyter server refuses our token: its configuration sets a token of its own (IdentityProvider.token); \
             take it out there, or give the same one as JUPYTER_TOKEN"
        ),
        _ => bail!("the Jupyter server answered: {status}"),
    }
}

/// Both names lead to us.
fn check(specs: &Value, program: &Path) -> Result<()> {
    for name in NAMES {
        let first = &specs["kernelspecs"][name]["spec"]["argv"][0];
        if first.as_str().map(Path::new) != Some(program) {
            bail!(
                "the Jupyter server does not offer this kernel as {name}: does its configuration restrict the kernels \
                 (KernelSpecManager)?"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_json_or_an_error_that_says_what_to_do() {
        let ok = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n{\"kernelspecs\":{}}";
        assert!(understand(ok).unwrap()["kernelspecs"].is_object());
        for (answer, said) in [
            (&b"HTTP/1.1 403 Forbidden\r\n\r\n{}"[..], "JUPYTER_TOKEN"),
            (b"HTTP/1.1 500 Oh\r\n\r\n", "500 Oh"),
            (b"HTTP/1.1 200 OK\r\n\r\nhello", "cannot be read"),
            (b"SSH-2.0-OpenSSH\r\n", "SSH-2.0"),
            (b"\xff\xfe", "answered"),
        ] {
            let error = format!("{:#}", understand(answer).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn another_kernel_under_one_of_our_names_is_noticed() {
        let ours = serde_json::json!({"spec": {"argv": ["/bin/rust-hygiene", "kernel"]}});
        let other = serde_json::json!({"spec": {"argv": ["/usr/bin/python3"]}});
        let program = Path::new("/bin/rust-hygiene");
        let specs = |python3: &Value| serde_json::json!({"kernelspecs": {"python3": python3, "rust-hygiene": ours}});
        check(&specs(&ours), program).unwrap();
        let error = check(&specs(&other), program).unwrap_err().to_string();
        assert!(error.contains("python3"), "{error}");
        check(&Value::Null, program).unwrap_err();
    }
}
