//! Large messages wait here while a claim check travels through zeromq.
//!
//! zeromq keeps a read buffer of the size of the largest message until its client disconnects. It never sees one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::budget::Lease;

/// Names a parked message: the connection it came from and its number there.
type Ticket = (u64, u64);

#[derive(Default)]
pub(crate) struct Parking(Mutex<HashMap<Ticket, Parked>>);

struct Parked {
    frames: Vec<Bytes>,
    _lease: Lease,
}

impl Parking {
    /// Parks a message of a connection; returns the claim check.
    pub(crate) fn park(
        &self,
        connection: u64,
        number: u64,
        frames: Vec<Bytes>,
        lease: Lease,
    ) -> Bytes {
        self.lock().insert(
            (connection, number),
            Parked {
                frames,
                _lease: lease,
            },
        );
        Bytes::from([connection.to_le_bytes(), number.to_le_bytes()].concat())
    }

    /// Takes a message out.
    pub(crate) fn claim(&self, check: &[u8]) -> Option<Vec<Bytes>> {
        let (connection, rest) = check.split_first_chunk::<8>()?;
        let number = rest.first_chunk::<8>()?;
        let ticket = (u64::from_le_bytes(*connection), u64::from_le_bytes(*number));
        self.lock().remove(&ticket).map(|parked| parked.frames)
    }

    /// Drops what a connection left unclaimed.
    pub(crate) fn forget(&self, connection: u64) {
        let mut parked = self.lock();
        parked.retain(|(of, _), _| *of != connection);
        parked.shrink_to_fit();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Ticket, Parked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[test]
    fn a_parked_message_is_claimed_once_and_only_with_its_check() {
        let (parking, budget) = (Parking::default(), Budget::new(0));
        let check = parking.park(1, 7, vec![Bytes::from("a")], budget.lease());
        assert_eq!(parking.claim(b"short"), None);
        assert_eq!(parking.claim(&[0; 16]), None);
        assert_eq!(parking.claim(&check), Some(vec![Bytes::from("a")]));
        assert_eq!(parking.claim(&check), None);
    }

    #[test]
    fn what_a_lost_connection_left_is_forgotten() {
        let (parking, budget) = (Parking::default(), Budget::new(0));
        let lost = parking.park(1, 1, vec![], budget.lease());
        let kept = parking.park(2, 1, vec![], budget.lease());
        parking.forget(1);
        assert_eq!(
            (parking.claim(&lost), parking.claim(&kept)),
            (None, Some(vec![]))
        );
    }
}
