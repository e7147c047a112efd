//! A Unix socket between guard and zeromq that nobody else can reach.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::listener::BindError;

/// The connecting side of a private socket.
pub(crate) struct Private {
    path: PathBuf,
    _node: Option<File>,
    _directory: Option<TempDir>,
}

impl Private {
    /// A listener for zeromq and the way to it.
    ///
    /// The socket is made in a new directory of mode 0700 that is removed at once where `/proc` offers another way
    /// to the socket (the link of an `O_PATH` descriptor, see open(2)), and on drop elsewhere.
    pub(crate) fn bind() -> Result<(UnixListener, Self), BindError> {
        let failed = |source| BindError::Private {
            directory: std::env::temp_dir().display().to_string(),
            source,
        };
        let directory = tempfile::Builder::new()
            .prefix("wire-")
            .tempdir()
            .map_err(failed)?;
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let node = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(&path)
            .map_err(failed)?;
        let link = PathBuf::from(format!("/proc/self/fd/{}", node.as_raw_fd()));
        if link.exists() {
            return Ok((
                listener,
                Self {
                    path: link,
                    _node: Some(node),
                    _directory: None,
                },
            ));
        }
        Ok((
            listener,
            Self {
                path,
                _node: None,
                _directory: Some(directory),
            },
        ))
    }

    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        loop {
            match UnixStream::connect(&self.path).await {
                // The listener's backlog is full for the moment, see connect(2).
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(Duration::from_millis(1)).await
                }
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_reached_although_its_directory_is_gone() {
        let (listener, private) = Private::bind().unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!address.as_pathname().unwrap().exists());
        let (client, server) = (private.connect().await, listener.accept());
        assert!(client.is_ok() && server.is_ok());
    }
}
