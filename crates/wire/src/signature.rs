//! Signatures of messages: HMAC-SHA256 over header, parent header, metadata and content, in hex.
//!
//! Buffers are not signed; see <https://jupyter-client.readthedocs.io/en/stable/messaging.html#the-wire-protocol>.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Signatures remembered to recognise a replay; the number that jupyter_client keeps.
const REMEMBERED: usize = 65_536;

/// Signs what leaves and verifies what arrives.
pub struct Signer {
    key: Option<Hmac<Sha256>>,
    seen: Mutex<Seen>,
}

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Not made with our key over these four sections.
    #[error("the signature does not match; the client uses another key")]
    Mismatch,
    /// A signature that was accepted before.
    #[error("the signature was seen before: a replayed message")]
    Replay,
}

impl Signer {
    /// A signer for the `key` of the connection file. An empty key means unsigned: nothing is checked, nothing signed.
    pub fn new(key: &str) -> Self {
        // HMAC takes a key of any length (RFC 2104), so `ok()` loses nothing.
        let key = (!key.is_empty())
            .then(|| Hmac::new_from_slice(key.as_bytes()).ok())
            .flatten();
        Self {
            key,
            seen: Mutex::default(),
        }
    }

    /// The signature of the four sections as hex; empty when unsigned.
    pub fn sign(&self, sections: [&[u8]; 4]) -> Bytes {
        match self.mac(sections) {
            Some(mac) => Bytes::from(hex::encode(mac.finalize().into_bytes())),
            None => Bytes::new(),
        }
    }

    /// Checks a signature in constant time and remembers it.
    ///
    /// # Errors
    /// When it does not match, or was accepted before.
    pub fn verify(&self, signature: &[u8], sections: [&[u8]; 4]) -> Result<(), BadSignature> {
        let Some(mac) = self.mac(sections) else {
            return Ok(());
        };
        let mut digest = [0u8; 32];
        hex::decode_to_slice(signature, &mut digest).map_err(|_| BadSignature::Mismatch)?;
        mac.verify_slice(&digest)
            .map_err(|_| BadSignature::Mismatch)?;
        // Half a digest is enough to tell 65,536 of them apart, and halves the memory.
        let mut half = [0u8; 16];
        half.copy_from_slice(&digest[..16]);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(u128::from_ne_bytes(half)) {
            Ok(())
        } else {
            Err(BadSignature::Replay)
        }
    }

    fn mac(&self, sections: [&[u8]; 4]) -> Option<Hmac<Sha256>> {
        let mut mac = self.key.clone()?;
        for section in sections {
            mac.update(section);
        }
        Some(mac)
    }
}

/// A set that forgets its oldest member when it is full.
#[derive(Default)]
struct Seen {
    set: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Seen {
    /// False when `digest` is already a member.
    fn insert(&mut self, digest: u128) -> bool {
        if !self.set.insert(digest) {
            return false;
        }
        self.order.push_back(digest);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECTIONS: [&[u8]; 4] = [b"{\"h\":1}", b"{}", b"{}", b"{\"c\":2}"];

    #[test]
    fn the_signature_is_that_of_jupyter_client() {
        // hmac.new(b"key", b'{"h":1}{}{}{"c":2}', "sha256").hexdigest()
        let expected = "06829948ac688bc613e1a3e1eaf6fdbabc39332b27532bd39e22164d4bc8179a";
        assert_eq!(Signer::new("key").sign(SECTIONS), expected.as_bytes());
    }

    #[test]
    fn a_signature_is_accepted_once() {
        let signer = Signer::new("key");
        let signature = signer.sign(SECTIONS);
        assert_eq!(signer.verify(&signature, SECTIONS), Ok(()));
        assert_eq!(
            signer.verify(&signature, SECTIONS),
            Err(BadSignature::Replay)
        );
    }

    #[test]
    fn a_replay_in_capitals_is_still_a_replay() {
        let signer = Signer::new("key");
        let signature = signer.sign(SECTIONS);
        assert_eq!(signer.verify(&signature, SECTIONS), Ok(()));
        assert_eq!(
            signer.verify(&signature.to_ascii_uppercase(), SECTIONS),
            Err(BadSignature::Replay)
        );
    }

    #[test]
    fn without_a_key_everything_passes_and_nothing_is_signed() {
        let signer = Signer::new("");
        assert!(signer.sign(SECTIONS).is_empty());
        assert_eq!(signer.verify(b"whatever", SECTIONS), Ok(()));
        assert_eq!(signer.verify(b"whatever", SECTIONS), Ok(()));
    }

    #[test]
    fn the_memory_forgets_the_oldest() {
        let mut seen = Seen::default();
        for n in 0..REMEMBERED as u128 + 1 {
            assert!(seen.insert(n));
        }
        assert_eq!(seen.set.len(), REMEMBERED);
        assert!(seen.insert(0));
        assert!(!seen.insert(2));
    }

    proptest! {
        #[test]
        fn no_other_signature_passes(signature in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(Signer::new("key").verify(&signature, SECTIONS), Err(BadSignature::Mismatch));
        }
    }
}
