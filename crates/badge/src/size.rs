//! Sizes that print themselves.

use std::fmt;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Below this many bytes a change is noise: a few pages that any cell touches. It prints as `+0`.
pub(crate) const NOISE: u64 = 64 << 10;

/// A number of bytes; prints `0 B`, `96.0 KiB`, `1.4 GiB`: one decimal under 100, none from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        // 1023.6 KiB would print as `1024 KiB`, so what rounds up to the next unit is printed in it.
        while value >= 1023.5 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let decimals = usize::from(value < 99.95);
        write!(f, "{value:.decimals$} {}", UNITS[unit])
    }
}

/// After − before in bytes; prints `+512 MiB`, `−1.4 GiB` with a real minus sign (U+2212), and `+0` within ±64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delta(pub i64);

impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.unsigned_abs();
        if size < NOISE {
            return f.write_str("+0");
        }
        let sign = if self.0 < 0 { '\u{2212}' } else { '+' };
        write!(f, "{sign}{}", Bytes(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_one_decimal_under_one_hundred() {
        let table: &[(u64, &str)] = &[
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (96 << 10, "96.0 KiB"),
            (102_300, "99.9 KiB"),
            (102_400, "100 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (76 << 20, "76.0 MiB"),
            (512 << 20, "512 MiB"),
            (1_503_238_554, "1.4 GiB"),
            (3 << 40, "3.0 TiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for &(bytes, shown) in table {
            assert_eq!(Bytes(bytes).to_string(), shown, "{bytes}");
        }
    }

    #[test]
    fn a_delta_has_a_sign_and_is_plus_zero_within_the_noise() {
        let table: &[(i64, &str)] = &[
            (0, "+0"),
            (65_535, "+0"),
            (-65_535, "+0"),
            (65_536, "+64.0 KiB"),
            (-65_536, "\u{2212}64.0 KiB"),
            (512 << 20, "+512 MiB"),
            (-(3 << 29), "\u{2212}1.5 GiB"),
            (i64::MAX, "+8.0 EiB"),
            (i64::MIN, "\u{2212}8.0 EiB"),
        ];
        for &(bytes, shown) in table {
            assert_eq!(Delta(bytes).to_string(), shown, "{bytes}");
        }
    }
}
