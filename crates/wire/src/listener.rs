//! The outer door: listening sockets, and a bound on who may stand in the hall.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};

use crate::budget::{Budget, Lease};
use crate::connection::{ConnectionFile, Transport};

/// Connections that one port serves at a time.
const MAX_CONNECTIONS: usize = 1024;
/// Connections of one port that have not finished their handshake; the oldest makes room for the next.
const MAX_WAITING: usize = 128;
/// Descriptors left to everything that is not a connection.
const RESERVED: u64 = 128;
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);

pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Why the kernel cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process listens there.
    #[error(
        "{field} {address} is in use by another process; \
         start the kernel again so that the Jupyter client chooses new ports, or stop the process that holds it"
    )]
    InUse {
        /// The field of the connection file.
        field: &'static str,
        /// The address and port, or the path.
        address: String,
    },
    /// Any other failure.
    #[error(
        "cannot listen on {field} {address}: {source}; check `ip` and `transport` in the connection file"
    )]
    Listen {
        /// The field of the connection file.
        field: &'static str,
        /// The address and port, or the path.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The private sockets between guard and router could not be made.
    #[error(
        "cannot make a private socket in {directory}: {source}; set TMPDIR to a writable directory with a short path"
    )]
    Private {
        /// The directory for temporary files.
        directory: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening socket of either transport.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Ipc(UnixListener),
}

/// Removes the file of a Unix socket when dropped.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens on one port of the connection file. For `ipc` the owner of the socket's file joins `files`.
    pub(crate) async fn bind(
        connection: &ConnectionFile,
        field: &'static str,
        port: u16,
        files: &mut Vec<SocketFile>,
    ) -> Result<Self, BindError> {
        let (address, result) = match connection.transport {
            Transport::Tcp => {
                // libzmq's name for every interface.
                let ip = if connection.ip == "*" {
                    "0.0.0.0"
                } else {
                    &connection.ip
                };
                let ip = ip.trim_start_matches('[').trim_end_matches(']');
                (
                    format!("{ip}:{port}"),
                    TcpListener::bind((ip, port)).await.map(Self::Tcp),
                )
            }
            Transport::Ipc => {
                let path = format!("{}-{port}", connection.ip);
                let listener = bind_unix(Path::new(&path), files).map(Self::Ipc);
                (path, listener)
            }
        };
        result.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { field, address },
            _ => BindError::Listen {
                field,
                address,
                source,
            },
        })
    }

    /// Accepts for ever and runs `serve` for each connection. Dropping the future ends them all.
    pub(crate) async fn run<F, Fut>(self, seats: Arc<Budget>, serve: F)
    where
        F: Fn(Reader, Writer, Admission) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let hall = Hall::default();
        let mut connections = JoinSet::new();
        for number in 0.. {
            let accepted = loop {
                tokio::select! {
                    accepted = self.accept() => break accepted,
                    Some(_) = connections.join_next() => {}
                }
            };
            let Ok((reader, writer)) = accepted else {
                tokio::time::sleep(BACK_OFF).await;
                continue;
            };
            let mut seat = seats.lease();
            let full = connections.len() >= MAX_CONNECTIONS || !seat.grow(1);
            if full && !hall.dismiss_oldest() {
                continue;
            }
            let admission = Admission {
                number,
                hall: hall.clone(),
                seat,
            };
            let handle = connections.spawn(serve(reader, writer, admission));
            hall.enter(number, handle);
        }
    }

    async fn accept(&self) -> io::Result<(Reader, Writer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                Ok((Box::new(reader), Box::new(writer)))
            }
            Self::Ipc(listener) => {
                let (stream, _) = listener.accept().await?;
                let (reader, writer) = stream.into_split();
                Ok((Box::new(reader), Box::new(writer)))
            }
        }
    }
}

/// Binds a Unix socket that only this user can reach, in place of a file that a dead kernel left behind.
fn bind_unix(path: &Path, files: &mut Vec<SocketFile>) -> io::Result<UnixListener> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
        let stale = metadata.file_type().is_socket()
            && std::os::unix::net::UnixStream::connect(path).is_err_and(refused);
        if !stale {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    files.push(SocketFile(path.to_owned()));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connections that have not shaken hands yet, oldest first.
#[derive(Clone, Default)]
struct Hall(Arc<Mutex<Vec<(u64, AbortHandle)>>>);

impl Hall {
    fn enter(&self, number: u64, handle: AbortHandle) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(_, handle)| !handle.is_finished());
        if waiting.len() >= MAX_WAITING {
            waiting.remove(0).1.abort();
        }
        if !handle.is_finished() {
            waiting.push((number, handle));
        }
    }

    /// False when nobody waits.
    fn dismiss_oldest(&self) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(_, handle)| !handle.is_finished());
        if waiting.is_empty() {
            return false;
        }
        waiting.remove(0).1.abort();
        true
    }
}

/// Held by a connection as long as it lasts.
pub(crate) struct Admission {
    number: u64,
    hall: Hall,
    seat: Lease,
}

impl Admission {
    /// The handshake is done and takes so many descriptors more; false when they are not there.
    #[must_use]
    pub(crate) fn grant(&mut self, descriptors: u64) -> bool {
        if !self.seat.grow(descriptors) {
            return false;
        }
        let mut waiting = self.hall.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(number, _)| *number != self.number);
        true
    }
}

/// File descriptors that the connections of all ports may take together.
///
/// Out of descriptors zeromq's accept loop spins, and the kernel could not start a process or open a file.
pub(crate) fn seats() -> Arc<Budget> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place for the result; see getrlimit(2).
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    let limit = if known { limit.rlim_cur } else { 1024 };
    Budget::new(limit.saturating_sub(RESERVED).max(64))
}
