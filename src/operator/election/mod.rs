//! Leader election as a pure state machine: from what the Lease said and when, to the next request to the API server.
//!
//! The times of a Lease are other machines' clocks, so they decide nothing here. A process judges a Lease by how long it has
//! seen it unchanged, and its own leadership by when it sent its last successful renewal, both on its own monotonic clock
//! (as client-go does). `leader` carries the requests out.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A Lease that did not change for this long has lost its holder.
pub(super) const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Leadership ends this long after the last successful renewal was sent. The 5 s less than [`LEASE_DURATION`] let work under way
/// finish, and allow for clocks of different speed.
pub(super) const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often the leader renews.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often a standby reads the Lease: a released one is taken within this time.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Wait after a request that failed.
const RETRY: Duration = Duration::from_millis(500);
/// A request without an answer for this long is given up. Three of them fit into [`RENEW_DEADLINE`], so one dead connection does not
/// end the leadership.
const REQUEST_DEADLINE: Duration = Duration::from_secs(3);

/// The fields of a Lease that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeaseRecord {
    /// `holderIdentity`; none if it was released.
    pub holder: Option<String>,
    /// `leaseDurationSeconds`.
    pub duration_seconds: Option<i32>,
    /// `acquireTime`, by the holder's clock.
    pub acquired: Option<Timestamp>,
    /// `renewTime`, by the holder's clock.
    pub renewed: Option<Timestamp>,
    /// `leaseTransitions`.
    pub transitions: i32,
}

impl LeaseRecord {
    /// The duration that the holder wrote, but never less than this program's own: a lower number may be a typing error.
    fn duration(&self) -> Duration {
        let seconds = self.duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map_or(LEASE_DURATION, Duration::from_secs).max(LEASE_DURATION)
    }
}

/// A request to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeaseRequest {
    /// Read the Lease.
    Read,
    /// Create the Lease.
    Create(LeaseRecord),
    /// Write the Lease, if it still has this resourceVersion.
    Update {
        /// `metadata.resourceVersion`, as last seen.
        version: String,
        /// What to write.
        record: LeaseRecord,
    },
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeaseAnswer {
    /// The Lease as it stands now: read, created or updated.
    Lease {
        /// What it says.
        record: LeaseRecord,
        /// `metadata.resourceVersion`.
        version: String,
    },
    /// There is no Lease.
    Absent,
    /// Somebody else wrote or created it before.
    Conflict,
    /// No answer in time, or one that says nothing about the Lease: it may or may not have been written.
    Unknown,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ElectionStep {
    /// Send the request, wait until this time at the latest, and report to [`Election::answered`].
    Ask(LeaseRequest, Instant),
    /// Do nothing until this time.
    Wait(Instant),
    /// This process has led, and must not work any more.
    Lost(Loss),
}

/// Why leadership ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Loss {
    /// No renewal succeeded in time.
    #[error("the Lease could not be renewed for {} s", RENEW_DEADLINE.as_secs())]
    NotRenewed,
    /// Somebody else wrote the Lease.
    #[error("the Lease is held by {0:?} now")]
    Taken(String),
    /// Somebody else took this process's name out of the Lease.
    #[error("somebody else released the Lease")]
    Released,
}

/// The Lease as this process last saw it.
#[derive(Clone, Debug)]
struct SeenLease {
    record: LeaseRecord,
    version: String,
    /// When this process first saw this record.
    since: Instant,
}

/// The next request.
#[derive(Clone, Copy, Debug)]
enum NextRequest {
    Read,
    Create,
    Update,
}

/// One process's part in the election.
#[derive(Clone, Debug)]
pub(super) struct Election {
    identity: String,
    seen: Option<SeenLease>,
    next: NextRequest,
    not_before: Option<Instant>,
    /// Until when this process leads, once it has won.
    leads_until: Option<Instant>,
    loss: Option<Loss>,
}

impl Election {
    /// For a process with this identity, which no other process has or had.
    pub(super) fn new(identity: String) -> Self {
        Self { identity, seen: None, next: NextRequest::Read, not_before: None, leads_until: None, loss: None }
    }

    /// Until when this process leads unless it renews; none if it does not lead.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        if self.loss.is_some() { None } else { self.leads_until }
    }

    /// The holder of the Lease, as last seen.
    pub(super) fn holder(&self) -> Option<&str> {
        self.seen.as_ref()?.record.holder.as_deref()
    }

    /// What to do at `now`. `clock` is the time of the day to write into the Lease, for people and for other programs.
    pub(super) fn step(&self, now: Instant, clock: Timestamp) -> ElectionStep {
        if let Some(loss) = &self.loss {
            return ElectionStep::Lost(loss.clone());
        }
        if self.leads_until.is_some_and(|until| now >= until) {
            return ElectionStep::Lost(Loss::NotRenewed);
        }
        let no_later = |time: Instant| self.leads_until.map_or(time, |until| time.min(until));
        if let Some(time) = self.not_before.filter(|time| *time > now) {
            return ElectionStep::Wait(no_later(time));
        }
        ElectionStep::Ask(self.request(clock), no_later(now + REQUEST_DEADLINE))
    }

    fn request(&self, clock: Timestamp) -> LeaseRequest {
        match (self.next, &self.seen) {
            (NextRequest::Update, Some(seen)) => LeaseRequest::Update {
                version: seen.version.clone(),
                record: self.own_record(Some(&seen.record), clock),
            },
            (NextRequest::Create, seen) => {
                LeaseRequest::Create(self.own_record(seen.as_ref().map(|seen| &seen.record), clock))
            }
            _ => LeaseRequest::Read,
        }
    }

    /// What this process writes over `before`.
    fn own_record(&self, before: Option<&LeaseRecord>, clock: Timestamp) -> LeaseRecord {
        let before = before.cloned().unwrap_or_default();
        let is_mine = self.is_mine(&before);
        // A renewal always differs from the one before, even if this machine's clock stands still or goes back.
        let after_last = before.renewed.and_then(|last| last.checked_add(SignedDuration::from_micros(1)).ok());
        let renewed = if is_mine { after_last.map_or(clock, |least| least.max(clock)) } else { clock };
        LeaseRecord {
            holder: Some(self.identity.clone()),
            duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquired: if is_mine { before.acquired } else { Some(clock) },
            renewed: Some(renewed),
            transitions: if is_mine { before.transitions } else { before.transitions.saturating_add(1) },
        }
    }

    /// Takes in what came of a request that was sent at `sent`.
    pub(super) fn answered(&mut self, request: &LeaseRequest, answer: LeaseAnswer, sent: Instant, now: Instant) {
        match (request, answer) {
            // A creation that is answered with "not found" lacks the namespace.
            (_, LeaseAnswer::Unknown) | (LeaseRequest::Create(_), LeaseAnswer::Absent) => {
                self.not_before = Some(now + RETRY);
            }
            (LeaseRequest::Read, LeaseAnswer::Lease { record, version }) => self.looked(record, version, now),
            (LeaseRequest::Create(_) | LeaseRequest::Update { .. }, LeaseAnswer::Lease { record, version }) => {
                self.wrote(record, version, sent, now);
            }
            (_, LeaseAnswer::Absent) => self.is_absent(now),
            // The Lease as it is now decides.
            (_, LeaseAnswer::Conflict) => self.ask_at(NextRequest::Read, now),
        }
    }

    fn ask_at(&mut self, next: NextRequest, time: Instant) {
        self.next = next;
        self.not_before = Some(time);
    }

    fn wrote(&mut self, record: LeaseRecord, version: String, sent: Instant, now: Instant) {
        if !self.is_mine(&record) {
            // An admission webhook changed what was written.
            return self.looked(record, version, now);
        }
        self.seen = Some(SeenLease { record, version, since: now });
        let until = sent + RENEW_DEADLINE;
        // A first answer this late gives no leadership. The Lease is written once more.
        if self.leads_until.is_some() || until > now {
            self.leads_until = Some(until);
            return self.ask_at(NextRequest::Update, sent + RENEW_EVERY);
        }
        self.ask_at(NextRequest::Update, now);
    }

    fn looked(&mut self, record: LeaseRecord, version: String, now: Instant) {
        let since = self.seen.as_ref().filter(|seen| seen.record == record).map_or(now, |seen| seen.since);
        let is_mine = self.is_mine(&record);
        if self.leads_until.is_some() && !is_mine {
            let holder = record.holder.clone().filter(|holder| !holder.is_empty());
            self.loss = Some(holder.map_or(Loss::Released, Loss::Taken));
        }
        let holder_gone_at = since + record.duration();
        let is_free = is_mine || record.holder.as_ref().is_none_or(String::is_empty) || now >= holder_gone_at;
        self.seen = Some(SeenLease { record, version, since });
        if is_free {
            self.ask_at(NextRequest::Update, now);
        } else {
            self.ask_at(NextRequest::Read, holder_gone_at.min(now + READ_EVERY));
        }
    }

    /// Somebody deleted the Lease. Its holder may still be alive and create it again. A standby waits for that as long as for a
    /// renewal.
    fn is_absent(&mut self, now: Instant) {
        let gone_at = match &self.seen {
            Some(seen) if self.leads_until.is_none() && seen.record.holder.is_some() && !self.is_mine(&seen.record) => {
                seen.since + seen.record.duration()
            }
            _ => now,
        };
        if now >= gone_at {
            self.ask_at(NextRequest::Create, now);
        } else {
            self.ask_at(NextRequest::Read, gone_at.min(now + READ_EVERY));
        }
    }

    /// The request that releases the Lease; none if this process does not hold it.
    pub(super) fn release(&self) -> Option<LeaseRequest> {
        let seen = self.seen.as_ref().filter(|seen| self.is_mine(&seen.record))?;
        let record = LeaseRecord { transitions: seen.record.transitions, ..LeaseRecord::default() };
        Some(LeaseRequest::Update { version: seen.version.clone(), record })
    }

    fn is_mine(&self, record: &LeaseRecord) -> bool {
        record.holder.as_deref() == Some(self.identity.as_str())
    }
}
