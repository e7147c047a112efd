//! Reads frames off a connection without ever trusting a length.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::frame::{Frame, FrameError, FrameHeader, LARGE, LONG, parse_header};
use crate::budget::{Budget, Lease, leased};

/// Room that a read finds in the shared buffer, in bytes.
const READ_ROOM: usize = 8 << 10;
/// First allocation for a large frame; it doubles as bytes really arrive. In bytes.
const FIRST_ROOM: usize = 1 << 20;

pub(crate) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
    limit: u64,
    budget: Arc<Budget>,
    large: Option<LargeFrame>,
}

struct LargeFrame {
    flags: u8,
    length: usize,
    body: Vec<u8>,
    lease: Lease,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that refuses frames over `limit` bytes and takes the bytes of large ones from `budget`.
    pub(crate) fn new(io: R, limit: u64, budget: Arc<Budget>) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
            limit,
            budget,
            large: None,
        }
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// The next frame; `None` at a clean end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if !self.read_some().await? {
                let clean = self.buffer.is_empty() && self.large.is_none();
                return if clean {
                    Ok(None)
                } else {
                    Err(FrameError::Truncated)
                };
            }
        }
    }

    /// A frame that has arrived already.
    pub(crate) fn buffered(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.large.is_none() {
            let Some(header) = parse_header(&self.buffer)? else {
                return Ok(None);
            };
            if header.length > self.limit {
                return Err(FrameError::TooLong {
                    length: header.length,
                    limit: self.limit,
                });
            }
            match usize::try_from(header.length) {
                Ok(length) if length <= LARGE => return Ok(self.take_small(header, length)),
                Ok(length) => self.start_large(header, length)?,
                Err(_) => {
                    return Err(FrameError::TooLong {
                        length: header.length,
                        limit: self.limit,
                    });
                }
            }
        }
        let Some(large) = self.large.take_if(|large| large.body.len() == large.length) else {
            return Ok(None);
        };
        Ok(Some(Frame {
            flags: large.flags & !LONG,
            body: leased(large.body, large.lease),
        }))
    }

    /// Exactly `count` raw bytes, outside of any frame.
    pub(crate) async fn raw(&mut self, count: usize) -> Result<Bytes, FrameError> {
        while self.buffer.len() < count {
            if !self.read_some().await? {
                return Err(FrameError::Truncated);
            }
        }
        Ok(self.buffer.split_to(count).freeze())
    }

    fn take_small(&mut self, header: FrameHeader, length: usize) -> Option<Frame> {
        let total = header.size + length;
        if self.buffer.len() < total {
            self.buffer.reserve(total - self.buffer.len());
            return None;
        }
        let mut body = self.buffer.split_to(total).freeze();
        body.advance(header.size);
        Some(Frame {
            flags: header.flags & !LONG,
            body,
        })
    }

    fn start_large(&mut self, header: FrameHeader, length: usize) -> Result<(), FrameError> {
        self.buffer.advance(header.size);
        let mut large = LargeFrame {
            flags: header.flags,
            length,
            body: Vec::new(),
            lease: self.budget.lease(),
        };
        let here = self.buffer.len().min(length);
        large.make_room(here)?;
        large.body.extend_from_slice(&self.buffer.split_to(here));
        self.large = Some(large);
        Ok(())
    }

    /// Reads once; false at the end of the connection.
    async fn read_some(&mut self) -> Result<bool, FrameError> {
        let count = match &mut self.large {
            Some(large) => {
                large.make_room(1)?;
                let missing = large.length - large.body.len();
                let mut rest = (&mut large.body).limit(missing);
                self.io.read_buf(&mut rest).await?
            }
            None => {
                if self.buffer.capacity() - self.buffer.len() < READ_ROOM / 4 {
                    self.buffer.reserve(READ_ROOM);
                }
                self.io.read_buf(&mut self.buffer).await?
            }
        };
        Ok(count > 0)
    }
}

impl LargeFrame {
    /// Grows with what has arrived, so that a lie about the length costs its sender the bytes, and ends with a buffer
    /// of exactly the length.
    fn make_room(&mut self, needed: usize) -> Result<(), FrameError> {
        let (used, capacity) = (self.body.len(), self.body.capacity());
        if capacity - used >= needed {
            return Ok(());
        }
        let target = (used + needed)
            .max(capacity * 2)
            .max(FIRST_ROOM)
            .min(self.length);
        if !self.lease.grow((target - capacity) as u64)
            || self.body.try_reserve_exact(target - used).is_err()
        {
            return Err(FrameError::Crowded);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zmtp::encode;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    const MIB: u64 = 1 << 20;

    fn reader(bytes: &[u8], limit: u64, budget: u64) -> FrameReader<&[u8]> {
        FrameReader::new(bytes, limit, Budget::new(budget))
    }

    #[tokio::test]
    async fn a_forged_length_is_refused_before_anything_is_allocated() {
        let mut forged = vec![2u8];
        forged.extend_from_slice(&(1u64 << 62).to_be_bytes());
        let error = reader(&forged, MIB, MIB).next().await.unwrap_err();
        assert!(matches!(error, FrameError::TooLong { length, .. } if length == 1 << 62));
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_an_error_and_between_frames_is_not() {
        assert!(reader(b"", MIB, MIB).next().await.unwrap().is_none());
        for bytes in [
            &b"\x00"[..],
            b"\x00\x05abc",
            b"\x02\x00\x00\x00\x00\x00\x01\x00\x00x",
        ] {
            assert!(
                matches!(
                    reader(bytes, MIB, MIB).next().await,
                    Err(FrameError::Truncated)
                ),
                "{bytes:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_large_frame_beyond_the_common_budget_is_refused() {
        let wire = encode(&[Bytes::from(vec![1; 200_000])]).concat();
        assert!(matches!(
            reader(&wire, MIB, 100_000).next().await,
            Err(FrameError::Crowded)
        ));
    }

    #[tokio::test]
    async fn a_large_frame_has_an_allocation_of_its_own_size() {
        let wire = encode(&[Bytes::from(vec![1; 3_000_000]), Bytes::from("next")]).concat();
        let budget = Budget::new(3_000_000);
        let mut reader = FrameReader::new(&wire[..], 4 * MIB, Arc::clone(&budget));
        let frame = reader.next().await.unwrap().unwrap();
        assert_eq!(frame.body.len(), 3_000_000);
        assert!(frame.more() && !budget.lease().grow(1));
        drop(frame);
        assert!(budget.lease().grow(3_000_000));
        assert_eq!(reader.next().await.unwrap().unwrap().body, "next");
    }

    #[tokio::test]
    async fn a_cancelled_read_loses_nothing() {
        let (mut ours, theirs) = tokio::io::duplex(64 << 10);
        let mut reader = FrameReader::new(theirs, MIB, Budget::new(MIB));
        let wire = encode(&[Bytes::from(vec![5; 100_000])]).concat();
        for piece in wire.chunks(10_000) {
            ours.write_all(piece).await.unwrap();
            let patience =
                tokio::time::timeout(std::time::Duration::from_millis(1), reader.next()).await;
            if let Ok(frame) = patience {
                assert_eq!(frame.unwrap().unwrap().body.len(), 100_000);
                return;
            }
        }
        panic!("the frame never arrived");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut reader = reader(&bytes, 4096, MIB);
                while let Ok(Some(frame)) = reader.next().await {
                    assert!(frame.body.len() <= 4096);
                }
            });
        }
    }
}
