//! One frame: a flags byte, a length of one or eight bytes, a body.

use bytes::{BufMut, Bytes, BytesMut};

/// More frames of the same multipart follow.
pub(crate) const MORE: u8 = 1;
/// The length takes eight bytes.
pub(crate) const LONG: u8 = 2;
/// A command, not part of a message.
pub(crate) const COMMAND: u8 = 4;

/// Frames up to this size are copied into a shared buffer; larger ones get, and keep, their own allocation. In bytes.
pub(crate) const LARGE: usize = 64 << 10;

/// A frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub flags: u8,
    pub body: Bytes,
}

impl Frame {
    pub(crate) fn more(&self) -> bool {
        self.flags & MORE != 0
    }

    pub(crate) fn is_command(&self) -> bool {
        self.flags & COMMAND != 0
    }
}

/// Why a connection cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("a frame or message of {length} bytes; at most {limit} are allowed")]
    TooLong { length: u64, limit: u64 },
    #[error("a message of more than {0} frames")]
    TooMany(usize),
    #[error("unknown frame flags {0:#04x}")]
    Flags(u8),
    #[error("the connection ended inside a frame")]
    Truncated,
    #[error("too many bytes in flight from all clients together")]
    Crowded,
}

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub flags: u8,
    /// Bytes of the header itself.
    pub size: usize,
    /// Bytes of the body.
    pub length: u64,
}

/// Reads a frame header; `None` when more bytes are needed.
pub(crate) fn parse_header(bytes: &[u8]) -> Result<Option<FrameHeader>, FrameError> {
    let Some((&flags, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    // The upper five bits are reserved and zero; a command has no continuation (RFC 23, "framing").
    if flags & !(MORE | LONG | COMMAND) != 0 || flags & COMMAND != 0 && flags & MORE != 0 {
        return Err(FrameError::Flags(flags));
    }
    if flags & LONG == 0 {
        return Ok(rest.first().map(|length| FrameHeader {
            flags,
            size: 2,
            length: u64::from(*length),
        }));
    }
    let length = rest
        .first_chunk::<8>()
        .map(|eight| u64::from_be_bytes(*eight));
    Ok(length.map(|length| FrameHeader {
        flags,
        size: 9,
        length,
    }))
}

/// Writes the header of a frame; `flags` without [`LONG`].
pub(crate) fn put_header(out: &mut impl BufMut, flags: u8, length: usize) {
    match u8::try_from(length) {
        Ok(short) => out.put_slice(&[flags, short]),
        Err(_) => {
            out.put_u8(flags | LONG);
            out.put_u64(length as u64);
        }
    }
}

/// A multipart as it goes over the wire, in pieces: small frames are gathered, large ones are not copied.
pub(crate) fn encode(frames: &[Bytes]) -> Vec<Bytes> {
    let whole: usize = frames.iter().map(|f| f.len() + 9).sum();
    let gather = if whole <= LARGE { LARGE } else { 4096 };
    let mut pieces = Vec::new();
    let mut buffer = BytesMut::with_capacity(if whole <= LARGE { whole } else { 1024 });
    for (index, frame) in frames.iter().enumerate() {
        let more = if index + 1 < frames.len() { MORE } else { 0 };
        put_header(&mut buffer, more, frame.len());
        if frame.len() <= gather {
            buffer.extend_from_slice(frame);
        } else {
            pieces.push(buffer.split().freeze());
            pieces.push(frame.clone());
        }
    }
    if !buffer.is_empty() {
        pieces.push(buffer.freeze());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_read_only_when_it_is_complete() {
        let long = [2, 0, 0, 0, 0, 0, 0, 1, 0];
        for end in 0..long.len() {
            assert_eq!(parse_header(&long[..end]).unwrap(), None);
        }
        assert_eq!(
            parse_header(&long).unwrap(),
            Some(FrameHeader {
                flags: 2,
                size: 9,
                length: 256
            })
        );
        assert_eq!(
            parse_header(&[1, 7]).unwrap(),
            Some(FrameHeader {
                flags: 1,
                size: 2,
                length: 7
            })
        );
    }

    #[test]
    fn unknown_flags_and_continued_commands_are_refused() {
        for flags in [8u8, 0x10, 0x80, 0xff, COMMAND | MORE, b'G'] {
            assert!(matches!(parse_header(&[flags]), Err(FrameError::Flags(f)) if f == flags));
        }
    }

    #[test]
    fn a_large_frame_is_not_copied() {
        let large = Bytes::from(vec![7; LARGE + 1]);
        let pieces = encode(&[Bytes::from("topic"), large.clone(), Bytes::from("end")]);
        assert!(
            pieces
                .iter()
                .any(|p| p.as_ptr() == large.as_ptr() && p.len() == large.len())
        );
    }

    #[test]
    fn a_small_message_is_one_piece() {
        assert_eq!(
            encode(&[Bytes::from("a"), Bytes::from(vec![0; 50_000])]).len(),
            1
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(lengths in proptest::collection::vec(0usize..9000, 1..12)) {
            let frames: Vec<Bytes> = lengths.iter().map(|n| Bytes::from(vec![*n as u8; *n])).collect();
            let wire = encode(&frames).concat();
            let (mut at, mut back) = (0, Vec::new());
            while at < wire.len() {
                let header = parse_header(&wire[at..]).unwrap().unwrap();
                let start = at + header.size;
                at = start + header.length as usize;
                back.push(Bytes::copy_from_slice(&wire[start..at]));
                prop_assert_eq!(header.flags & MORE != 0, back.len() < frames.len());
            }
            prop_assert_eq!(back, frames);
        }
    }
}
