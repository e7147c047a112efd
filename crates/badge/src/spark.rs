//! The resident memory over a cell as a small picture.
//!
//! The sanitisers remove `<svg>`, but let an `<img>` with a data URI pass; its `alt` text says the same in block characters.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Points that a picture of this width can show.
const POINTS: usize = 24;
pub(crate) const WIDTH: u32 = 220;
pub(crate) const HEIGHT: u32 = 34;
/// Where the curve ends.
const RIGHT: u32 = WIDTH - 3;
/// Later than any cell; beyond it a time is a mistake.
const LATEST_S: f64 = 1e9;

/// One point of the timeline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) t_s: f64,
    pub(crate) bytes: u64,
}

/// At most 24 points in the order of time; the first, the last and the peaks between them survive. Empty if there is no curve
/// to draw.
pub(crate) fn reduce(points: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut all: Vec<Point> = points
        .filter(|p| (0.0..=LATEST_S).contains(&p.t_s))
        .collect();
    all.sort_by(|a, b| a.t_s.total_cmp(&b.t_s));
    if all.len() < 3 || all.iter().all(|p| p.bytes == 0) {
        return Vec::new();
    }
    if all.len() <= POINTS {
        return all;
    }
    let (Some(&first), Some(&last)) = (all.first(), all.last()) else {
        return Vec::new();
    };
    let middle = &all[1..all.len() - 1];
    let mut out = vec![first];
    for i in 0..POINTS - 2 {
        let bucket =
            &middle[i * middle.len() / (POINTS - 2)..(i + 1) * middle.len() / (POINTS - 2)];
        out.extend(bucket.iter().copied().max_by_key(|p| p.bytes));
    }
    out.push(last);
    out
}

/// The curve as an image address. The base line is zero bytes, so that a small change of a large process looks small.
pub(crate) fn data_uri(points: &[Point], colour: &str) -> String {
    let h = f64::from(HEIGHT);
    let top = points.iter().map(|p| p.bytes).max().unwrap_or(0).max(1) as f64;
    let start = points.first().map_or(0.0, |p| p.t_s);
    let span = points.last().map_or(0.0, |p| p.t_s) - start;
    let steps = points.len().saturating_sub(1).max(1) as f64;
    let mut line = String::new();
    let (mut peak_x, mut peak_y) = (0.0, h);
    for (i, p) in points.iter().enumerate() {
        let part = if span > 0.0 {
            (p.t_s - start) / span
        } else {
            i as f64 / steps
        };
        // The peak is often the last point: its circle must fit in.
        let x = part * f64::from(RIGHT);
        let y = h - 2.0 - p.bytes as f64 / top * (h - 6.0);
        if y < peak_y {
            (peak_x, peak_y) = (x, y);
        }
        // Writing to a string does not fail.
        let _ = write!(line, "{}{x:.1},{y:.1}", if i == 0 { "" } else { " " });
    }
    let svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"><polygon points="0,{HEIGHT} {line} {RIGHT},{HEIGHT}" fill="{colour}" fill-opacity=".16"/><polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-linejoin="round"/><circle cx="{peak_x:.1}" cy="{peak_y:.1}" r="2.4" fill="{colour}"/></svg>"#
    );
    format!("data:image/svg+xml;base64,{}", STANDARD.encode(svg))
}

/// The curve in block characters, for where no picture is shown.
pub(crate) fn blocks(points: &[Point]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let top = points.iter().map(|p| p.bytes).max().unwrap_or(0).max(1);
    let height = |p: &Point| (u128::from(p.bytes) * 7 / u128::from(top)) as usize;
    points.iter().map(|p| BLOCKS[height(p).min(7)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(bytes: &[u64]) -> Vec<Point> {
        bytes
            .iter()
            .enumerate()
            .map(|(i, &bytes)| Point {
                t_s: i as f64,
                bytes,
            })
            .collect()
    }

    #[test]
    fn a_long_timeline_keeps_its_ends_and_its_peak() {
        let mut bytes: Vec<u64> = (1000..3000).collect();
        bytes[777] = 99_999;
        let short = reduce(curve(&bytes).into_iter());
        assert_eq!(short.len(), POINTS);
        assert_eq!((short[0].bytes, short[POINTS - 1].bytes), (1000, 2999));
        assert!(short.iter().any(|p| p.bytes == 99_999));
    }

    #[test]
    fn times_that_make_no_sense_are_left_out_and_the_rest_is_put_in_order() {
        let times = [2.0, f64::NAN, 0.0, f64::INFINITY, -1.0, 1.0, f64::MAX];
        let points = times.map(|t_s| Point { t_s, bytes: 5 });
        assert_eq!(
            reduce(points.into_iter())
                .iter()
                .map(|p| p.t_s)
                .collect::<Vec<_>>(),
            [0.0, 1.0, 2.0]
        );
    }

    #[test]
    fn there_is_no_picture_of_fewer_than_three_points_or_of_nothing() {
        assert!(reduce(curve(&[1, 2]).into_iter()).is_empty());
        assert!(reduce(curve(&[0, 0, 0, 0]).into_iter()).is_empty());
    }

    #[test]
    fn the_blocks_rise_and_fall_with_the_curve() {
        assert_eq!(
            blocks(&curve(&[0, 4, 7, u64::MAX / 2, u64::MAX, 1])),
            "▁▁▁▄█▁"
        );
        assert_eq!(blocks(&curve(&[1, 4, 8])), "▁▄█");
    }

    #[test]
    fn the_curve_stays_inside_its_picture() {
        let uri = data_uri(&curve(&[0, u64::MAX, 1, 2]), "#000000");
        let svg = STANDARD
            .decode(uri.trim_start_matches("data:image/svg+xml;base64,"))
            .unwrap();
        let svg = String::from_utf8(svg).unwrap();
        assert!(
            svg.contains(r#"<polyline points="0.0,32.0 72.3,4.0 144.7,32.0 217.0,32.0""#),
            "{svg}"
        );
        assert!(svg.contains(r#"<circle cx="72.3" cy="4.0""#), "{svg}");
    }
}
