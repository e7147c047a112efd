//! The greeting and the READY commands, with the NULL mechanism only.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::frame::{COMMAND, FrameError, put_header};
use super::reader::FrameReader;

/// Bytes of a greeting.
const GREETING: usize = 64;
/// Longest READY command, in bytes.
const READY_LIMIT: u64 = 4096;
/// Longest identity, in bytes (RFC 28, "ROUTER").
const MAX_IDENTITY: usize = 255;

#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("not a ZMTP 3 greeting")]
    Greeting,
    #[error(
        "a security mechanism other than NULL; set `transport_encryption` to `disabled` in the Jupyter client"
    )]
    Mechanism,
    #[error("not a READY command")]
    Ready,
    #[error("a socket of type {0:?} on a {1} port")]
    SocketType(String, &'static str),
    #[error("the handshake took too long")]
    Slow,
    #[error("too many connections for the limit of file descriptors")]
    Full,
}

impl From<std::io::Error> for HandshakeError {
    fn from(error: std::io::Error) -> Self {
        Self::Frame(FrameError::Io(error))
    }
}

/// Shakes hands as the server of type `ours` with a client of one of the types `welcome`; returns its identity,
/// which may be empty.
///
/// `admit` runs before the client learns that the handshake succeeded, and may still refuse it: what a client sends
/// after that must not be lost.
pub(crate) async fn accept<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut W,
    ours: &'static str,
    welcome: &[&str],
    admit: impl FnOnce() -> bool,
) -> Result<Bytes, HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    reader.set_limit(READY_LIMIT);
    // libzmq sends the second half of its greeting only after it has seen ours.
    writer.write_all(&greeting()).await?;
    if reader.raw(1).await?[0] != 0xff {
        return Err(HandshakeError::Greeting);
    }
    check_greeting(&reader.raw(GREETING - 1).await?)?;
    let peer = read_ready(reader).await?;
    if !welcome.contains(&peer.socket_type.as_str()) {
        return Err(HandshakeError::SocketType(peer.socket_type, ours));
    }
    if !admit() {
        return Err(HandshakeError::Full);
    }
    writer.write_all(&ready(ours, b"")).await?;
    Ok(peer.identity)
}

/// Shakes hands as a client of type `ours` that calls itself `identity`.
pub(crate) async fn introduce<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut W,
    ours: &'static str,
    identity: &[u8],
) -> Result<(), HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut hello = BytesMut::from(&greeting()[..]);
    hello.extend_from_slice(&ready(ours, identity));
    writer.write_all(&hello).await?;
    check_greeting(&reader.raw(GREETING).await?[1..])?;
    read_ready(reader).await.map(drop)
}

fn greeting() -> [u8; GREETING] {
    let mut bytes = [0; GREETING];
    (bytes[0], bytes[9]) = (0xff, 0x7f);
    bytes[10] = 3;
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// Checks a greeting of which the first byte was checked already.
fn check_greeting(rest: &[u8]) -> Result<(), HandshakeError> {
    let (signature_end, major, mechanism) = (rest.get(8), rest.get(9), rest.get(11..31));
    if signature_end != Some(&0x7f) || major.is_none_or(|major| *major < 3) {
        return Err(HandshakeError::Greeting);
    }
    let null = mechanism.is_some_and(|m| m.starts_with(b"NULL") && m[4..].iter().all(|b| *b == 0));
    if null {
        Ok(())
    } else {
        Err(HandshakeError::Mechanism)
    }
}

fn ready(socket_type: &str, identity: &[u8]) -> Bytes {
    let mut body = BytesMut::from(&b"\x05READY"[..]);
    let mut property = |name: &str, value: &[u8]| {
        body.extend_from_slice(&[name.len() as u8]);
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    };
    property("Socket-Type", socket_type.as_bytes());
    if !identity.is_empty() {
        property("Identity", identity);
    }
    let mut out = BytesMut::with_capacity(body.len() + 9);
    put_header(&mut out, COMMAND, body.len());
    out.extend_from_slice(&body);
    out.freeze()
}

struct Peer {
    socket_type: String,
    identity: Bytes,
}

async fn read_ready<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
) -> Result<Peer, HandshakeError> {
    let frame = reader.next().await?.ok_or(FrameError::Truncated)?;
    if !frame.is_command() {
        return Err(HandshakeError::Ready);
    }
    parse_ready(&frame.body).ok_or(HandshakeError::Ready)
}

fn parse_ready(body: &Bytes) -> Option<Peer> {
    let mut rest = body.strip_prefix(b"\x05READY")?;
    let mut peer = Peer {
        socket_type: String::new(),
        identity: Bytes::new(),
    };
    while let Some((&length, after)) = rest.split_first() {
        let (name, after) = after.split_at_checked(usize::from(length))?;
        let (size, after) = after.split_first_chunk::<4>()?;
        let (value, after) =
            after.split_at_checked(usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            peer.socket_type = String::from_utf8_lossy(value).into_owned();
        } else if name.eq_ignore_ascii_case(b"Identity") {
            peer.identity = Bytes::copy_from_slice(value);
        }
        rest = after;
    }
    (peer.identity.len() <= MAX_IDENTITY).then_some(peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use proptest::prelude::*;

    async fn shake(client: &[u8]) -> Result<Bytes, HandshakeError> {
        let mut reader = FrameReader::new(client, 0, Budget::new(0));
        accept(
            &mut reader,
            &mut tokio::io::sink(),
            "ROUTER",
            &["DEALER", "REQ"],
            || true,
        )
        .await
    }

    fn hello(socket_type: &str, identity: &[u8]) -> Vec<u8> {
        [&greeting()[..], &ready(socket_type, identity)].concat()
    }

    #[tokio::test]
    async fn a_dealer_is_welcome_under_its_identity() {
        assert_eq!(shake(&hello("DEALER", b"me")).await.unwrap(), "me");
        assert!(shake(&hello("REQ", b"")).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn every_other_opening_is_refused_with_its_reason() {
        let mut curve = hello("DEALER", b"");
        curve[12..17].copy_from_slice(b"CURVE");
        let mut old = hello("DEALER", b"");
        old[10] = 1;
        let mut endless = greeting().to_vec();
        endless.extend_from_slice(&[COMMAND | 2, 0, 0, 0, 0, 0, 1, 0, 0]);
        let message = [&greeting()[..], b"\x00\x01x"].concat();
        assert!(matches!(
            shake(&curve).await,
            Err(HandshakeError::Mechanism)
        ));
        assert!(matches!(shake(&old).await, Err(HandshakeError::Greeting)));
        assert!(matches!(
            shake(b"GET / HTTP/1.1\r\n\r\n").await,
            Err(HandshakeError::Greeting)
        ));
        assert!(matches!(
            shake(b"\x16\x03\x01\x02\x00\x01").await,
            Err(HandshakeError::Greeting)
        ));
        assert!(matches!(
            shake(&endless).await,
            Err(HandshakeError::Frame(FrameError::TooLong { .. }))
        ));
        assert!(matches!(shake(&message).await, Err(HandshakeError::Ready)));
        assert!(matches!(
            shake(&hello("SUB", b"")).await,
            Err(HandshakeError::SocketType(..))
        ));
        assert!(matches!(
            shake(&hello("DEALER", &[7; 256])).await,
            Err(HandshakeError::Ready)
        ));
        assert!(matches!(
            shake(&greeting()[..40]).await,
            Err(HandshakeError::Frame(FrameError::Truncated))
        ));
    }

    #[tokio::test]
    async fn a_client_that_is_not_admitted_never_sees_our_ready() {
        let client = hello("DEALER", b"");
        let (mut reader, mut sent) = (FrameReader::new(&client[..], 0, Budget::new(0)), Vec::new());
        let result = accept(&mut reader, &mut sent, "ROUTER", &["DEALER"], || false).await;
        assert!(matches!(result, Err(HandshakeError::Full)));
        assert_eq!(sent, greeting());
    }

    proptest! {
        #[test]
        fn no_ready_panics(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse_ready(&Bytes::from([b"\x05READY", &body[..]].concat()));
        }
    }
}
