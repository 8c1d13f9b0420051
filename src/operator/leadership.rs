//! Whether this process may write now: all that the rest of the operator needs to know of the election.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::Method;

/// Until when this process may change objects. The election extends it, and the client of the controllers checks it before each
/// write, so that a process that was paused for too long writes nothing when it continues.
#[derive(Clone, Debug)]
pub(crate) struct Leadership(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    Always,
    Never,
    Time(Instant),
}

/// A write was not sent, because this process does not lead.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this replica does not lead (any more), so nothing is written")]
pub(crate) struct NotLeading;

impl Leadership {
    /// Without leader election: writing is always allowed.
    pub(crate) fn unconditional() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// Nothing may be written before the election is won.
    pub(crate) fn to_be_won() -> Self {
        Self(Arc::new(Mutex::new(Until::Never)))
    }

    /// Leadership lasts until this time; none ends it.
    pub(crate) fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until.map_or(Until::Never, Until::Time);
    }

    /// Lets a request pass, unless it may change something and this process does not lead at `now`.
    ///
    /// # Errors
    /// When it may not be sent.
    pub(crate) fn check(&self, method: &Method, now: Instant) -> Result<(), NotLeading> {
        let leads = match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Until::Always => true,
            Until::Never => false,
            Until::Time(until) => now < until,
        };
        if leads || method.is_safe() { Ok(()) } else { Err(NotLeading) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_leader_writes_and_everybody_reads() {
        let now = Instant::now();
        let later = now + Duration::from_secs(10);
        let leadership = Leadership::to_be_won();
        assert_eq!(leadership.check(&Method::PATCH, now), Err(NotLeading));
        leadership.set(Some(later));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(leadership.check(&method, now), Ok(()));
            assert_eq!(leadership.check(&method, later), Err(NotLeading), "the time is over");
            assert_eq!(Leadership::unconditional().check(&method, later), Ok(()));
        }
        assert_eq!(leadership.check(&Method::GET, later), Ok(()));
        leadership.set(None);
        assert_eq!(leadership.check(&Method::POST, now), Err(NotLeading));
    }
}
