//! Statistics of few, noisy runs.

/// The Theil–Sen slope of values at equal distances: the median of the slopes of all pairs. One run that is off by any
/// amount does not move it far, unlike the mean. `None` for fewer than two values.
pub fn theil_sen(values: &[f64]) -> Option<f64> {
    let mut slopes: Vec<f64> = Vec::with_capacity(values.len() * values.len() / 2);
    for (i, first) in values.iter().enumerate() {
        for (distance, later) in values[i + 1..].iter().enumerate() {
            slopes.push((later - first) / (distance as f64 + 1.0));
        }
    }
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    Some(if slopes.len() % 2 == 1 {
        slopes[middle]
    } else {
        (slopes[middle - 1] + slopes[middle]) / 2.0
    })
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
        assert_eq!(theil_sen(&[]), None);
        assert_eq!(theil_sen(&[5.0]), None);
        assert_eq!(theil_sen(&[0.0, 3.0, 6.0, 9.0]), Some(3.0));
        assert_eq!(theil_sen(&[0.0, 3.0, 600.0, 9.0, 12.0]), Some(3.0));
        assert_eq!(theil_sen(&[7.0, 7.0, 7.0]), Some(0.0));
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
