//! How much text of a cell is shown: the begin as it comes, the end when the cell ends, and between them a notice.

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use interpreter::Stream;
use std::collections::VecDeque;

/// Of the limit, this share is kept for the end.
const END_SHARE: u64 = 4;
/// A cut is moved to the end of a line if one is this near, bytes.
const LINE: usize = 4096;
/// Short texts are kept together, up to this size, bytes.
const PIECE: usize = 64 << 10;
/// What a piece costs beside its bytes: two streams that alternate make many short ones, which must not fill the memory.
const COST: u64 = 64;

/// So many cells keep their count after their end, for text that comes late.
const REMEMBERED: usize = 16;

/// Text to publish.
pub(crate) type Text = (Stream, Bytes);

/// The text of one cell against its limit.
#[derive(Debug)]
pub(crate) struct TextLimit {
    limit: u64,
    shown: Shown,
    /// Bytes that may still be kept for the end.
    end: u64,
    /// True once something was held back.
    full: bool,
    kept: VecDeque<(Stream, BytesMut)>,
    kept_bytes: u64,
    left_out: u64,
    /// The cell has ended: nothing is kept any more.
    over: bool,
    /// After the end: it was said that more is left out.
    told: bool,
}

/// The limits of the cells in hand and of the latest ones before them, by the header of their request.
#[derive(Default)]
pub(crate) struct TextLimits(VecDeque<(Bytes, TextLimit)>);

impl TextLimits {
    /// A cell begins.
    pub(crate) fn begin(&mut self, header: &Bytes, limit: Option<u64>) {
        let Some(limit) = limit else {
            return;
        };
        if self.0.len() >= REMEMBERED
            && let Some(oldest) = self.0.iter().position(|(_, limit)| limit.over)
        {
            self.0.remove(oldest);
        }
        self.0.push_back((header.clone(), TextLimit::new(limit)));
    }

    /// The limit of what this request prints, if it has one.
    pub(crate) fn of(&mut self, header: Option<&Bytes>) -> Option<&mut TextLimit> {
        let header = header?;
        let mut newest_first = self.0.iter_mut().rev();
        newest_first.find_map(|(of, limit)| (of == header).then_some(limit))
    }
}

/// Counts what can be seen: a carriage return overwrites its line.
#[derive(Debug, Default)]
struct Shown {
    lines: u64,
    line: u64,
}

impl Shown {
    fn add(&mut self, text: &[u8]) {
        if !text.contains(&b'\r') {
            let lines = text
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map(|at| at + 1);
            if let Some(lines) = lines {
                self.lines += self.line + lines as u64;
                self.line = 0;
            }
            self.line += (text.len() - lines.unwrap_or(0)) as u64;
            return;
        }
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let (bytes, overwrites) = visible(line);
            self.line = if overwrites { bytes } else { self.line + bytes };
            if line.ends_with(b"\n") {
                self.lines += std::mem::take(&mut self.line);
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.lines + self.line
    }
}

/// Bytes of a line that stay to be seen, and whether what stood in it before is overwritten.
fn visible(line: &[u8]) -> (u64, bool) {
    // "\r\n" is a line end and overwrites nothing
    let body = line.strip_suffix(b"\r\n").unwrap_or(line);
    match body.iter().rposition(|&byte| byte == b'\r') {
        // a bar that writes its "\r" last is overwritten by what comes next, which has none before it
        Some(at) if at + 1 == body.len() => (0, true),
        Some(at) => ((line.len() - at - 1) as u64, true),
        None => (line.len() as u64, false),
    }
}

impl TextLimit {
    /// For a cell whose text may be `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            shown: Shown::default(),
            end: limit / END_SHARE,
            full: false,
            kept: VecDeque::new(),
            kept_bytes: 0,
            left_out: 0,
            over: false,
            told: false,
        }
    }

    /// What was shown so far is wiped: `clear_output`.
    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Takes text; returns what is to be published now.
    pub(crate) fn take(&mut self, stream: Stream, text: Bytes) -> Vec<Text> {
        if self.full && self.over {
            let first = !std::mem::replace(&mut self.told, true);
            return Vec::from_iter(first.then(|| (Stream::Stderr, self.held_back())));
        }
        if self.full {
            self.keep(stream, text);
            return Vec::new();
        }
        let before = self.shown.bytes();
        self.shown.add(&text);
        let begin = self.limit - self.limit / END_SHARE;
        if self.shown.bytes() <= begin {
            return vec![(stream, text)];
        }
        self.full = true;
        let room = usize::try_from(begin.saturating_sub(before)).unwrap_or(usize::MAX);
        let at = cut_before(&text, room.min(text.len()));
        let mut now = Vec::new();
        if at > 0 {
            now.push((stream, text.slice(..at)));
        }
        now.push((Stream::Stderr, self.held_back()));
        self.told = self.over;
        if !self.over {
            self.keep(stream, text.slice(at..));
        }
        now
    }

    /// What was kept, to be published before an output that comes after it; the notice first.
    pub(crate) fn release(&mut self) -> Vec<Text> {
        if self.kept.is_empty() && self.left_out == 0 {
            return Vec::new();
        }
        let mut end = joined(std::mem::take(&mut self.kept));
        let mut now = Vec::new();
        if self.left_out > 0 {
            let mut more = 0;
            if let Some((_, first)) = end.first_mut() {
                more = cut_after(first);
                *first = first.slice(more..);
            }
            now.push((Stream::Stderr, notice(self.left_out + more as u64)));
        }
        now.extend(end);
        self.end = self.end.saturating_sub(self.kept_bytes);
        (self.kept_bytes, self.left_out) = (0, 0);
        now
    }

    /// The cell has ended. Text that comes later, of a thread for instance, is still counted, but waits for nothing.
    pub(crate) fn end(&mut self) -> Vec<Text> {
        let now = self.release();
        self.over = true;
        now
    }

    fn keep(&mut self, stream: Stream, text: Bytes) {
        if text.is_empty() {
            return;
        }
        self.kept_bytes += text.len() as u64;
        match self.kept.back_mut() {
            Some((last, piece)) if *last == stream && piece.len() + text.len() <= PIECE => {
                piece.extend_from_slice(&text);
            }
            _ => self.kept.push_back((stream, text.into())),
        }
        while self.held() > self.end {
            let excess = usize::try_from(self.held() - self.end).unwrap_or(usize::MAX);
            let Some((_, first)) = self.kept.front_mut() else {
                break;
            };
            let cut = first.len().min(excess);
            first.advance(cut);
            if first.is_empty() {
                self.kept.pop_front();
            }
            self.kept_bytes -= cut as u64;
            self.left_out += cut as u64;
        }
    }

    /// What is kept, with what it costs to keep it.
    fn held(&self) -> u64 {
        self.kept_bytes + COST * (self.kept.len() as u64).saturating_sub(1)
    }

    fn held_back(&self) -> Bytes {
        let limit = policy::print_size(self.limit);
        let rest = if self.over {
            "What this cell prints from here on is left out".to_owned()
        } else {
            let end = policy::print_size(self.limit / END_SHARE);
            format!("What follows is held back, and its last {end} are shown when the cell ends")
        };
        format!("\n[rust-hygiene: this cell printed much. {rest}; stream_limit is {limit}.]\n")
            .into()
    }
}

fn notice(left_out: u64) -> Bytes {
    format!(
        "\n[rust-hygiene: {left_out} bytes of this cell's text are left out here. RUST_HYGIENE_STREAM_LIMIT=none, or \
         stream_limit = \"none\" in rust-hygiene.toml, shows everything.]\n"
    )
    .into()
}

/// The last good place for a cut at or before `at`: after a line, else between characters.
fn cut_before(text: &[u8], at: usize) -> usize {
    let from = at.saturating_sub(LINE);
    if let Some(line) = text[from..at].iter().rposition(|&byte| byte == b'\n') {
        return from + line + 1;
    }
    if from == 0 {
        return 0; // a piece of its own, as a message of a library
    }
    (0..=at)
        .rev()
        .find(|&at| is_boundary(text, at))
        .unwrap_or(0)
}

/// How much to drop of a text whose begin was cut off: up to the end of the first line, else the rest of a character.
fn cut_after(text: &[u8]) -> usize {
    let near = &text[..text.len().min(LINE)];
    if let Some(line) = near.iter().position(|&byte| byte == b'\n')
        && line + 1 < text.len()
    {
        return line + 1;
    }
    (0..=text.len().min(4))
        .find(|&at| is_boundary(text, at))
        .unwrap_or(0)
}

fn is_boundary(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| byte & 0xC0 != 0x80)
}

/// Neighbours of the same stream as one text each.
fn joined(kept: VecDeque<(Stream, BytesMut)>) -> Vec<Text> {
    let mut all: Vec<(Stream, BytesMut)> = Vec::new();
    for (stream, text) in kept {
        match all.last_mut() {
            Some((last, before)) if *last == stream => before.extend_from_slice(&text),
            _ => all.push((stream, text)),
        }
    }
    all.into_iter()
        .map(|(stream, text)| (stream, text.freeze()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Stream::{Stderr, Stdout};

    fn printed(limit: &mut TextLimit, stream: Stream, text: &str) -> Vec<(Stream, String)> {
        shown(limit.take(stream, Bytes::copy_from_slice(text.as_bytes())))
    }

    fn shown(texts: Vec<Text>) -> Vec<(Stream, String)> {
        texts
            .into_iter()
            .map(|(stream, text)| (stream, String::from_utf8(text.to_vec()).unwrap()))
            .collect()
    }

    /// The number in a notice.
    fn count(notice: &str) -> usize {
        let (_, rest) = notice.split_once("[rust-hygiene: ").unwrap();
        rest.split_once(" bytes").unwrap().0.parse().unwrap()
    }

    #[test]
    fn text_within_the_limit_passes_as_it_came() {
        let mut limit = TextLimit::new(4096);
        for _ in 0..3 {
            let line = "x".repeat(1023) + "\n";
            assert_eq!(printed(&mut limit, Stdout, &line), [(Stdout, line)]);
        }
        assert_eq!(limit.end(), []);
    }

    #[test]
    fn what_fits_into_the_end_is_shown_whole_when_the_cell_ends() {
        let mut limit = TextLimit::new(4096);
        assert_eq!(printed(&mut limit, Stdout, &"a\n".repeat(1536)).len(), 1);
        let now = printed(&mut limit, Stdout, "later\n");
        assert_eq!(now.len(), 1);
        assert!(
            now[0]
                .1
                .contains("1 KiB are shown when the cell ends; stream_limit is 4 KiB")
        );
        assert_eq!(printed(&mut limit, Stderr, "and then\n"), []);
        let end = shown(limit.end());
        assert_eq!(
            end,
            [(Stdout, "later\n".into()), (Stderr, "and then\n".into())]
        );
    }

    #[test]
    fn begin_end_and_the_number_in_the_notice_make_up_the_whole() {
        for size in [1, 7, 63, 64, 65, 1000, 5000, 70_000] {
            let mut limit = TextLimit::new(100_000);
            let text: String = (0..).map(|n| format!("{n} äöü\n")).take(60_000).collect();
            let mut all = Vec::new();
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let at = (size.min(rest.len())..)
                    .find(|&at| rest.is_char_boundary(at))
                    .unwrap();
                all.extend(printed(&mut limit, Stdout, &rest[..at]));
                rest = &rest[at..];
                assert!(limit.kept_bytes <= 25_000);
            }
            all.extend(shown(limit.end()));
            let (stdout, stderr): (Vec<_>, Vec<_>) =
                all.iter().partition(|(stream, _)| *stream == Stdout);
            let whole: String = stdout.iter().map(|(_, text)| text.as_str()).collect();
            let end = &stdout.last().unwrap().1;
            let begin = &whole[..whole.len() - end.len()];
            assert_eq!(stderr.len(), 2);
            assert!(
                text.starts_with(begin) && text.ends_with(end.as_str()),
                "{size}"
            );
            assert!(
                begin.ends_with('\n') || size < 10,
                "cut within a line: {size}"
            );
            assert!(
                text[..text.len() - end.len()].ends_with('\n'),
                "cut within a line"
            );
            assert_eq!(count(&stderr[1].1), text.len() - whole.len(), "{size}");
            assert!(whole.len() <= 100_000);
        }
    }

    #[test]
    fn no_cut_goes_through_a_character() {
        let mut limit = TextLimit::new(20_001);
        let mut all = printed(&mut limit, Stdout, &"€".repeat(20_000));
        all.extend(shown(limit.end()));
        assert_eq!(all.len(), 4);
        let kept: usize = [&all[0], &all[3]].iter().map(|(_, text)| text.len()).sum();
        assert_eq!(count(&all[2].1) + kept, 60_000);
    }

    #[test]
    fn what_a_carriage_return_overwrites_does_not_count() {
        let mut limit = TextLimit::new(1024);
        for n in 0..10_000 {
            for bar in [
                format!("\r{n:5}%"),
                format!("{n:5}%\r"),
                format!("{n:5}\r{n:3}"),
            ] {
                assert_eq!(printed(&mut limit, Stderr, &bar), [(Stderr, bar)]);
            }
        }
        let mut full = (0..1024).map(|_| printed(&mut limit, Stdout, "\r\n"));
        assert!(full.any(|now| now.is_empty()), "line ends count");
    }

    #[test]
    fn an_output_that_comes_later_is_not_shown_before_the_text() {
        let mut limit = TextLimit::new(4096);
        printed(&mut limit, Stdout, &"a\n".repeat(10_000));
        let now = shown(limit.release());
        assert_eq!(count(&now[0].1), 20_000 - 3072 - now[1].1.len());
        assert!(now[1].1.len() > 1000);
        assert_eq!(limit.release(), []);
        assert_eq!(printed(&mut limit, Stdout, &"b\n".repeat(10_000)), []);
        let end = shown(limit.end());
        let kept: usize = end.iter().skip(1).map(|(_, text)| text.len()).sum();
        assert_eq!(count(&end[0].1), 20_000 - kept);
        assert!(now[1].1.len() + kept <= 1024);
    }

    #[test]
    fn after_the_end_text_counts_on_and_the_first_that_is_too_much_is_told() {
        let mut limit = TextLimit::new(4096);
        assert_eq!(printed(&mut limit, Stdout, &"a\n".repeat(1000)).len(), 1);
        assert_eq!(limit.end(), []);
        assert_eq!(printed(&mut limit, Stdout, "more\n").len(), 1);
        let now = printed(&mut limit, Stdout, &"b\n".repeat(1000));
        assert!(now[0].0 == Stdout && now[1].1.contains("from here on is left out"));
        assert_eq!(printed(&mut limit, Stdout, "more\n"), []);
        limit.restart();
        assert_eq!(printed(&mut limit, Stdout, "more\n").len(), 1);
    }

    #[test]
    fn cells_have_limits_of_their_own_and_the_oldest_are_forgotten() {
        let mut limits = TextLimits::default();
        let header = |n: usize| Bytes::from(n.to_string());
        limits.begin(&header(999), None);
        assert!(limits.of(Some(&header(999))).is_none() && limits.of(None).is_none());
        for n in 0..100 {
            limits.begin(&header(n), Some(1024));
            if n != 3 {
                limits.of(Some(&header(n))).unwrap().end();
            }
        }
        assert!(limits.0.len() <= REMEMBERED + 1);
        assert!(limits.of(Some(&header(3))).is_some(), "it still runs");
        assert!(limits.of(Some(&header(99))).is_some());
    }
}
