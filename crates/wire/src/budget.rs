//! One limit for the bytes that all clients together have in flight towards us.
//!
//! Signatures are checked only when a message is complete, so without this limit anyone who can connect could
//! fill the memory with half-sent messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub(crate) struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicU64::new(0),
            limit,
        })
    }

    /// A lease of nothing, which can grow.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        Lease {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// Bytes taken from a [`Budget`], given back on drop.
pub(crate) struct Lease {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Lease {
    /// Takes `bytes` more; false, and nothing taken, when the budget does not have them.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let fits = |used: u64| {
            used.checked_add(bytes)
                .filter(|sum| *sum <= self.budget.limit)
        };
        let taken = self
            .budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes that give their lease back when the last reader drops them.
pub(crate) fn leased(body: Vec<u8>, lease: Lease) -> Bytes {
    struct Owner {
        body: Vec<u8>,
        _lease: Lease,
    }
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.body
        }
    }
    Bytes::from_owner(Owner {
        body,
        _lease: lease,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_refused_beyond_the_limit_and_given_back_on_drop() {
        let budget = Budget::new(10);
        let mut first = budget.lease();
        assert!(first.grow(6));
        let mut second = budget.lease();
        assert!(!second.grow(5));
        assert!(!second.grow(u64::MAX));
        assert!(second.grow(4));
        drop(first);
        assert!(second.grow(6));
    }

    #[test]
    fn leased_bytes_hold_their_lease_until_the_last_clone_is_dropped() {
        let budget = Budget::new(10);
        let mut lease = budget.lease();
        assert!(lease.grow(10));
        let bytes = leased(vec![1; 10], lease);
        let slice = bytes.slice(2..4);
        drop(bytes);
        assert!(!budget.lease().grow(1));
        drop(slice);
        assert!(budget.lease().grow(10));
    }
}
