//! The heartbeat: a zeromq REP that echoes, behind a guard of its own.
//!
//! REP writes its reply before it takes the next request of anybody, so one client that does not read could stop
//! the heart for all. This guard passes one request at a time and takes the whole reply before it writes any of it
//! to the client: REP never waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use zeromq::{RepSocket, Socket, SocketRecv, SocketSend};

use crate::budget::Budget;
use crate::guard::Assembly;
use crate::listener::{Admission, BindError, Listener, Reader, Writer};
use crate::private::Private;
use crate::router::Common;
use crate::throttle::Throttle;
use crate::zmtp::{self, Command, FrameError, FrameReader, HandshakeError};

/// Largest heartbeat, in bytes. Clients send a few; zeromq keeps the largest for each connection.
const LIMIT: u64 = 64 << 10;

/// Starts the tasks of the heartbeat.
pub(crate) async fn start(
    listener: Listener,
    common: &Common,
    tasks: &mut JoinSet<()>,
) -> Result<(), BindError> {
    let (socket, private) = Private::bind()?;
    let mut rep = RepSocket::new();
    let adopted = rep.bind_listener(socket).await;
    adopted.map_err(|e| BindError::Private {
        directory: "heartbeat".to_owned(),
        source: std::io::Error::other(e),
    })?;
    let guard = Arc::new(Guard {
        private,
        budget: Arc::clone(&common.budget),
        handshake: common.options.handshake,
        warnings: Arc::clone(&common.warnings),
    });
    tasks.spawn(listener.run(
        Arc::clone(&common.seats),
        move |reader, writer, admission| Arc::clone(&guard).serve(reader, writer, admission),
    ));
    tasks.spawn(echo(rep));
    Ok(())
}

async fn echo(mut rep: RepSocket) {
    loop {
        match rep.recv().await {
            // Fails when the client is gone.
            Ok(message) => drop(rep.send(message).await),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

struct Guard {
    private: Private,
    budget: Arc<Budget>,
    handshake: Duration,
    warnings: Arc<Throttle>,
}

impl Guard {
    async fn serve(self: Arc<Self>, reader: Reader, writer: Writer, admission: Admission) {
        if let Err(error) = self.connection(reader, writer, admission).await
            && !matches!(
                error,
                HandshakeError::Frame(FrameError::Io(_) | FrameError::Truncated)
            )
        {
            self.warnings.warn("heartbeat", &error);
        }
    }

    async fn connection(
        &self,
        reader: Reader,
        mut client: Writer,
        mut admission: Admission,
    ) -> Result<(), HandshakeError> {
        let mut reader = FrameReader::new(reader, 0, Arc::clone(&self.budget));
        let welcome = &["REQ", "DEALER", "ROUTER"];
        let shake = zmtp::accept(&mut reader, &mut client, "REP", welcome, || {
            admission.grant(2)
        });
        tokio::time::timeout(self.handshake, shake)
            .await
            .map_err(|_| HandshakeError::Slow)??;
        reader.set_limit(LIMIT);
        let (inner_reader, mut inner_writer) = self.private.connect().await?.into_split();
        let mut inner = FrameReader::new(inner_reader, LIMIT, Arc::clone(&self.budget));
        zmtp::introduce(&mut inner, &mut inner_writer, "REQ", b"").await?;
        while let Some(request) = read_message(&mut reader, Some(&mut client), &self.budget).await?
        {
            // An empty frame ends the envelope; zeromq answers nothing that lacks one, and libzmq neither.
            let delimiter = request.iter().position(Bytes::is_empty);
            if delimiter.is_some_and(|at| at + 1 < request.len()) {
                let Some(reply) = self.ask(request, &mut inner, &mut inner_writer).await? else {
                    break;
                };
                client.write_all(&zmtp::encode(&reply).concat()).await?;
            }
        }
        Ok(())
    }

    async fn ask(
        &self,
        request: Vec<Bytes>,
        reader: &mut FrameReader<OwnedReadHalf>,
        writer: &mut OwnedWriteHalf,
    ) -> Result<Option<Vec<Bytes>>, FrameError> {
        let mut wire = BytesMut::new();
        zmtp::encode(&request)
            .iter()
            .for_each(|piece| wire.extend_from_slice(piece));
        writer.write_all(&wire).await?;
        read_message(reader, None, &self.budget).await
    }
}

/// Reads one multipart; answers PINGs on the way.
async fn read_message<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    mut client: Option<&mut Writer>,
    budget: &Arc<Budget>,
) -> Result<Option<Vec<Bytes>>, FrameError> {
    let mut message = Assembly::new(budget);
    while let Some(frame) = reader.next().await? {
        if frame.is_command() {
            if let (Command::Ping(context), Some(client)) =
                (Command::parse(&frame.body), &mut client)
            {
                client.write_all(&zmtp::pong(&context)).await?;
            }
            continue;
        }
        let more = frame.more();
        message.add(frame.body, LIMIT)?;
        if !more {
            return Ok(Some(message.frames));
        }
    }
    if message.frames.is_empty() {
        Ok(None)
    } else {
        Err(FrameError::Truncated)
    }
}
