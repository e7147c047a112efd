//! Many samples become few without losing a peak.
//!
//! A cell may run for a millisecond or a week, so the number of points is bounded: once there are too many, time is
//! divided into buckets and each keeps its lowest and its highest sample.

use crate::reading::Sample;

/// Points kept while a cell runs.
const KEPT: usize = 240;
/// Points given out at the end.
const GIVEN: usize = 24;

/// The samples of one cell.
#[derive(Debug)]
pub(crate) struct Timeline {
    points: Vec<Sample>,
    /// Samples that have not become points yet.
    bucket: Option<Bucket>,
    /// Samples that a bucket takes.
    stride: u32,
    first: Option<Sample>,
    last: Option<Sample>,
    peak: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    low: Sample,
    high: Sample,
    count: u32,
}

impl Bucket {
    fn new(sample: Sample) -> Self {
        Self {
            low: sample,
            high: sample,
            count: 1,
        }
    }

    fn add(&mut self, sample: Sample) {
        if sample.rss < self.low.rss {
            self.low = sample;
        }
        if sample.rss > self.high.rss {
            self.high = sample;
        }
        self.count = self.count.saturating_add(1);
    }

    /// Puts the extremes at the end of `points`, the earlier first, one where both are the same.
    fn pour(self, points: &mut Vec<Sample>) {
        let (first, second) = if self.low.t_s <= self.high.t_s {
            (self.low, self.high)
        } else {
            (self.high, self.low)
        };
        points.push(first);
        if second != first {
            points.push(second);
        }
    }
}

impl Timeline {
    /// An empty timeline that will not allocate again.
    pub(crate) fn new() -> Self {
        Self {
            points: Vec::with_capacity(KEPT + 2),
            bucket: None,
            stride: 1,
            first: None,
            last: None,
            peak: None,
        }
    }

    /// Forgets all samples.
    pub(crate) fn clear(&mut self) {
        self.points.clear();
        self.bucket = None;
        self.stride = 1;
        self.first = None;
        self.last = None;
        self.peak = None;
    }

    /// The highest sample since the last [`Timeline::clear`], in bytes.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.peak
    }

    /// Resident bytes at the last sample.
    pub(crate) fn last(&self) -> Option<u64> {
        self.last.map(|sample| sample.rss)
    }

    /// Adds a sample that is not older than the last.
    pub(crate) fn push(&mut self, sample: Sample) {
        self.peak = self.peak.max(Some(sample.rss));
        self.first.get_or_insert(sample);
        self.last = Some(sample);
        let bucket = match &mut self.bucket {
            Some(bucket) => {
                bucket.add(sample);
                bucket
            }
            empty => empty.insert(Bucket::new(sample)),
        };
        if bucket.count < self.stride {
            return;
        }
        bucket.pour(&mut self.points);
        self.bucket = None;
        if self.points.len() >= KEPT {
            self.points = thin(&self.points, KEPT / 2);
            // Two points a bucket: a stride of one would otherwise become two samples for two points.
            self.stride = if self.stride == 1 {
                4
            } else {
                self.stride.saturating_mul(2)
            };
        }
    }

    /// The few points to show: the first, the last and the extremes of equal spans in between.
    pub(crate) fn finish(&self) -> Vec<Sample> {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return Vec::new();
        };
        let mut between = self.points.clone();
        if let Some(bucket) = self.bucket {
            bucket.pour(&mut between);
        }
        between.retain(|point| *point != first && *point != last);
        if between.len() > GIVEN - 2 {
            between = thin(&between, GIVEN - 2);
        }
        let mut points = vec![first];
        points.append(&mut between);
        if last != first {
            points.push(last);
        }
        points
    }
}

/// Reduces points to at most `target`, keeping the lowest and the highest of equal runs.
fn thin(points: &[Sample], target: usize) -> Vec<Sample> {
    let run = points.len().div_ceil((target / 2).max(1)).max(1);
    let mut few = Vec::with_capacity(KEPT + 2);
    for points in points.chunks(run) {
        let [first, rest @ ..] = points else { continue };
        let mut bucket = Bucket::new(*first);
        rest.iter().for_each(|point| bucket.add(*point));
        bucket.pour(&mut few);
    }
    few
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timeline(sizes: &[u64]) -> Timeline {
        let mut timeline = Timeline::new();
        for (i, &rss) in sizes.iter().enumerate() {
            timeline.push(Sample {
                t_s: i as f64 * 0.01,
                rss,
            });
        }
        timeline
    }

    #[test]
    fn a_short_cell_keeps_every_sample() {
        let sizes: Vec<u64> = (0..24).map(|i| i * 10).collect();
        let kept: Vec<u64> = timeline(&sizes).finish().iter().map(|s| s.rss).collect();
        assert_eq!(kept, sizes);
    }

    #[test]
    fn a_cleared_timeline_is_empty() {
        let mut timeline = timeline(&[1, 2, 3]);
        timeline.clear();
        assert_eq!(timeline.finish(), []);
        assert_eq!(timeline.peak(), None);
    }

    proptest! {
        #[test]
        fn points_are_few_in_order_and_hold_first_last_peak_and_low(
            sizes in prop::collection::vec(0_u64..1000, 1..3000),
        ) {
            let timeline = timeline(&sizes);
            let points = timeline.finish();
            let of = |pick: fn(std::slice::Iter<'_, u64>) -> Option<&u64>| pick(sizes.iter()).copied();
            prop_assert!(points.len() <= GIVEN);
            prop_assert!(timeline.points.len() <= KEPT);
            prop_assert!(points.windows(2).all(|w| w[0].t_s < w[1].t_s));
            prop_assert_eq!(points.iter().map(|p| p.rss).max(), of(|i| i.max()));
            prop_assert_eq!(points.iter().map(|p| p.rss).min(), of(|i| i.min()));
            prop_assert_eq!(timeline.peak(), of(|i| i.max()));
            prop_assert_eq!(points.first().map(|p| p.rss), sizes.first().copied());
            prop_assert_eq!(points.last().map(|p| p.rss), sizes.last().copied());
            for point in &points {
                prop_assert_eq!(sizes[(point.t_s * 100.0).round() as usize], point.rss);
            }
        }
    }
}
