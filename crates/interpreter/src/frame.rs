//! Frames of the channel: `u32 n | n × u64 lengths | n sections`, little endian.

use bytes::Buf;
use bytes::BufMut;
use bytes::Bytes;
use bytes::BytesMut;

/// More sections than this in one frame are an error. A message has as many as it has buffers and five more.
pub const MAX_SECTIONS: usize = 1 << 16;

/// Sections larger than this get an allocation of their own, so that no large buffer outlives its message.
const OWN_ALLOCATION: usize = 64 << 10;

/// One frame: the JSON envelope and the opaque sections after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(pub Vec<Bytes>);

impl Frame {
    /// The lengths that go before the sections.
    pub(crate) fn head(sections: &[Bytes]) -> Bytes {
        let mut head = BytesMut::with_capacity(4 + 8 * sections.len());
        head.put_u32_le(u32::try_from(sections.len()).unwrap_or(u32::MAX));
        for section in sections {
            head.put_u64_le(section.len() as u64);
        }
        head.freeze()
    }
}

/// A frame that is not one: the channel is out of step and cannot be used any more.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the channel to the interpreter is out of step: a frame announces {0} sections")]
pub struct OutOfStep(usize);

/// Collects frames from pieces of any size.
#[derive(Default)]
pub(crate) struct Parser {
    small: BytesMut,
    lengths: Vec<usize>,
    done: Vec<Bytes>,
    large: Option<(Vec<u8>, usize)>,
}

impl Parser {
    /// True between the first byte of a frame and its last.
    pub(crate) fn is_inside(&self) -> bool {
        !self.small.is_empty() || !self.lengths.is_empty()
    }

    /// Where the next bytes of the channel go. Never empty.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if let Some((buffer, filled)) = &mut self.large {
            return &mut buffer[*filled..];
        }
        // fixed chunks: `filled` below takes what was read out of them
        &mut []
    }

    /// Notes that `count` bytes were put into [`Parser::room`].
    pub(crate) fn filled(&mut self, count: usize) {
        if let Some((buffer, filled)) = &mut self.large {
            *filled += count;
            if *filled == buffer.len() {
                let (buffer, _) = self.large.take().unwrap_or_default();
                self.done.push(Bytes::from(buffer));
            }
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
            let Some(mut head) = self.small.get(..4) else {
                return Ok(None);
            };
            let count = head.get_u32_le() as usize;
            if count == 0 || count > MAX_SECTIONS {
                return Err(OutOfStep(count));
            }
            let Some(mut lengths) = self.small.get(4..4 + 8 * count) else {
                return Ok(None);
            };
            self.lengths = (0..count).map(|_| lengths.get_u64_le() as usize).collect();
            self.small.advance(4 + 8 * count);
        }
        while self.large.is_none() && self.done.len() < self.lengths.len() {
            let wanted = self.lengths[self.done.len()];
            if wanted > OWN_ALLOCATION {
                let mut buffer = vec![0; wanted];
                let have = self.small.len().min(wanted);
                self.small.copy_to_slice(&mut buffer[..have]);
                if have == wanted {
                    self.done.push(Bytes::from(buffer));
                } else {
                    self.large = Some((buffer, have));
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
        ];
        let mut input = encoded(&sections);
        input.extend(encoded(&sections[..2]));
        input.extend(encoded(&sections));
        for step in [1, 3, 1000, 65_536, 1 << 20] {
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
            parser.push(&count.to_le_bytes());
            assert_eq!(parser.next(), Err(OutOfStep(count as usize)));
        }
    }
}
