//! A line: how requests reach one subshell. It answers on the channel; on the line it says only that it is there, or why not.

use crate::frame::Frame;
use bytes::Bytes;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

/// What a subshell says first, once it takes requests.
const OPEN: u8 = b'+';
/// How long a subshell that is told to end may take before it is taken for gone: a callback of its loop may run on.
const LAST_STEPS: Duration = Duration::from_secs(1);
/// A line that ends without a reason may be the first that is seen of the interpreter's end, which says more.
const PARTING: Duration = Duration::from_millis(500);
/// More of the reason for its end is not kept, bytes.
const LONGEST: usize = 4096;

/// Requests to one subshell go in here. Dropping the line ends the subshell, once it has taken what was sent; its last event comes
/// when its thread is gone.
#[derive(Debug)]
pub struct Line(mpsc::UnboundedSender<Vec<Bytes>>);

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum LineEvent {
    /// The subshell takes requests.
    Open,
    /// The subshell has ended, or could not begin. If that was not asked for, the text says why, if it could.
    Ended(String),
}

/// Where the events of lines go, each with the id of its subshell.
pub type Ear = mpsc::UnboundedSender<(String, LineEvent)>;

impl Line {
    /// Serves our end of a socketpair. Call it on the runtime.
    pub(crate) fn new(id: String, socket: UnixStream, ear: Ear) -> Self {
        let (frames, waiting) = mpsc::unbounded_channel();
        tokio::spawn(serve(id, socket, waiting, ear));
        Self(frames)
    }

    /// Sends a frame.
    pub fn send(&self, sections: &[Bytes]) {
        // The other side is gone only when the subshell is, and that is an event.
        drop(self.0.send(sections.to_vec()));
    }
}

async fn serve(
    id: String,
    socket: UnixStream,
    waiting: mpsc::UnboundedReceiver<Vec<Bytes>>,
    ear: Ear,
) {
    let (from, to) = socket.into_split();
    // Nobody listens any more at the end of the kernel only.
    let tell = |event| drop(ear.send((id.clone(), event)));
    let listening = listen(from, || tell(LineEvent::Open));
    tokio::pin!(listening);
    let why = tokio::select! {
        to = write(to, waiting) => {
            drop(to); // the end of the line
            tokio::time::timeout(LAST_STEPS, listening).await.unwrap_or_default()
        }
        why = &mut listening => {
            if why.is_empty() {
                tokio::time::sleep(PARTING).await;
            }
            why
        }
    };
    tell(LineEvent::Ended(why));
}

/// Returns the socket when the front has dropped the line.
async fn write(
    mut socket: OwnedWriteHalf,
    mut waiting: mpsc::UnboundedReceiver<Vec<Bytes>>,
) -> OwnedWriteHalf {
    while let Some(sections) = waiting.recv().await {
        let head = Frame::head(&sections);
        for part in std::iter::once(&head).chain(&sections) {
            if let Err(error) = socket.write_all(part).await {
                tracing::debug!(%error, "a subshell that is gone");
                return std::future::pending().await; // `listen` sees it too, and may learn why
            }
        }
    }
    socket
}

/// Returns at the end of the line with what was said before it.
async fn listen(mut socket: OwnedReadHalf, opened: impl Fn()) -> String {
    let mut said = Vec::new();
    let mut is_open = false;
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
        let mut text = &buffer[..count];
        if !is_open && text[0] == OPEN {
            is_open = true;
            opened();
            text = &text[1..];
        }
        let room = LONGEST - said.len();
        said.extend_from_slice(&text[..text.len().min(room)]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::io::Write;
    use std::os::unix::net::UnixStream as Blocking;

    async fn events(said: &[u8]) -> Vec<LineEvent> {
        let (ours, mut theirs) = Blocking::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (ear, mut heard) = mpsc::unbounded_channel();
        let _line = Line::new("a".to_owned(), UnixStream::from_std(ours).unwrap(), ear);
        theirs.write_all(said).unwrap();
        drop(theirs);
        let mut events = Vec::new();
        while let Some((id, event)) = heard.recv().await {
            assert_eq!(id, "a");
            events.push(event);
        }
        events
    }

    #[tokio::test]
    async fn a_line_says_that_it_is_open_and_why_it_ends() {
        let ended = |why: &str| LineEvent::Ended(why.to_owned());
        assert_eq!(events(b"").await, [ended("")]);
        assert_eq!(events(b"no thread").await, [ended("no thread")]);
        assert_eq!(events(b"+").await, [LineEvent::Open, ended("")]);
        assert_eq!(events(b"+why").await, [LineEvent::Open, ended("why")]);
        assert_eq!(events(&[b'x'; 9000]).await, [ended(&"x".repeat(LONGEST))]);
    }

    #[tokio::test]
    async fn a_line_that_is_dropped_ends_when_the_other_side_does() {
        let (ours, theirs) = Blocking::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (ear, mut heard) = mpsc::unbounded_channel();
        let line = Line::new("a".to_owned(), UnixStream::from_std(ours).unwrap(), ear);
        line.send(&[Bytes::from_static(b"last")]);
        drop(line);
        let other_side = tokio::task::spawn_blocking(move || {
            let mut came = Vec::new();
            (&theirs).read_to_end(&mut came).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            came
        });
        let ended = LineEvent::Ended(String::new());
        assert_eq!(heard.recv().await, Some(("a".to_owned(), ended)));
        assert!(other_side.is_finished());
        assert!(other_side.await.unwrap().ends_with(b"last"));
    }

    #[tokio::test]
    async fn a_line_that_is_dropped_ends_though_the_other_side_goes_on() {
        let (ours, _theirs) = Blocking::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (ear, mut heard) = mpsc::unbounded_channel();
        drop(Line::new(
            "a".to_owned(),
            UnixStream::from_std(ours).unwrap(),
            ear,
        ));
        let ended = LineEvent::Ended(String::new());
        assert_eq!(heard.recv().await, Some(("a".to_owned(), ended)));
    }
}
