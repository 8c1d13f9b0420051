//! Several candidates and an API server in simulated time: clocks that disagree, processes that are paused, requests and
//! answers that are late or lost.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;

const TICK: Duration = Duration::from_millis(100);
/// Trouble begins and ends within this.
const TROUBLED: Duration = Duration::from_secs(90);
/// After trouble, somebody leads within this: one duration, a request that was given up, and the way of the answers.
const HEALED: Duration = Duration::from_secs(25);

/// What may happen to one candidate.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It does not run.
    Paused,
    /// Its requests do not arrive.
    Deaf,
    /// Its requests arrive, but it gets no answer.
    Mute,
    /// Each way takes this long.
    Slow(Duration),
    /// Its clock shows another time, so many seconds away.
    Clock(i64),
}

#[derive(Clone, Debug)]
struct Spell {
    candidate: usize,
    trouble: Trouble,
    from: Duration,
    until: Duration,
}

/// A request on its way.
struct Sent {
    request: LeaseRequest,
    at: Duration,
    given_up_at: Instant,
    arrives: Option<Duration>,
    /// How long the way back takes; none if the answer is lost.
    way_back: Option<Duration>,
    answer: Option<(LeaseAnswer, Duration)>,
}

struct Candidate {
    election: Election,
    sent: Option<Sent>,
    /// Requests that were given up, but arrive nevertheless.
    late: Vec<Sent>,
    skew: i64,
    starts: u32,
}

struct World {
    zero: Instant,
    now: Duration,
    lease: Option<(LeaseRecord, u64)>,
    versions: u64,
    candidates: Vec<Candidate>,
    spells: Vec<Spell>,
}

impl World {
    fn new(skews: &[i64], spells: Vec<Spell>) -> Self {
        let candidates = skews.iter().enumerate().map(|(index, &skew)| Candidate {
            election: Election::new(format!("{index}-0")),
            sent: None,
            late: Vec::new(),
            skew,
            starts: 0,
        });
        let zero = Instant::now();
        Self { zero, now: Duration::ZERO, lease: None, versions: 0, candidates: candidates.collect(), spells }
    }

    fn troubles(&self, candidate: usize) -> Vec<Trouble> {
        let current = |spell: &&Spell| spell.candidate == candidate && spell.from <= self.now && self.now < spell.until;
        self.spells.iter().filter(current).map(|spell| spell.trouble).collect()
    }

    /// What the API server does with a request that arrives now.
    fn serve(&mut self, request: &LeaseRequest) -> LeaseAnswer {
        let written = match (request, &self.lease) {
            (LeaseRequest::Read, None) | (LeaseRequest::Update { .. }, None) => return LeaseAnswer::Absent,
            (LeaseRequest::Read, Some((record, version))) => {
                return LeaseAnswer::Lease { record: record.clone(), version: version.to_string() };
            }
            (LeaseRequest::Create(_), Some(_)) => return LeaseAnswer::Conflict,
            (LeaseRequest::Update { version, .. }, Some((_, stands))) if *version != stands.to_string() => {
                return LeaseAnswer::Conflict;
            }
            (LeaseRequest::Create(record) | LeaseRequest::Update { record, .. }, _) => record.clone(),
        };
        self.versions += 1;
        self.lease = Some((written.clone(), self.versions));
        LeaseAnswer::Lease { record: written, version: self.versions.to_string() }
    }

    fn tick(&mut self) {
        for index in 0..self.candidates.len() {
            self.arrive(index);
            let troubles = self.troubles(index);
            if !troubles.iter().any(|trouble| matches!(trouble, Trouble::Paused)) {
                self.run(index, &troubles);
            }
        }
        let leaders = self.leaders();
        assert!(leaders.len() <= 1, "{leaders:?} lead at {:?}", self.now);
        self.now += TICK;
    }

    /// Requests of a candidate reach the API server, even those that it gave up.
    fn arrive(&mut self, index: usize) {
        let candidate = &mut self.candidates[index];
        let mut sent: Vec<Sent> = candidate.late.drain(..).collect();
        let has_current = candidate.sent.is_some();
        sent.extend(candidate.sent.take());
        let last = sent.len().saturating_sub(1);
        for (place, mut one) in sent.into_iter().enumerate() {
            if one.arrives.is_some_and(|time| time <= self.now) {
                one.arrives = None;
                let answer = self.serve(&one.request);
                one.answer = one.way_back.map(|way| (answer, self.now + way));
            }
            if has_current && place == last {
                self.candidates[index].sent = Some(one);
            } else if one.arrives.is_some() {
                self.candidates[index].late.push(one);
            }
        }
    }

    fn run(&mut self, index: usize, troubles: &[Trouble]) {
        let now = self.zero + self.now;
        let (time, zero) = (self.now, self.zero);
        let candidate = &mut self.candidates[index];
        if let Some(mut sent) = candidate.sent.take() {
            let at = zero + sent.at;
            match sent.answer.take_if(|(_, comes)| *comes <= time) {
                Some((answer, _)) => candidate.election.answered(&sent.request, answer, at, now),
                None if now >= sent.given_up_at => {
                    candidate.election.answered(&sent.request, LeaseAnswer::Unknown, at, now);
                    candidate.late.push(sent);
                }
                None => return candidate.sent = Some(sent),
            }
        }
        let skew = candidate.skew + troubles.iter().map(skew_of).sum::<i64>();
        let clock = Timestamp::from_second(2_000_000_000 + skew).unwrap() + SignedDuration::try_from(time).unwrap();
        match candidate.election.step(now, clock) {
            ElectionStep::Wait(_) => {}
            ElectionStep::Ask(request, given_up_at) => {
                let way = troubles.iter().map(way_of).max().unwrap_or(TICK);
                let is_lost = troubles.iter().any(|trouble| matches!(trouble, Trouble::Deaf));
                let is_mute = troubles.iter().any(|trouble| matches!(trouble, Trouble::Mute));
                candidate.sent = Some(Sent {
                    request,
                    at: time,
                    given_up_at,
                    arrives: (!is_lost).then_some(time + way),
                    way_back: (!is_mute).then_some(way),
                    answer: None,
                });
            }
            ElectionStep::Lost(_) => {
                // The process ends, and its container is started again: somebody else, as far as the Lease is concerned.
                candidate.starts += 1;
                candidate.election = Election::new(format!("{index}-{}", candidate.starts));
            }
        }
    }

    /// Who may act now.
    fn leaders(&self) -> Vec<usize> {
        let now = self.zero + self.now;
        let leads = |index: &usize| self.candidates[*index].election.leads_until().is_some_and(|until| now < until);
        (0..self.candidates.len()).filter(leads).collect()
    }
}

fn skew_of(trouble: &Trouble) -> i64 {
    if let Trouble::Clock(seconds) = trouble { *seconds } else { 0 }
}

fn way_of(trouble: &Trouble) -> Duration {
    if let Trouble::Slow(way) = trouble { *way } else { TICK }
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        Just(Trouble::Paused),
        Just(Trouble::Deaf),
        Just(Trouble::Mute),
        (100_u64..20_000).prop_map(|millis| Trouble::Slow(Duration::from_millis(millis))),
        (-100_000_i64..100_000).prop_map(Trouble::Clock),
    ]
}

fn spell() -> impl Strategy<Value = Spell> {
    let troubled = u64::try_from(TROUBLED.as_millis()).unwrap();
    (0_usize..3, trouble(), 0..troubled, 100_u64..40_000).prop_map(move |(candidate, trouble, from, length)| {
        let until = Duration::from_millis((from + length).min(troubled));
        Spell { candidate, trouble, from: Duration::from_millis(from), until }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// At no time two lead; and when trouble is over, one does.
    #[test]
    fn never_two_lead_and_in_the_end_one_does(
        skews in vec(-1_000_000_i64..1_000_000, 3),
        spells in vec(spell(), 0..12),
    ) {
        let mut world = World::new(&skews, spells);
        // What was sent before the end of trouble may arrive 20 s later.
        while world.now < TROUBLED + Duration::from_secs(20) + HEALED {
            world.tick();
        }
        prop_assert_eq!(world.leaders().len(), 1);
    }

    /// Clocks that disagree, by years or by leaps, depose nobody.
    #[test]
    fn clocks_change_nothing(
        skews in vec(-1_000_000_000_i64..1_000_000_000, 3),
        leaps in vec((0_usize..3, 0_u64..90, -100_000_i64..100_000), 0..6),
    ) {
        let spells = leaps.into_iter().map(|(candidate, from, seconds)| Spell {
            candidate,
            trouble: Trouble::Clock(seconds),
            from: Duration::from_secs(from),
            until: TROUBLED,
        });
        let mut world = World::new(&skews, spells.collect());
        while world.now < TROUBLED {
            world.tick();
        }
        prop_assert_eq!(world.lease.map(|(record, _)| record.transitions), Some(1));
    }
}

/// A holder that dies is followed after one duration, and one that hears nothing ends five seconds before that.
#[test]
fn who_dies_is_followed_in_time() {
    let dead = Spell {
        candidate: 0,
        trouble: Trouble::Paused,
        from: Duration::from_secs(30),
        until: Duration::from_secs(1_000),
    };
    let mut world = World::new(&[0, 0, 0], vec![dead]);
    while world.leaders() != [0] {
        world.tick();
    }
    while world.leaders().iter().all(|leader| *leader == 0) && world.now < Duration::from_secs(60) {
        world.tick();
    }
    let after = world.now - Duration::from_secs(30);
    assert!(after > Duration::from_secs(12) && after < Duration::from_secs(17), "{after:?}");
}
