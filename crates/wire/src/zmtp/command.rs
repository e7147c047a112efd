//! Commands that may follow the handshake.

use bytes::Bytes;

use super::frame::{COMMAND, put_header};

/// Longest context that a PING may carry, in bytes (ZMTP 3.1, "heartbeats").
const MAX_CONTEXT: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Asks for a PONG with the same context.
    Ping(Bytes),
    Subscribe(Bytes),
    Cancel(Bytes),
    /// Anything else, which a server may ignore.
    Other,
}

impl Command {
    pub(crate) fn parse(body: &Bytes) -> Self {
        let Some((&length, rest)) = body.split_first() else {
            return Self::Other;
        };
        let Some((name, data)) = rest.split_at_checked(usize::from(length)) else {
            return Self::Other;
        };
        let data = body.slice_ref(data);
        match name {
            // Two bytes of time-to-live stand before the context.
            b"PING" if (2..=2 + MAX_CONTEXT).contains(&data.len()) => Self::Ping(data.slice(2..)),
            b"SUBSCRIBE" => Self::Subscribe(data),
            b"CANCEL" => Self::Cancel(data),
            _ => Self::Other,
        }
    }
}

/// The answer to a PING, as bytes for the wire.
pub(crate) fn pong(context: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(7 + context.len());
    put_header(&mut out, COMMAND, 5 + context.len());
    out.extend_from_slice(b"\x04PONG");
    out.extend_from_slice(context);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_recognised_and_the_rest_is_ignored() {
        let table: [(&[u8], Command); 8] = [
            (b"\x04PING\x00\x0actx", Command::Ping(Bytes::from("ctx"))),
            (b"\x04PING\x00\x0a", Command::Ping(Bytes::new())),
            (b"\x04PING\x00", Command::Other),
            (b"\x04PING\x00\x0a01234567890123456", Command::Other),
            (
                b"\x09SUBSCRIBEtopic",
                Command::Subscribe(Bytes::from("topic")),
            ),
            (b"\x06CANCEL", Command::Cancel(Bytes::new())),
            (b"", Command::Other),
            (b"\xffPING", Command::Other),
        ];
        for (body, expected) in table {
            assert_eq!(
                Command::parse(&Bytes::from_static(body)),
                expected,
                "{body:?}"
            );
        }
    }

    #[test]
    fn a_pong_carries_the_context() {
        assert_eq!(pong(b"ctx"), &b"\x04\x08\x04PONGctx"[..]);
    }
}
