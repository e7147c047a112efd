//! Statistics of few, noisy runs.

use crate::size::human;

/// How much a value changes from one run to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// The estimate.
    pub middle: f64,
    /// The least that it may be.
    pub low: f64,
    /// The most.
    pub high: f64,
}

/// The normal deviate of a two-sided interval of 95 %.
const DEVIATE: f64 = 1.96;
/// An interval that is narrower than this part of the estimate is not told.
const TOLD: f64 = 0.1;

/// The Theil–Sen slope of values at equal distances: the median of the slopes of all pairs. One run that is off by any
/// amount does not move it far, unlike the mean. `None` for fewer than two values.
///
/// The interval is that of 95 % by the ranks of the slopes (Sen 1968, with the variance of Kendall's statistic); of too few values for
/// one it is all slopes.
pub fn theil_sen(values: &[f64]) -> Option<Slope> {
    let mut slopes: Vec<f64> = Vec::with_capacity(values.len() * values.len() / 2);
    for (i, first) in values.iter().enumerate() {
        for (distance, later) in values[i + 1..].iter().enumerate() {
            slopes.push((later - first) / (distance as f64 + 1.0));
        }
    }
    slopes.sort_by(f64::total_cmp);
    let (&least, &most) = (slopes.first()?, slopes.last()?);
    let (count, pairs) = (values.len() as f64, slopes.len());
    let middle = slopes[pairs / 2].midpoint(slopes[(pairs - 1) / 2]);
    let spread = DEVIATE * (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
    let rank = ((pairs as f64 - spread) / 2.0).round();
    let (low, high) = if rank >= 1.0 {
        let rank = rank as usize;
        (slopes[rank - 1], slopes[pairs - rank])
    } else {
        (least, most)
    };
    Some(Slope { middle, low, high })
}

impl Slope {
    /// `18.0 MiB`, or `18.0 MiB (between 12.0 MiB and 25.0 MiB)` where it is not the same each time.
    pub fn words(&self) -> String {
        let middle = human(self.middle as u64);
        if self.high - self.low <= self.middle.abs() * TOLD {
            return middle;
        }
        let (low, high) = (human(self.low as u64), human(self.high as u64));
        format!("{middle} (between {low} and {high})")
    }
}

/// The chance that the next run grows too, by Laplace's rule of succession, where `frees` of `runs` did not grow.
///
/// Both counts are of the same runs, so the denominator is `runs + 2`; Scalene's score subtracts the frees from it too
/// and leaves the range 0 to 1.
pub fn laplace(runs: usize, frees: usize) -> f64 {
    1.0 - (frees.min(runs) as f64 + 1.0) / (runs as f64 + 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line_and_ignores_one_outlier() {
        let middle = |values: &[f64]| theil_sen(values).map(|slope| slope.middle);
        assert_eq!(middle(&[]), None);
        assert_eq!(middle(&[5.0]), None);
        assert_eq!(middle(&[0.0, 3.0, 6.0, 9.0]), Some(3.0));
        assert_eq!(middle(&[0.0, 3.0, 600.0, 9.0, 12.0]), Some(3.0));
        assert_eq!(middle(&[7.0, 7.0, 7.0]), Some(0.0));
    }

    #[test]
    fn the_interval_is_of_the_ranks_or_of_all_slopes_where_they_are_few() {
        let ends = |values: &[f64]| theil_sen(values).map(|slope| (slope.low, slope.high));
        assert_eq!(ends(&[0.0, 2.0, 3.0]), Some((1.0, 2.0)));
        assert_eq!(ends(&[0.0, 3.0, 6.0, 9.0]), Some((3.0, 3.0)));
        // As `scipy.stats.theilslopes` says.
        let values = [0, 5, 7, 18, 19, 31, 30, 44, 40, 60, 58, 66].map(f64::from);
        let slope = theil_sen(&values).unwrap();
        assert!((slope.middle - 6.05).abs() < 1e-9);
        assert_eq!((slope.low, slope.high), (5.0, 6.875));
    }

    #[test]
    fn an_interval_is_told_where_it_says_something() {
        let slope = |low, high| {
            Slope {
                middle: 10e6,
                low,
                high,
            }
            .words()
        };
        assert_eq!(slope(10e6, 10e6), human(10_000_000));
        assert!(slope(6e6, 14e6).contains(" (between "));
    }

    #[test]
    fn few_runs_are_not_much_evidence() {
        assert_eq!(laplace(0, 0), 0.5);
        assert_eq!(laplace(3, 0), 0.8);
        assert_eq!(laplace(8, 0), 0.9);
        assert!((laplace(100, 60) - 0.402).abs() < 0.001);
    }

    proptest! {
        #[test]
        fn the_chance_is_a_chance(runs in 0usize..1000, frees in 0usize..1000) {
            let chance = laplace(runs, frees);
            prop_assert!(chance > 0.0 && chance < 1.0);
        }
    }
}
