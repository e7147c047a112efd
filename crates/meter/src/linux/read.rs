//! Reading short procfs and cgroupfs files.

use std::{fs::File, io, io::Read, os::unix::fs::FileExt, path::Path};

/// No file that we read is longer; a longer one is cut.
const LONGEST: u64 = 4 << 20;

/// A whole file from its start, through a descriptor that stays open. The text is in `buffer`, or in the vector where
/// that is too small.
///
/// procfs makes the text anew for every read at offset 0 (proc(5)), so a kept descriptor never tells old news.
pub(crate) fn read_kept<'a>(
    file: &File,
    buffer: &'a mut [u8],
    spill: &'a mut Vec<u8>,
) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], filled as u64) {
            // These files come in one piece unless the buffer is too small, so a short read is the end.
            Ok(n) if n < buffer.len() - filled => return Ok(&buffer[..filled + n]),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    spill.clear();
    spill.extend_from_slice(buffer);
    let mut piece = [0; 4096];
    while (spill.len() as u64) < LONGEST {
        match file.read_at(&mut piece, spill.len() as u64) {
            Ok(0) => break,
            Ok(n) => spill.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(spill)
}

/// A whole short file.
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// A whole short file as text; a wrong byte becomes U+FFFD.
pub(crate) fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    let text = read(path)?;
    Ok(String::from_utf8(text)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The first unsigned number in `text`, if it starts with one after blanks.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// The bytes in a `Name:   123 kB` line's value. The unit is always kB, which means KiB (proc(5)).
pub(crate) fn kilobytes(value: &[u8]) -> Option<u64> {
    number(value)?.checked_mul(1024)
}

/// Splits a `Name: value` line.
pub(crate) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((&line[..colon], &line[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn numbers_stop_at_the_first_other_byte_and_never_overflow() {
        for (text, expected) in [
            ("12", Some(12)),
            ("  12 kB", Some(12)),
            ("\t7\n8", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("max", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(kilobytes(b" 3 kB"), Some(3072));
        assert_eq!(kilobytes(b"18446744073709551615 kB"), None);
    }

    #[test]
    fn a_kept_file_is_read_whole_whatever_the_buffer() {
        let text: Vec<u8> = (0..10_000_u32).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&text).unwrap();
        for size in [1, 100, 4096, 9_999, 10_000, 10_001, 20_000] {
            let (mut buffer, mut spill) = (vec![0; size], Vec::new());
            assert_eq!(
                read_kept(&file, &mut buffer, &mut spill).unwrap(),
                text,
                "{size}"
            );
        }
    }
}
