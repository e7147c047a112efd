//! Text of a pipe, cut between characters.

use bytes::Bytes;
use bytes::BytesMut;

/// Keeps the begin of a character that the last read cut in two.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    tail: BytesMut,
}

impl Cut {
    /// `bytes` with the kept begin before them, without a character that is not whole at the end.
    pub(crate) fn whole(&mut self, bytes: Bytes) -> Bytes {
        let bytes = if self.tail.is_empty() {
            bytes
        } else {
            self.tail.extend_from_slice(&bytes);
            self.tail.split().freeze()
        };
        let cut = bytes.len() - unfinished(&bytes);
        self.tail.extend_from_slice(&bytes[cut..]);
        bytes.slice(..cut)
    }

    /// What is kept; it will not be finished.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.tail.split().freeze()
    }
}

/// How many bytes at the end begin a character of UTF-8 that is not whole: 0 to 3.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let wanted = match byte {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return 0,
        };
        return if wanted > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_read_cuts_a_character() {
        let text = "aä€𝄞z€".as_bytes();
        for at in 0..=text.len() {
            for second in at..=text.len() {
                let mut cut = Cut::default();
                let mut out = Vec::new();
                for piece in [&text[..at], &text[at..second], &text[second..]] {
                    let whole = cut.whole(Bytes::copy_from_slice(piece));
                    assert!(std::str::from_utf8(&whole).is_ok());
                    out.extend_from_slice(&whole);
                }
                assert_eq!(out, text);
                assert!(cut.rest().is_empty());
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_not_kept() {
        for (bytes, kept) in [
            (&b"\xff"[..], 0),
            (b"\x80", 0),
            (b"a\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            (b"\xe2\x82\xac", 0),
        ] {
            assert_eq!(unfinished(bytes), kept, "{bytes:x?}");
        }
    }
}
