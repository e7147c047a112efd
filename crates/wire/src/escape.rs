//! JSON text out of raw bytes, in one pass and into one buffer.

/// Appends `text` as the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn escape_into(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        escape_valid(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The content of a `stream` message.
pub(crate) fn stream_content(name: &str, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 16 + name.len() + 32);
    out.extend_from_slice(b"{\"name\":\"");
    escape_into(&mut out, name.as_bytes());
    out.extend_from_slice(b"\",\"text\":\"");
    escape_into(&mut out, text);
    out.extend_from_slice(b"\"}");
    // Text full of control characters grows six times over; do not keep what doubling left unused.
    if out.capacity() - out.len() > out.len() / 4 + 4096 {
        out.shrink_to_fit();
    }
    out
}

fn escape_valid(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let plain = plain_prefix(text);
        out.extend_from_slice(&text[..plain]);
        let Some(byte) = text.get(plain) else { return };
        escape_byte(out, *byte);
        text = &text[plain + 1..];
    }
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// How many bytes at the start need no escape: neither `"` nor `\` nor below 0x20 (RFC 8259, section 7).
fn plain_prefix(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // A byte of the result has its top bit set where the byte of `word` is zero. A borrow can set further bits
    // above the first hit, never below it, so the lowest set bit is right.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    for eight in text.chunks_exact(8) {
        let mut word = [0u8; 8];
        word.copy_from_slice(eight);
        let word = u64::from_le_bytes(word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let hit = control
            | zeros(word ^ (ONES * u64::from(b'"')))
            | zeros(word ^ (ONES * u64::from(b'\\')));
        if hit != 0 {
            return at + hit.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let tail = &text[at..];
    at + tail
        .iter()
        .position(|b| *b < 0x20 || *b == b'"' || *b == b'\\')
        .unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(serde::Deserialize)]
    struct Stream {
        name: String,
        text: String,
    }

    fn round_trip(text: &[u8]) -> Stream {
        serde_json::from_slice(&stream_content("stdout", text)).unwrap()
    }

    #[test]
    fn the_escapes_are_the_short_ones() {
        let content = stream_content("stderr", b"a\"b\\c\n\r\t\x08\x0c\x1b[0m\x7f\xc3\xa9");
        let expected =
            "{\"name\":\"stderr\",\"text\":\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u001b[0m\u{7f}é\"}";
        assert_eq!(String::from_utf8(content).unwrap(), expected);
    }

    #[test]
    fn a_large_text_of_escapes_keeps_no_spare_room() {
        let content = stream_content("stdout", &vec![0x1b; 1 << 20]);
        assert!(content.capacity() < content.len() + content.len() / 4 + 8192);
    }

    proptest! {
        #[test]
        fn what_a_client_reads_is_the_lossy_text(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let stream = round_trip(&text);
            prop_assert_eq!(stream.name, "stdout");
            prop_assert_eq!(stream.text, String::from_utf8_lossy(&text).into_owned());
        }

        #[test]
        fn ascii_is_found_at_every_place(text in proptest::collection::vec(0u8..128, 0..64)) {
            prop_assert_eq!(round_trip(&text).text.into_bytes(), text);
        }
    }
}
