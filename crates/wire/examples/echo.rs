//! A kernel without a language: every request is answered by what it said. Drives the tests of the wire.
//!
//! `echo CONNECTION_FILE` answers a message of type `X_request` with `X_reply` of the same content and buffers, between
//! the statuses busy and idle. Some types do more:
//!
//! | type | content | effect |
//! |---|---|---|
//! | `flood_request` | `{"count": n, "size": bytes}` | publishes n numbered streams, pausing when told to |
//! | `quit_request` | `{"count": n, "size": bytes}` | the same without a pause, then drains and exits |
//! | `ask_request` | any | sends it back on the stdin channel as `input_request` |
//! | `slow_request` | any | takes ten milliseconds |
//! | `rss_request` | any | replies with `{"rss": bytes}` |

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use wire::{Channel, ConnectionFile, Inbox, Incoming, Options, Outbox};

const EMPTY: Bytes = Bytes::from_static(b"{}");

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// False when the last messages could not be delivered.
fn run() -> Result<bool, Box<dyn Error>> {
    let path = std::env::args_os().nth(1);
    let path = path.ok_or("usage: echo CONNECTION_FILE")?;
    let connection = ConnectionFile::load(path.as_ref())?;
    let mut options = Options::default();
    if let Ok(milliseconds) = std::env::var("ECHO_HANDSHAKE_MS") {
        options.handshake = Duration::from_millis(milliseconds.parse()?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (outbox, inbox) = wire::bind(&connection, options).await?;
        Ok(serve(outbox, inbox).await)
    })
}

async fn serve(outbox: Outbox, mut inbox: Inbox) -> bool {
    loop {
        let request = inbox.recv().await;
        if request.channel == Channel::Stdin {
            outbox.publish(
                "stdin_echo",
                Some(&request.origin.header),
                EMPTY,
                request.content,
                Vec::new(),
            );
            continue;
        }
        status(&outbox, &request, "busy");
        let quit = act(&outbox, &request).await;
        status(&outbox, &request, "idle");
        if quit {
            return outbox.drain(Duration::from_secs(20)).await;
        }
    }
}

async fn act(outbox: &Outbox, request: &Incoming) -> bool {
    let parent = Some(&request.origin.header);
    let kind = request.header.msg_type.trim_end_matches("_request");
    let mut content = request.content.clone();
    match kind {
        "flood" => flood(outbox, request, true).await,
        "quit" => flood(outbox, request, false).await,
        "ask" => drop(outbox.reply(
            Channel::Stdin,
            &request.origin,
            "input_request",
            EMPTY,
            content.clone(),
            Vec::new(),
        )),
        "slow" => tokio::time::sleep(Duration::from_millis(10)).await,
        "rss" => content = Bytes::from(format!("{{\"rss\":{}}}", rss())),
        "mirror" => outbox.publish(
            "mirror",
            parent,
            EMPTY,
            content.clone(),
            request.buffers.clone(),
        ),
        _ => {}
    }
    let reply = format!("{kind}_reply");
    outbox.reply(
        request.channel,
        &request.origin,
        &reply,
        EMPTY,
        content,
        request.buffers.clone(),
    );
    kind == "quit"
}

async fn flood(outbox: &Outbox, request: &Incoming, paced: bool) {
    let plan: serde_json::Value = serde_json::from_slice(&request.content).unwrap_or_default();
    let number = |key: &str| plan[key].as_u64().unwrap_or_default();
    let filler = "x".repeat(number("size") as usize);
    for index in 0..number("count") {
        let text = format!("{index} {filler}");
        outbox.publish_stream("stdout", text.as_bytes(), Some(&request.origin.header));
        if paced && outbox.congested() {
            outbox.relieved().await;
        }
        if index % 64 == 63 {
            tokio::task::yield_now().await;
        }
    }
}

fn status(outbox: &Outbox, request: &Incoming, state: &str) {
    let content = Bytes::from(format!("{{\"execution_state\":\"{state}\"}}"));
    outbox.publish(
        "status",
        Some(&request.origin.header),
        EMPTY,
        content,
        Vec::new(),
    );
}

/// Resident bytes of this process, see proc_pid_statm(5).
fn rss() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap_or_default();
    pages * 4096
}
