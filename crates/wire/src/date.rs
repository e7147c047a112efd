//! The date of a header: ISO 8601, UTC, microseconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, such as `2026-03-01T12:00:00.000001Z`.
pub fn now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format(since.as_secs(), since.subsec_micros())
}

fn format(seconds: u64, micros: u32) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let clock = seconds % 86_400;
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar.
///
/// Counted in cycles of 400 years that start on 1 March, so that the leap day is the last of its year
/// (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let cycle = days / 146_097;
    let day_of_cycle = days % 146_097;
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (
        cycle * 400 + year_of_cycle + u64::from(month <= 2),
        month,
        day,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_as_python_writes_them() {
        let table = [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, 5, "2000-02-29T00:00:00.000005Z"),
            (1_709_251_199, 999_999, "2024-02-29T23:59:59.999999Z"),
            (1_767_225_599, 1, "2025-12-31T23:59:59.000001Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        ];
        for (seconds, micros, expected) in table {
            assert_eq!(format(seconds, micros), expected);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        for day in 0..146_097 {
            let (before, after) = (civil(day), civil(day + 1));
            assert!(
                after > before && (after.2 == before.2 + 1 || after.2 == 1),
                "{before:?} {after:?}"
            );
        }
        assert_eq!(civil(146_097), (2370, 1, 1));
    }
}
