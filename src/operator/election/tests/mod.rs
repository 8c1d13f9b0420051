//! The election step by step, and in a world that does its worst.

mod world;

use super::*;

const ME: &str = "me";

fn other(renewed_at: i64) -> LeaseRecord {
    LeaseRecord {
        holder: Some("other".to_owned()),
        duration_seconds: Some(15),
        acquired: Some(Timestamp::UNIX_EPOCH),
        renewed: Some(Timestamp::from_second(renewed_at).unwrap()),
        transitions: 7,
    }
}

fn lease(record: &LeaseRecord, version: u32) -> LeaseAnswer {
    LeaseAnswer::Lease { record: record.clone(), version: version.to_string() }
}

/// A candidate and the time, which only goes on when it is told to.
struct Desk {
    election: Election,
    now: Instant,
    clock: Timestamp,
}

impl Desk {
    fn new() -> Self {
        Self { election: Election::new(ME.to_owned()), now: Instant::now(), clock: Timestamp::UNIX_EPOCH }
    }

    fn step(&self) -> ElectionStep {
        self.election.step(self.now, self.clock)
    }

    /// The request that is due now, or after the wait that is due now.
    fn request(&mut self) -> LeaseRequest {
        if let ElectionStep::Wait(until) = self.step() {
            self.now = until;
        }
        match self.step() {
            ElectionStep::Ask(request, _) => request,
            step => panic!("no request, but {step:?}"),
        }
    }

    fn answer(&mut self, request: &LeaseRequest, answer: LeaseAnswer) {
        self.election.answered(request, answer, self.now, self.now);
    }

    /// Reads what stands there.
    fn reads(&mut self, answer: LeaseAnswer) {
        let request = self.request();
        assert_eq!(request, LeaseRequest::Read);
        self.answer(&request, answer);
    }

    /// Writes, and the API server accepts it; what was written.
    fn writes(&mut self, version: u32) -> LeaseRecord {
        let request = self.request();
        let (LeaseRequest::Update { record, .. } | LeaseRequest::Create(record)) = &request else {
            panic!("{request:?}")
        };
        self.answer(&request, lease(record, version));
        record.clone()
    }

    /// One that leads, by version 2 of the Lease.
    fn leading() -> Self {
        let mut desk = Self::new();
        desk.reads(lease(&LeaseRecord::default(), 1));
        desk.writes(2);
        assert!(desk.election.leads_until().is_some());
        desk
    }
}

#[test]
fn a_lease_that_nobody_holds_is_taken_at_once() {
    let free = [LeaseRecord::default(), LeaseRecord { holder: Some(String::new()), ..other(0) }];
    for record in free {
        let mut desk = Desk::new();
        let began = desk.now;
        desk.clock = Timestamp::from_second(1_000).unwrap();
        desk.reads(lease(&record, 1));
        let mine = desk.writes(2);
        assert_eq!(desk.now, began);
        assert_eq!(desk.election.leads_until(), Some(began + RENEW_DEADLINE));
        assert_eq!((mine.holder.as_deref(), mine.duration_seconds), (Some(ME), Some(15)));
        assert_eq!((mine.acquired, mine.renewed), (Some(desk.clock), Some(desk.clock)));
        assert_eq!(mine.transitions, record.transitions + 1);
    }
    let mut desk = Desk::new();
    desk.reads(LeaseAnswer::Absent);
    desk.writes(1);
    assert!(desk.election.leads_until().is_some());
}

/// Whatever times stand in it: the holder's clock may be years away.
#[test]
fn a_lease_is_taken_after_it_was_seen_unchanged_for_its_duration() {
    for renewed_at in [-1_000_000_000, 0, 4_000_000_000] {
        let mut desk = Desk::new();
        let began = desk.now;
        for version in 1..=15 {
            desk.reads(lease(&other(renewed_at), 1));
            assert_eq!(desk.now, began + READ_EVERY * (version - 1));
        }
        desk.reads(lease(&other(renewed_at), 1));
        assert!(matches!(desk.request(), LeaseRequest::Update { version, .. } if version == "1"));
        assert_eq!(desk.now, began + LEASE_DURATION);
    }
}

#[test]
fn a_lease_that_changes_is_not_taken() {
    let mut desk = Desk::new();
    desk.clock = Timestamp::from_second(1_000_000).unwrap();
    for second in 0..100 {
        desk.reads(lease(&other(second / 10), 1));
    }
    assert_eq!(desk.request(), LeaseRequest::Read);
}

#[test]
fn a_longer_promise_of_the_holder_counts_and_a_shorter_one_does_not() {
    for (seconds, wait) in [(Some(60), 60), (Some(1), 15), (Some(-5), 15), (None, 15)] {
        let mut desk = Desk::new();
        let began = desk.now;
        while desk.request() == LeaseRequest::Read {
            desk.reads(lease(&LeaseRecord { duration_seconds: seconds, ..other(0) }, 1));
        }
        assert_eq!(desk.now, began + Duration::from_secs(wait), "{seconds:?}");
    }
}

#[test]
fn a_deleted_lease_is_left_to_its_holder_for_the_same_time() {
    let mut desk = Desk::new();
    let began = desk.now;
    desk.reads(lease(&other(0), 1));
    while desk.request() == LeaseRequest::Read {
        desk.reads(LeaseAnswer::Absent);
    }
    assert!(matches!(desk.request(), LeaseRequest::Create(_)));
    assert_eq!(desk.now, began + LEASE_DURATION);
    let mut leader = Desk::leading();
    let request = leader.request();
    leader.answer(&request, LeaseAnswer::Absent);
    assert!(matches!(leader.request(), LeaseRequest::Create(_)), "the holder creates it again at once");
}

#[test]
fn each_renewal_differs_even_if_the_clock_stands_still() {
    let mut desk = Desk::leading();
    let (first, second) = (desk.writes(3), desk.writes(4));
    assert!(first.renewed < second.renewed, "{first:?}, {second:?}");
    assert_eq!((first.acquired, first.transitions), (second.acquired, second.transitions));
    desk.clock = Timestamp::from_second(-50).unwrap();
    assert!(desk.writes(5).renewed > second.renewed);
}

#[test]
fn a_renewal_counts_from_when_it_was_sent() {
    let mut desk = Desk::leading();
    let request = desk.request();
    let sent = desk.now;
    let answered = sent + Duration::from_secs(2);
    let LeaseRequest::Update { record, .. } = &request else { panic!("{request:?}") };
    desk.election.answered(&request, lease(record, 3), sent, answered);
    assert_eq!(desk.election.leads_until(), Some(sent + RENEW_DEADLINE));
}

#[test]
fn leadership_ends_in_time_if_no_answer_comes() {
    let mut desk = Desk::leading();
    let end = desk.now + RENEW_DEADLINE;
    let mut requests = 0;
    loop {
        match desk.step() {
            ElectionStep::Wait(until) => desk.now = until,
            ElectionStep::Ask(request, until) => {
                assert!(until <= end, "no request outlives leadership");
                requests += 1;
                desk.now = until;
                desk.answer(&request, LeaseAnswer::Unknown);
            }
            ElectionStep::Lost(loss) => {
                assert_eq!(loss, Loss::NotRenewed);
                break;
            }
        }
    }
    assert_eq!(desk.now, end);
    assert!(requests >= 3, "one dead connection, or two, are not the end: {requests}");
}

#[test]
fn a_process_that_was_paused_does_not_lead_when_it_goes_on() {
    let mut desk = Desk::leading();
    let request = desk.request();
    let LeaseRequest::Update { record, .. } = &request else { panic!("{request:?}") };
    let sent = desk.now;
    desk.now += Duration::from_secs(60);
    // The answer to a renewal from before the pause is in the socket.
    desk.election.answered(&request, lease(record, 3), sent, desk.now);
    assert_eq!(desk.step(), ElectionStep::Lost(Loss::NotRenewed));
}

#[test]
fn a_victory_told_too_late_is_none() {
    let mut desk = Desk::new();
    desk.reads(LeaseAnswer::Absent);
    let request = desk.request();
    let LeaseRequest::Create(record) = &request else { panic!("{request:?}") };
    let sent = desk.now;
    desk.now += RENEW_DEADLINE;
    desk.election.answered(&request, lease(record, 1), sent, desk.now);
    assert_eq!(desk.election.leads_until(), None);
    desk.writes(2);
    assert_eq!(desk.election.leads_until(), Some(desk.now + RENEW_DEADLINE));
}

#[test]
fn a_renewal_that_arrived_although_nobody_said_so_is_recognised() {
    let mut desk = Desk::leading();
    let request = desk.request();
    let LeaseRequest::Update { record, .. } = request.clone() else { panic!("{request:?}") };
    desk.answer(&request, LeaseAnswer::Unknown);
    let again = desk.request();
    desk.answer(&again, LeaseAnswer::Conflict);
    desk.reads(lease(&record, 3));
    assert!(matches!(desk.request(), LeaseRequest::Update { version, .. } if version == "3"));
    assert!(desk.election.leads_until().is_some());
}

#[test]
fn a_leader_whose_lease_is_another_s_ends_at_once() {
    for (record, loss) in [(other(0), Loss::Taken("other".to_owned())), (LeaseRecord::default(), Loss::Released)] {
        let mut desk = Desk::leading();
        let request = desk.request();
        desk.answer(&request, LeaseAnswer::Conflict);
        desk.reads(lease(&record, 9));
        assert_eq!(desk.election.leads_until(), None);
        assert_eq!(desk.step(), ElectionStep::Lost(loss));
        assert_eq!(desk.election.release(), None, "it is not given back");
    }
}

#[test]
fn a_lease_is_given_back_as_free() {
    let desk = Desk::leading();
    let released = LeaseRecord { transitions: 1, ..LeaseRecord::default() };
    assert_eq!(desk.election.release(), Some(LeaseRequest::Update { version: "2".to_owned(), record: released }));
    assert_eq!(Desk::new().election.release(), None);
}

#[test]
fn a_namespace_that_is_not_there_is_no_reason_to_hurry() {
    let mut desk = Desk::new();
    desk.reads(LeaseAnswer::Absent);
    let request = desk.request();
    let before = desk.now;
    desk.answer(&request, LeaseAnswer::Absent);
    desk.request();
    assert!(desk.now > before);
}
