//! Frames of the channel: `u32 mark | u32 n | n × u64 lengths | n sections`, little endian.
//!
//! User code can write to the channel, by accident or not. So each frame begins with a mark, lengths are believed only
//! within reason, and memory is taken as the bytes arrive, never as they are announced.

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

/// More sections than this in one frame are an error. A message has as many as it has buffers and five more.
pub const MAX_SECTIONS: usize = 1 << 16;

/// What each frame begins with.
const MARK: u32 = 0xfe48_52ff;

/// A longer section than this is an error, bytes.
const LONGEST: u64 = 64 << 30;

/// The mark and the number of sections, bytes.
const HEAD: usize = 8;

/// Sections larger than this get an allocation of their own, so that no large buffer outlives its message.
const OWN_ALLOCATION: usize = 64 << 10;

/// Room for a large section before any of it has come, bytes.
const FIRST_ROOM: usize = 1 << 20;

/// One frame: the JSON envelope and the opaque sections after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(pub Vec<Bytes>);

impl Frame {
    /// The lengths that go before the sections.
    pub(crate) fn head(sections: &[Bytes]) -> Bytes {
        let mut head = BytesMut::with_capacity(HEAD + 8 * sections.len());
        head.put_u32_le(MARK);
        head.put_u32_le(u32::try_from(sections.len()).unwrap_or(u32::MAX));
        for section in sections {
            head.put_u64_le(section.len() as u64);
        }
        head.freeze()
    }
}

/// A frame that is not one: the channel is out of step and cannot be used any more.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutOfStep {
    /// The bytes where a frame should begin are of something else.
    #[error("the channel to the interpreter is out of step: {0:x?} where a frame should begin")]
    NoMark(Vec<u8>),
    /// No frame has so few or so many sections.
    #[error("the channel to the interpreter is out of step: a frame announces {0} sections")]
    Sections(usize),
    /// No section is so long.
    #[error("the channel to the interpreter is out of step: a section announces {0} bytes")]
    Length(u64),
}

/// Collects frames from pieces of any size.
#[derive(Default)]
pub(crate) struct Parser {
    small: BytesMut,
    lengths: Vec<usize>,
    done: Vec<Bytes>,
    large: Option<Large>,
}

/// A section that gets an allocation of its own, which grows as it fills.
struct Large {
    buffer: Vec<u8>,
    filled: usize,
    wanted: usize,
}

impl Large {
    fn grow(&mut self) {
        let more = (2 * self.filled).clamp(FIRST_ROOM, self.wanted.max(FIRST_ROOM));
        let size = more.min(self.wanted);
        self.buffer.reserve_exact(size - self.buffer.len());
        self.buffer.resize(size, 0);
    }
}

impl Parser {
    /// True between the first byte of a frame and its last.
    pub(crate) fn is_inside(&self) -> bool {
        !self.small.is_empty() || !self.lengths.is_empty()
    }

    /// Where the next bytes of the channel go. Never empty.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if let Some(large) = &mut self.large {
            return &mut large.buffer[large.filled..];
        }
        // fixed chunks: `filled` below takes what was read out of them
        &mut []
    }

    /// Notes that `count` bytes were put into [`Parser::room`].
    pub(crate) fn filled(&mut self, count: usize) {
        if let Some(mut large) = self.large.take() {
            large.filled += count;
            if large.filled == large.wanted {
                self.done.push(Bytes::from(large.buffer));
                return;
            }
            if large.filled == large.buffer.len() {
                large.grow();
            }
            self.large = Some(large);
        }
    }

    /// Takes bytes that were read elsewhere.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
    }

    /// The next whole frame, if its bytes are all there.
    ///
    /// # Errors
    /// [`OutOfStep`] if what comes cannot be a frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, OutOfStep> {
        if self.lengths.is_empty() {
            // Already the first wrong byte: the rest of a mark may never come.
            let begin = &self.small[..self.small.len().min(4)];
            if !MARK.to_le_bytes().starts_with(begin) {
                return Err(OutOfStep::NoMark(begin.to_vec()));
            }
            let Some(mut head) = self.small.get(4..HEAD) else {
                return Ok(None);
            };
            let count = head.get_u32_le() as usize;
            if count == 0 || count > MAX_SECTIONS {
                return Err(OutOfStep::Sections(count));
            }
            let Some(mut lengths) = self.small.get(HEAD..HEAD + 8 * count) else {
                return Ok(None);
            };
            for _ in 0..count {
                let length = lengths.get_u64_le();
                if length > LONGEST {
                    return Err(OutOfStep::Length(length));
                }
                self.lengths.push(length as usize);
            }
            self.small.advance(HEAD + 8 * count);
        }
        while self.large.is_none() && self.done.len() < self.lengths.len() {
            let wanted = self.lengths[self.done.len()];
            if wanted > OWN_ALLOCATION {
                let have = self.small.len().min(wanted);
                let mut large = Large {
                    buffer: Vec::new(),
                    filled: have,
                    wanted,
                };
                large.grow();
                self.small.copy_to_slice(&mut large.buffer[..have]);
                if have == wanted {
                    self.done.push(Bytes::from(large.buffer));
                } else {
                    self.large = Some(large);
                }
            } else if self.small.len() >= wanted {
                self.done
                    .push(Bytes::copy_from_slice(&self.small[..wanted]));
                self.small.advance(wanted);
            } else {
                return Ok(None);
            }
        }
        if self.done.len() < self.lengths.len() {
            return Ok(None);
        }
        self.lengths.clear();
        if self.small.is_empty() {
            self.small = BytesMut::new();
        }
        Ok(Some(Frame(std::mem::take(&mut self.done))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(sections: &[Bytes]) -> Vec<u8> {
        let mut out = Frame::head(sections).to_vec();
        for section in sections {
            out.extend_from_slice(section);
        }
        out
    }

    fn fed(parser: &mut Parser, mut input: &[u8], step: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !input.is_empty() {
            let room = parser.room().len();
            let count = step
                .min(input.len())
                .min(if room > 0 { room } else { usize::MAX });
            if room > 0 {
                parser.room()[..count].copy_from_slice(&input[..count]);
                parser.filled(count);
            } else {
                parser.push(&input[..count]);
            }
            input = &input[count..];
            while let Some(frame) = parser.next().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    #[test]
    fn frames_survive_any_cut() {
        let sections = vec![
            Bytes::from_static(b"{}"),
            Bytes::new(),
            Bytes::from(vec![7; 70_000]),
            Bytes::from_static(b"x"),
            Bytes::from(vec![9; 200_000]),
            Bytes::from((0..5_000_000u32).map(|n| n as u8).collect::<Vec<_>>()),
        ];
        let mut input = encoded(&sections);
        input.extend(encoded(&sections[..2]));
        input.extend(encoded(&sections));
        for step in [7, 1000, 65_536, 1 << 20, 1 << 24] {
            let mut parser = Parser::default();
            let frames = fed(&mut parser, &input, step);
            assert_eq!(
                frames,
                [
                    Frame(sections.clone()),
                    Frame(sections[..2].to_vec()),
                    Frame(sections.clone())
                ],
                "step {step}"
            );
            assert!(!parser.is_inside());
        }
    }

    #[test]
    fn a_frame_of_no_or_too_many_sections_is_out_of_step() {
        for count in [0, MAX_SECTIONS as u32 + 1, u32::MAX] {
            let mut parser = Parser::default();
            parser.push(&MARK.to_le_bytes());
            parser.push(&count.to_le_bytes());
            assert_eq!(parser.next(), Err(OutOfStep::Sections(count as usize)));
        }
    }

    #[test]
    fn what_does_not_begin_with_the_mark_is_out_of_step() {
        for input in [&b"x"[..], b"garbage", &[0; 100], &[0xff, 0x52, 0x48, 0xff]] {
            let mut parser = Parser::default();
            parser.push(input);
            let begin = input[..input.len().min(4)].to_vec();
            assert_eq!(parser.next(), Err(OutOfStep::NoMark(begin)));
        }
    }

    #[test]
    fn an_absurd_length_is_out_of_step() {
        for length in [LONGEST + 1, 1 << 60, u64::MAX] {
            let mut parser = Parser::default();
            parser.push(&MARK.to_le_bytes());
            parser.push(&1u32.to_le_bytes());
            parser.push(&length.to_le_bytes());
            assert_eq!(parser.next(), Err(OutOfStep::Length(length)));
        }
    }

    #[test]
    fn memory_is_taken_as_bytes_arrive() {
        let mut parser = Parser::default();
        parser.push(&MARK.to_le_bytes());
        parser.push(&1u32.to_le_bytes());
        parser.push(&LONGEST.to_le_bytes());
        assert_eq!(parser.next(), Ok(None));
        assert_eq!(parser.room().len(), FIRST_ROOM);
        parser.filled(FIRST_ROOM);
        assert_eq!(parser.room().len(), FIRST_ROOM);
    }
}
