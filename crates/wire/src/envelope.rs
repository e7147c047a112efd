//! Messages as they leave: header, signature, sections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use uuid::Uuid;

use crate::date;
use crate::escape::escape_into;
use crate::message::DELIMITER;
use crate::signature::Signer;

/// The protocol version in our headers.
pub const PROTOCOL_VERSION: &str = "5.5";

/// The sections of a message that is about to leave.
pub(crate) struct Sections<'a> {
    pub msg_type: &'a str,
    /// Header of the request; none means `{}`.
    pub parent: Option<&'a Bytes>,
    pub metadata: Bytes,
    pub content: Bytes,
    pub buffers: Vec<Bytes>,
}

/// Numbers, dates and signs messages of one session.
pub(crate) struct Sealer {
    session: String,
    count: AtomicU64,
    signer: Arc<Signer>,
}

impl Sealer {
    pub(crate) fn new(signer: Arc<Signer>) -> Self {
        Self {
            session: Uuid::new_v4().to_string(),
            count: AtomicU64::new(0),
            signer,
        }
    }

    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// Appends the frames from the delimiter on to `frames`, which holds the route or the topic.
    pub(crate) fn seal(&self, mut frames: Vec<Bytes>, sections: Sections<'_>) -> Vec<Bytes> {
        let header = self.header(sections.msg_type);
        let parent = sections
            .parent
            .cloned()
            .unwrap_or(Bytes::from_static(b"{}"));
        let signature = self
            .signer
            .sign([&header, &parent, &sections.metadata, &sections.content]);
        frames.reserve(6 + sections.buffers.len());
        let delimiter = Bytes::from_static(DELIMITER);
        frames.extend([
            delimiter,
            signature,
            header,
            parent,
            sections.metadata,
            sections.content,
        ]);
        frames.extend(sections.buffers);
        frames
    }

    fn header(&self, msg_type: &str) -> Bytes {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let (session, date) = (&self.session, date::now());
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(
            format!("{{\"msg_id\":\"{session}_{number}\",\"msg_type\":\"").as_bytes(),
        );
        escape_into(&mut out, msg_type.as_bytes());
        let rest = format!(
            "\",\"username\":\"kernel\",\"session\":\"{session}\",\"date\":\"{date}\",\"version\":\"{PROTOCOL_VERSION}\"}}"
        );
        out.extend_from_slice(rest.as_bytes());
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Channel, decode};

    fn sections(msg_type: &str) -> Sections<'_> {
        let empty = Bytes::from_static(b"{}");
        Sections {
            msg_type,
            parent: None,
            metadata: empty.clone(),
            content: empty,
            buffers: vec![Bytes::from("b")],
        }
    }

    #[test]
    fn what_is_sealed_can_be_decoded_with_the_same_key() {
        let sealer = Sealer::new(Arc::new(Signer::new("key")));
        let frames = sealer.seal(vec![Bytes::from("id")], sections("a \"quoted\" type"));
        let message = decode(Channel::Shell, frames, &Signer::new("key")).unwrap();
        assert_eq!(message.header.msg_type, "a \"quoted\" type");
        assert_eq!(message.header.session, sealer.session());
        assert_eq!(message.parent_header, "{}");
        assert_eq!(message.buffers, [Bytes::from("b")]);
    }

    #[test]
    fn message_ids_differ() {
        let sealer = Sealer::new(Arc::new(Signer::new("")));
        let ids: std::collections::HashSet<_> = (0..10)
            .map(|_| sealer.seal(vec![Bytes::from("id")], sections("t")))
            .map(|frames| {
                decode(Channel::Shell, frames, &Signer::new(""))
                    .unwrap()
                    .header
                    .msg_id
            })
            .collect();
        assert_eq!(ids.len(), 10);
    }
}
