//! Sizes as people write them.

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Neither a number nor a number with a unit.
    #[error("not a size; write for instance \"4 GiB\", \"500MB\" or a number of bytes")]
    NotASize,
    /// A number and a word that is no unit.
    #[error(
        "`{0}` is not a unit; use B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)"
    )]
    UnknownUnit(String),
    /// A minus sign.
    #[error("a size is not negative")]
    Negative,
    /// Over 8 EiB.
    #[error("larger than any memory")]
    TooLarge,
}

/// The largest size that a configuration may hold: half of what 64 bits hold, so that it also fits a signed number.
const LARGEST: u64 = i64::MAX as u64;

pub(crate) const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads `4 GiB`, `500MB`, `1.5 GiB`, `65_536`: decimal digits with at most one point, then a unit in upper or lower case; bytes
/// without one. A fraction of a byte is cut off.
///
/// # Errors
/// If the text is not a size; the message says what to write.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    if text.starts_with(['-', '\u{2212}']) {
        return Err(SizeError::Negative);
    }
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))
        .unwrap_or(text.len());
    let (number, unit) = (text[..end].replace('_', ""), text[end..].trim());
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if whole.is_empty() || fraction.contains('.') || number.ends_with('.') {
        return Err(SizeError::NotASize);
    }
    let known = UNITS
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(unit));
    let &(_, scale) =
        known.ok_or_else(|| SizeError::UnknownUnit(unit.chars().take(20).collect()))?;
    let whole: u64 = whole.parse().map_err(|_| SizeError::TooLarge)?;
    // Twelve digits after the point are a byte of a TiB; what follows cannot matter.
    let digits = &fraction[..fraction.len().min(12)];
    let part = match digits.parse::<u128>() {
        Ok(part) => part * u128::from(scale) / 10u128.pow(digits.len() as u32),
        Err(_) => 0,
    };
    let bytes = u128::from(whole) * u128::from(scale) + part;
    u64::try_from(bytes)
        .ok()
        .filter(|&bytes| bytes <= LARGEST)
        .ok_or(SizeError::TooLarge)
}

/// Writes a size so that [`parse_size`] reads the same number: in the largest unit that divides it.
#[must_use]
pub fn print_size(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(word, scale)| {
        word.ends_with("iB") && bytes >= *scale && bytes.is_multiple_of(*scale)
    });
    match unit {
        Some((word, scale)) => format!("{} {word}", bytes / scale),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let table: &[(&str, u64)] = &[
            ("0", 0),
            ("65_536", 65_536),
            ("512 B", 512),
            ("4 GiB", 4 << 30),
            ("4gib", 4 << 30),
            ("500MB", 500_000_000),
            ("1.5 GiB", 3 << 29),
            ("0.5kB", 500),
            ("  1  TiB ", 1 << 40),
            ("1.9 B", 1),
            ("1.0000000000000000000000000001 GB", 1_000_000_000),
            ("9223372036854775807", i64::MAX as u64),
        ];
        for &(text, bytes) in table {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_the_reason() {
        let unit = |word: &str| SizeError::UnknownUnit(word.to_owned());
        let table: &[(&str, SizeError)] = &[
            ("", SizeError::NotASize),
            ("GiB", SizeError::NotASize),
            (".5 GiB", SizeError::NotASize),
            ("1. GiB", SizeError::NotASize),
            ("1.2.3", SizeError::NotASize),
            ("_", SizeError::NotASize),
            ("nan", SizeError::NotASize),
            ("-1", SizeError::Negative),
            ("4 G", unit("G")),
            ("4 gigs", unit("gigs")),
            ("1e9", unit("e9")),
            ("9223372036854775808", SizeError::TooLarge),
            ("99999999999999999999999", SizeError::TooLarge),
            ("9000000000 GiB", SizeError::TooLarge),
        ];
        for (text, error) in table {
            assert_eq!(parse_size(text).as_ref(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_size_reads_as_the_same_number(bytes in 0..=LARGEST, shift in 0u32..50) {
            let bytes = bytes >> shift << (shift / 2);
            prop_assert_eq!(parse_size(&print_size(bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_a_size_or_an_error(text: String) {
            let _ = parse_size(&text);
        }
    }
}
