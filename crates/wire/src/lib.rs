//! The Jupyter wire: connection file, signed opaque envelopes, the five channels.
//!
//! [`bind`] opens the sockets that a [`ConnectionFile`] names and returns an [`Inbox`] of verified requests and an
//! [`Outbox`] for replies and publications. Header, parent header, metadata, content and buffers stay opaque bytes;
//! only the few fields of [`Header`] are read. The header of a request goes back byte for byte as the parent header
//! of everything that it causes.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use bytes::Bytes;
//! let connection = wire::ConnectionFile::load("kernel.json".as_ref())?;
//! let (outbox, mut inbox) = wire::bind(&connection, wire::Options::default()).await?;
//! let request = inbox.recv().await;
//! let (metadata, content) = (Bytes::from("{}"), Bytes::from(r#"{"status":"ok"}"#));
//! outbox.reply(request.channel, &request.origin, "comm_info_reply", metadata, content, Vec::new());
//! # Ok(())
//! # }
//! ```
//!
//! # Theory of operation
//!
//! ```text
//! client ─ listener ─ guard ─ private socket ─ zeromq ROUTER ─ decode ─ Inbox      shell, control, stdin
//! client ─ listener ─ guard ─ private socket ─ zeromq REP (echo)                   heartbeat
//! client ─ listener ─ subscriber ─ queue ─ publisher ─ Outbox                      iopub
//! ```
//!
//! Nothing that arrives is trusted: lengths are checked before anything is allocated, and all clients together
//! share one limit of bytes in flight, because signatures can be checked only when a message is complete.
//! Everything runs on one current-thread tokio runtime.

mod allocator;
mod budget;
mod connection;
mod date;
mod envelope;
mod escape;
mod guard;
mod heartbeat;
mod inbox;
mod iopub;
mod listener;
mod message;
mod outbox;
mod parking;
mod peers;
mod private;
mod router;
mod signature;
mod throttle;
mod zmtp;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use budget::Budget;
use envelope::Sealer;
use inbox::Queues;
use iopub::Publisher;
use listener::Listener;
use outbox::{Channels, Sockets};
use throttle::Throttle;

pub use connection::{ConnectionError, ConnectionFile, Transport};
pub use date::now;
pub use envelope::PROTOCOL_VERSION;
pub use inbox::Inbox;
pub use listener::BindError;
pub use message::{Channel, Header, Incoming, MAX_FRAMES, Malformed, Origin, decode};
pub use outbox::Outbox;
pub use signature::{BadSignature, Signer};

/// Limits of the sockets.
#[derive(Clone, Debug)]
pub struct Options {
    /// Largest frame, and largest message, that a client may send, in bytes. All clients together may have twice
    /// as much in flight.
    pub max_frame: u64,
    /// Time that a client has to introduce itself.
    pub handshake: Duration,
    /// Bytes that may wait for one subscriber. One that stopped reading is then disconnected; one that still reads,
    /// at twice as much. The largest waiting message does not count.
    pub subscriber_bytes: usize,
}

impl Default for Options {
    /// 512 MiB, 10 s, 32 MiB.
    fn default() -> Self {
        Self {
            max_frame: 512 << 20,
            handshake: Duration::from_secs(10),
            subscriber_bytes: 32 << 20,
        }
    }
}

/// Opens all five sockets. They close when the inbox and every clone of the outbox are dropped.
///
/// # Errors
/// When one of the sockets cannot listen; the message names the port and says what to do.
pub async fn bind(
    connection: &ConnectionFile,
    options: Options,
) -> Result<(Outbox, Inbox), BindError> {
    let mut files = Vec::new();
    let shell = Listener::bind(connection, "shell_port", connection.shell_port, &mut files).await?;
    let iopub = Listener::bind(connection, "iopub_port", connection.iopub_port, &mut files).await?;
    let stdin = Listener::bind(connection, "stdin_port", connection.stdin_port, &mut files).await?;
    let control = Listener::bind(
        connection,
        "control_port",
        connection.control_port,
        &mut files,
    )
    .await?;
    let heartbeat = Listener::bind(connection, "hb_port", connection.hb_port, &mut files).await?;

    let signer = Arc::new(Signer::new(&connection.key));
    let sealer = Arc::new(Sealer::new(Arc::clone(&signer)));
    let warnings = Arc::new(Throttle::default());
    let budget = Budget::new(options.max_frame.saturating_mul(2));
    let (bytes, handshake) = (options.subscriber_bytes, options.handshake);
    let publisher = Publisher::new(
        bytes,
        handshake,
        Arc::clone(&sealer),
        Arc::clone(&budget),
        Arc::clone(&warnings),
    );
    let common = router::Common {
        options,
        signer,
        budget,
        seats: listener::seats(),
        warnings,
    };
    let queues = Arc::new(Queues::default());
    let mut tasks = JoinSet::new();
    let replies = Channels {
        shell: router::start(
            Channel::Shell,
            shell,
            queues.slot(Channel::Shell),
            &common,
            &mut tasks,
        )
        .await?,
        control: router::start(
            Channel::Control,
            control,
            queues.slot(Channel::Control),
            &common,
            &mut tasks,
        )
        .await?,
        stdin: router::start(
            Channel::Stdin,
            stdin,
            queues.slot(Channel::Stdin),
            &common,
            &mut tasks,
        )
        .await?,
    };
    heartbeat::start(heartbeat, &common, &mut tasks).await?;
    let subscribers = Arc::clone(&publisher);
    tasks.spawn(iopub.run(
        Arc::clone(&common.seats),
        move |reader, writer, admission| {
            iopub::serve(Arc::clone(&subscribers), reader, writer, admission)
        },
    ));
    let sockets = Arc::new(Sockets {
        _tasks: tasks,
        _files: files,
    });
    let outbox = Outbox::new(sealer, publisher, replies, Arc::clone(&sockets));
    Ok((outbox, Inbox::new(queues, sockets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send_and_sync<T: Send + Sync>(_: &T) {}

    fn ipc(directory: &std::path::Path) -> ConnectionFile {
        let ip = directory.join("k").display().to_string();
        let (shell_port, iopub_port, stdin_port, control_port, hb_port) = (1, 2, 3, 4, 5);
        ConnectionFile {
            transport: Transport::Ipc,
            ip,
            shell_port,
            iopub_port,
            stdin_port,
            control_port,
            hb_port,
            key: "key".to_owned(),
            kernel_name: None,
        }
    }

    #[tokio::test]
    async fn the_socket_files_live_as_long_as_inbox_and_outbox() {
        let directory = tempfile::tempdir().unwrap();
        let files = || std::fs::read_dir(directory.path()).unwrap().count();
        let (outbox, inbox) = bind(&ipc(directory.path()), Options::default())
            .await
            .unwrap();
        is_send_and_sync(&outbox);
        is_send_and_sync(&inbox);
        drop(inbox);
        assert_eq!(files(), 5);
        drop(outbox);
        assert_eq!(files(), 0);
        bind(&ipc(directory.path()), Options::default())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn with_nobody_connected_nothing_waits() {
        let directory = tempfile::tempdir().unwrap();
        let (outbox, _inbox) = bind(&ipc(directory.path()), Options::default())
            .await
            .unwrap();
        let gone = Origin {
            identities: vec!["gone".into()],
            header: "{}".into(),
        };
        let empty = bytes::Bytes::from("{}");
        outbox.reply(
            Channel::Shell,
            &gone,
            "x_reply",
            empty.clone(),
            empty,
            Vec::new(),
        );
        outbox.publish_stream("stdout", &[b'x'; 20 << 20], None);
        assert!(!outbox.congested());
        outbox.relieved().await;
        assert!(outbox.drain(Duration::from_secs(5)).await);
    }
}
