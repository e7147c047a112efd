//! The identity of a cell's source.

use sha2::{Digest, Sha256};

/// The magic above a cell that asks about the cell: a cell is the same with it and without.
const QUESTION: &str = "%%hygiene";

/// Sixteen hexadecimal digits that are the same for sources that differ only in line ends, blanks at the end of lines,
/// blank lines around the code, and questions above it (`%%hygiene`).
pub fn source_hash(source: &str) -> String {
    let mut hash = Sha256::new();
    let mut blank = 0;
    let mut begun = false;
    // `lines` takes "\n" and "\r\n" alike; a lone "\r" is a blank at the end of a line.
    for line in source.lines() {
        let line = line.trim_end();
        if line.is_empty() {
            blank += 1;
            continue;
        }
        if !begun && line.split_whitespace().next() == Some(QUESTION) {
            blank = 0;
            continue;
        }
        if begun {
            for _ in 0..=blank {
                hash.update(b"\n");
            }
        }
        hash.update(line.as_bytes());
        begun = true;
        blank = 0;
    }
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(16);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_the_code_and_line_ends_do_not_matter() {
        let plain = source_hash("a = 1\n\nif a:\n    b = 2");
        for same in [
            "\n\na = 1\n\nif a:\n    b = 2\n\n",
            "a = 1  \r\n\r\nif a:\r\n    b = 2\r\n",
            "%%hygiene why\na = 1\n\nif a:\n    b = 2",
            "\n%%hygiene leaks\n%%hygiene why\n\na = 1\n\nif a:\n    b = 2",
        ] {
            assert_eq!(source_hash(same), plain);
        }
    }

    #[test]
    fn code_that_differs_has_another_hash() {
        let hashes: Vec<String> = [
            "",
            "a",
            "a\nb",
            "a\n\nb",
            " a",
            "ab",
            "if a:\n  b",
            "if a:\nb",
            "a\n%%hygiene why",
            "%%hygienex\na",
        ]
        .map(source_hash)
        .to_vec();
        for (i, hash) in hashes.iter().enumerate() {
            assert_eq!(hash.len(), 16);
            assert!(!hashes[..i].contains(hash));
        }
    }

    #[test]
    fn the_hash_stays_the_same_from_version_to_version() {
        assert_eq!(source_hash("print(1)\n"), source_hash("print(1)"));
        assert_eq!(source_hash(""), "e3b0c44298fc1c14");
    }
}
