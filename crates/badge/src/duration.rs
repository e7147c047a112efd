//! A duration that prints itself.

use std::fmt;

/// A number of seconds; prints `12 ms`, `1.2 s`, `3 min 05 s`, `2 h 04 min`. Not a number prints as `?`, negative as `<1 ms`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Seconds(pub f64);

/// More hours than any notebook runs; beyond it the digits say nothing.
const MANY_HOURS: u64 = 9_999;

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0;
        if s.is_nan() {
            return f.write_str("?");
        }
        // Each bound is where the smaller unit would round up to the larger one.
        if s < 0.000_5 {
            return f.write_str("<1 ms");
        }
        if s < 0.999_5 {
            return write!(f, "{:.0} ms", s * 1000.0);
        }
        if s < 59.95 {
            return write!(f, "{s:.1} s");
        }
        // A cast from float saturates, so infinity is a large number here.
        let whole = s.round() as u64;
        if whole < 3600 {
            return write!(f, "{} min {:02} s", whole / 60, whole % 60);
        }
        let hours = whole / 3600;
        if hours > MANY_HOURS {
            return write!(f, ">{MANY_HOURS} h");
        }
        write!(f, "{hours} h {:02} min", whole % 3600 / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_in_the_unit_that_a_person_would_choose() {
        let table: &[(f64, &str)] = &[
            (f64::NAN, "?"),
            (f64::NEG_INFINITY, "<1 ms"),
            (-1.0, "<1 ms"),
            (0.0, "<1 ms"),
            (0.0004, "<1 ms"),
            (0.0006, "1 ms"),
            (0.012, "12 ms"),
            (0.9994, "999 ms"),
            (0.9996, "1.0 s"),
            (1.23, "1.2 s"),
            (59.94, "59.9 s"),
            (59.96, "1 min 00 s"),
            (185.0, "3 min 05 s"),
            (3599.6, "1 h 00 min"),
            (7449.0, "2 h 04 min"),
            (1e300, ">9999 h"),
            (f64::INFINITY, ">9999 h"),
        ];
        for &(seconds, shown) in table {
            assert_eq!(Seconds(seconds).to_string(), shown, "{seconds}");
        }
    }
}
