//! Which single cluster is read next, and when. Values only: the time is an argument.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{Due, Haste};

/// Single reads of one connection under way at once: one less than its limit for reads, so that a list never waits for slow ones.
const AT_ONCE: usize = 3;

/// The single reads that are due, spread over time.
#[derive(Debug)]
pub struct Agenda {
    asked: VecDeque<Arc<str>>,
    changed: VecDeque<Arc<str>>,
    routine: VecDeque<Arc<str>>,
    /// What is in one of the queues, and with what haste.
    queued: HashMap<Arc<str>, Haste>,
    under_way: HashSet<Arc<str>>,
    /// The least time between two reads: the pace of the connection's token bucket, without its burst.
    gap: Duration,
    /// The time between two routine reads that spreads them over the interval.
    routine_gap: Duration,
    last: Option<Instant>,
}

/// What to do about single reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read this cluster now.
    Read(Arc<str>),
    /// Ask again at that time.
    At(Instant),
    /// Nothing, until something happens.
    Idle,
}

impl Agenda {
    /// Nothing to read; reads are at least `gap` apart.
    pub fn new(gap: Duration) -> Self {
        Self {
            asked: VecDeque::new(),
            changed: VecDeque::new(),
            routine: VecDeque::new(),
            queued: HashMap::new(),
            under_way: HashSet::new(),
            gap,
            routine_gap: gap,
            last: None,
        }
    }

    /// Adds a read. One that is under way is not added: what is due after it ends is found out then.
    pub fn add(&mut self, due: &Due) {
        if self.under_way.contains(&due.id) {
            return;
        }
        if self.queued.get(&due.id).is_some_and(|have| *have >= due.haste) {
            return;
        }
        self.queued.insert(Arc::clone(&due.id), due.haste);
        self.queue(due.haste).push_back(Arc::clone(&due.id));
    }

    fn queue(&mut self, haste: Haste) -> &mut VecDeque<Arc<str>> {
        match haste {
            Haste::Asked => &mut self.asked,
            Haste::Changed => &mut self.changed,
            Haste::Routine => &mut self.routine,
        }
    }

    /// Replaces all that is queued by what is due until the next list, in this order, and spreads what is routine over `round`.
    pub fn replace(&mut self, due: &[Due], round: Duration) {
        for haste in [Haste::Asked, Haste::Changed, Haste::Routine] {
            self.queue(haste).clear();
        }
        self.queued.clear();
        due.iter().for_each(|due| self.add(due));
        let count = u32::try_from(self.routine.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.routine_gap = (round / count).max(self.gap);
    }

    /// What to do now.
    pub fn next(&mut self, now: Instant) -> Next {
        if self.under_way.len() >= AT_ONCE {
            return Next::Idle;
        }
        for haste in [Haste::Asked, Haste::Changed, Haste::Routine] {
            let gap = if haste == Haste::Routine { self.routine_gap } else { self.gap };
            while let Some(id) = self.queue(haste).front().cloned() {
                // It moved to another queue, and left its place here behind.
                if self.queued.get(&id) != Some(&haste) {
                    self.queue(haste).pop_front();
                    continue;
                }
                if let Some(at) = self.last.map(|last| last + gap).filter(|at| *at > now) {
                    return Next::At(at);
                }
                self.queue(haste).pop_front();
                self.queued.remove(&id);
                self.under_way.insert(Arc::clone(&id));
                self.last = Some(now);
                return Next::Read(id);
            }
        }
        Next::Idle
    }

    /// A read has ended.
    pub fn ended(&mut self, id: &str) {
        self.under_way.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(200);

    fn due(id: &str, urgent: bool) -> Due {
        Due { id: id.into(), haste: if urgent { Haste::Changed } else { Haste::Routine } }
    }

    /// Reads all that is queued, each of them ending at once; when each began, since `start`.
    fn play(agenda: &mut Agenda, start: Instant) -> Vec<(String, Duration)> {
        let (mut now, mut reads) = (start, Vec::new());
        loop {
            match agenda.next(now) {
                Next::Read(id) => {
                    reads.push((id.to_string(), now - start));
                    agenda.ended(&id);
                }
                Next::At(at) => now = at,
                Next::Idle => return reads,
            }
        }
    }

    #[tokio::test]
    async fn routine_reads_are_spread_over_the_round_and_urgent_ones_go_first() {
        let mut agenda = Agenda::new(GAP);
        let all = [due("a", false), due("b", true), due("c", false), due("d", false)];
        agenda.replace(&all, Duration::from_secs(60));
        let reads = play(&mut agenda, Instant::now());
        let ids: Vec<&str> = reads.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "c", "d"]);
        let at: Vec<u64> = reads.iter().map(|(_, at)| at.as_secs()).collect();
        assert_eq!(at, [0, 15, 30, 45], "no two in one second");
    }

    #[tokio::test]
    async fn many_reads_keep_the_pace_of_the_bucket_without_its_burst() {
        let mut agenda = Agenda::new(GAP);
        let all: Vec<Due> = (0..1000).map(|number| due(&number.to_string(), number % 2 == 0)).collect();
        agenda.replace(&all, Duration::from_secs(60));
        let reads = play(&mut agenda, Instant::now());
        assert_eq!(reads.len(), 1000);
        assert!(reads.windows(2).all(|pair| pair[1].1 - pair[0].1 == GAP));
    }

    #[tokio::test]
    async fn what_is_due_twice_is_read_once_and_sooner_if_urgent() {
        let mut agenda = Agenda::new(GAP);
        for due in [due("a", false), due("b", false), due("b", true), due("a", false), due("b", true)] {
            agenda.add(&due);
        }
        agenda.add(&due("c", true));
        agenda.add(&Due { id: "c".into(), haste: Haste::Asked });
        let ids: Vec<String> = play(&mut agenda, Instant::now()).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["c", "b", "a"]);
    }

    #[tokio::test]
    async fn a_few_are_under_way_at_once_and_none_twice() {
        let mut agenda = Agenda::new(Duration::ZERO);
        let now = Instant::now();
        for id in ["a", "b", "c", "d"] {
            agenda.add(&due(id, true));
        }
        for id in ["a", "b", "c"] {
            assert_eq!(agenda.next(now), Next::Read(id.into()));
        }
        assert_eq!(agenda.next(now), Next::Idle, "until one ends");
        agenda.add(&due("a", true));
        agenda.ended("a");
        assert_eq!(agenda.next(now), Next::Read("d".into()));
        agenda.ended("d");
        assert_eq!(agenda.next(now), Next::Idle, "a was under way when it was added");
    }
}
