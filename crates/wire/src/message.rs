//! Messages as they arrive: an opaque envelope whose header alone is read.
//!
//! Frames on the wire: identities… `<IDS|MSG>` signature, header, parent header, metadata, content, buffers…

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::signature::{BadSignature, Signer};

/// Separates routing identities from the message.
pub(crate) const DELIMITER: &[u8] = b"<IDS|MSG>";
/// Frames that one multipart may have, identities and buffers included.
pub const MAX_FRAMES: usize = 4096;

/// The channels that carry requests and replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Requests of clients, served in order.
    Shell,
    /// Urgent requests.
    Control,
    /// Questions of the kernel to the user, and their answers.
    Stdin,
}

/// What the front reads of a header. Unknown keys are ignored here and kept in [`Origin::header`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Header {
    /// Identifies the message.
    pub msg_id: String,
    /// What the message is, such as `execute_request`.
    pub msg_type: String,
    /// The client's session; empty when it names none.
    #[serde(default, deserialize_with = "text_or_empty")]
    pub session: String,
    /// The user's name, if the client sends one.
    #[serde(default, deserialize_with = "text_or_none")]
    pub username: Option<String>,
    /// The subshell asked for (JEP 91).
    #[serde(default, deserialize_with = "text_or_none")]
    pub subshell_id: Option<String>,
}

/// All that a reply needs to know about its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The route back to the client.
    pub identities: Vec<Bytes>,
    /// The header of the request, byte for byte: it becomes `parent_header`.
    pub header: Bytes,
}

/// A message whose signature was verified.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Where it arrived.
    pub channel: Channel,
    /// Where replies go.
    pub origin: Origin,
    /// The parsed header.
    pub header: Header,
    /// JSON.
    pub parent_header: Bytes,
    /// JSON.
    pub metadata: Bytes,
    /// JSON.
    pub content: Bytes,
    /// Raw binary attachments.
    pub buffers: Vec<Bytes>,
}

impl Incoming {
    /// Payload in bytes, without the identities.
    pub(crate) fn size(&self) -> usize {
        let sections = [
            &self.origin.header,
            &self.parent_header,
            &self.metadata,
            &self.content,
        ];
        sections
            .into_iter()
            .chain(&self.buffers)
            .map(Bytes::len)
            .sum()
    }
}

/// Why a multipart is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// More frames than any client sends.
    #[error("{0} frames; at most {MAX_FRAMES} are allowed")]
    TooManyFrames(usize),
    /// The delimiter is missing.
    #[error("no <IDS|MSG> delimiter in {0} frames")]
    NoDelimiter(usize),
    /// The delimiter is the first frame: there is no route back.
    #[error("no identity before the delimiter")]
    NoIdentity,
    /// Less than a signature and four sections follow the delimiter.
    #[error("{0} frames after the delimiter; a signature and four sections are needed")]
    TooFewFrames(usize),
    /// Wrong or repeated signature.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The header is not a JSON object with `msg_id` and `msg_type`.
    #[error("the header is unusable: {0}")]
    Header(String),
}

/// Takes a multipart apart and verifies its signature.
///
/// # Errors
/// [`Malformed`] for every input that is not a well-formed message signed with our key; no input panics.
pub fn decode(
    channel: Channel,
    mut frames: Vec<Bytes>,
    signer: &Signer,
) -> Result<Incoming, Malformed> {
    let count = frames.len();
    if count > MAX_FRAMES {
        return Err(Malformed::TooManyFrames(count));
    }
    let Some(at) = frames.iter().position(|frame| frame == DELIMITER) else {
        return Err(Malformed::NoDelimiter(count));
    };
    if at == 0 {
        return Err(Malformed::NoIdentity);
    }
    let mut rest = frames.split_off(at).into_iter().skip(1);
    let (Some(signature), Some(header), Some(parent_header), Some(metadata), Some(content)) = (
        rest.next(),
        rest.next(),
        rest.next(),
        rest.next(),
        rest.next(),
    ) else {
        return Err(Malformed::TooFewFrames(count - at - 1));
    };
    signer.verify(&signature, [&header, &parent_header, &metadata, &content])?;
    let parsed = parse_header(&header)?;
    let origin = Origin {
        identities: frames,
        header,
    };
    Ok(Incoming {
        channel,
        origin,
        header: parsed,
        parent_header,
        metadata,
        content,
        buffers: rest.collect(),
    })
}

fn parse_header(bytes: &[u8]) -> Result<Header, Malformed> {
    // serde would also read the fields from an array.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Malformed::Header("not a JSON object".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|e| Malformed::Header(e.to_string()))
}

fn text_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

fn text_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(text_or_none(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &[u8] =
        br#"{"msg_id":"1","msg_type":"execute_request","username":null,"new_key":[1e400]}"#;

    fn frames(parts: &[&[u8]]) -> Vec<Bytes> {
        parts.iter().map(|p| Bytes::copy_from_slice(p)).collect()
    }

    fn decode_unsigned(parts: &[&[u8]]) -> Result<Incoming, Malformed> {
        decode(Channel::Shell, frames(parts), &Signer::new(""))
    }

    #[test]
    fn a_message_keeps_its_header_byte_for_byte() {
        let message = decode_unsigned(&[
            b"id", DELIMITER, b"", HEADER, b"{}", b"{}", b"{}", b"buffer",
        ])
        .unwrap();
        assert_eq!(message.origin.header, HEADER);
        assert_eq!(message.origin.identities, frames(&[b"id"]));
        assert_eq!(message.header.msg_type, "execute_request");
        assert_eq!(
            (message.header.session.as_str(), message.header.username),
            ("", None)
        );
        assert_eq!(message.buffers, frames(&[b"buffer"]));
    }

    #[test]
    fn every_malformed_shape_has_its_own_reason() {
        assert_eq!(decode_unsigned(&[]).unwrap_err(), Malformed::NoDelimiter(0));
        assert_eq!(
            decode_unsigned(&[b"id", b"x"]).unwrap_err(),
            Malformed::NoDelimiter(2)
        );
        assert_eq!(
            decode_unsigned(&[DELIMITER, b""]).unwrap_err(),
            Malformed::NoIdentity
        );
        assert_eq!(
            decode_unsigned(&[b"id", DELIMITER]).unwrap_err(),
            Malformed::TooFewFrames(0)
        );
        let short = [b"id", DELIMITER, b"", HEADER, b"{}", b"{}"];
        assert_eq!(
            decode_unsigned(&short).unwrap_err(),
            Malformed::TooFewFrames(4)
        );
        let many = vec![Bytes::from_static(b"x"); MAX_FRAMES + 1];
        let error = decode(Channel::Shell, many, &Signer::new("")).unwrap_err();
        assert_eq!(error, Malformed::TooManyFrames(MAX_FRAMES + 1));
    }

    #[test]
    fn an_unusable_header_is_refused() {
        let table: [&[u8]; 7] = [
            b"",
            b"null",
            b"[\"1\",\"execute_request\"]",
            b"{\"msg_id\":\"1\"}",
            b"{\"msg_type\":\"t\"}",
            b"{\"msg_id\":1,\"msg_type\":\"t\"}",
            b"{\"msg_id\":\"\xff\",\"msg_type\":\"t\"}",
        ];
        for header in table {
            let result = decode_unsigned(&[b"id", DELIMITER, b"", header, b"{}", b"{}", b"{}"]);
            assert!(matches!(result, Err(Malformed::Header(_))), "{header:?}");
        }
    }

    #[test]
    fn a_wrong_signature_is_refused_before_the_header_is_read() {
        let parts = frames(&[b"id", DELIMITER, b"00", b"not json", b"{}", b"{}", b"{}"]);
        let error = decode(Channel::Shell, parts, &Signer::new("key")).unwrap_err();
        assert_eq!(error, Malformed::Signature(BadSignature::Mismatch));
    }

    proptest! {
        #[test]
        fn no_multipart_panics(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just(DELIMITER.to_vec()),
                    Just(HEADER.to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..40),
                ],
                0..12,
            )
        ) {
            let parts = parts.into_iter().map(Bytes::from).collect();
            let _ = decode(Channel::Shell, parts, &Signer::new(""));
        }
    }
}
