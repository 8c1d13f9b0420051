//! Which cluster is read by itself next, and when. Values only: the time is an argument.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Single reads of one connection under way at once: one less than its limit for reads, so that a list never waits for slow ones.
const AT_ONCE: usize = 3;

/// A cluster to read by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRead {
    /// Its ID.
    pub id: Arc<str>,
    /// How soon.
    pub priority: Priority,
}

/// Why a single read is due, the least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// It is time again.
    Routine,
    /// The cluster is new, or its entry in the list changed.
    Changed,
    /// Somebody requested a refresh.
    Requested,
}

impl Priority {
    const MOST_URGENT_FIRST: [Self; 3] = [Self::Requested, Self::Changed, Self::Routine];
}

/// The single reads that are due, spread over time.
#[derive(Debug)]
pub(crate) struct ReadQueue {
    requested: VecDeque<Arc<str>>,
    changed: VecDeque<Arc<str>>,
    routine: VecDeque<Arc<str>>,
    /// The priority of each queued read. A queue may also hold an old position of a read that moved to another queue.
    queued: HashMap<Arc<str>, Priority>,
    under_way: HashSet<Arc<str>>,
    /// The least time between two reads: the pace of the connection's token bucket, without its burst.
    gap: Duration,
    /// The time between two routine reads that spreads them over the interval.
    routine_gap: Duration,
    last: Option<Instant>,
}

/// What to do about single reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NextRead {
    /// Read this cluster now.
    Read(Arc<str>),
    /// Ask again at that time.
    At(Instant),
    /// Nothing, until something happens.
    Idle,
}

impl ReadQueue {
    /// Nothing to read; reads are at least `gap` apart.
    pub(crate) fn new(gap: Duration) -> Self {
        Self {
            requested: VecDeque::new(),
            changed: VecDeque::new(),
            routine: VecDeque::new(),
            queued: HashMap::new(),
            under_way: HashSet::new(),
            gap,
            routine_gap: gap,
            last: None,
        }
    }

    /// Adds a read. One that is under way is not added: when it ends, the reads that are due then are added.
    pub(crate) fn add(&mut self, due: &DueRead) {
        if self.under_way.contains(&due.id) {
            return;
        }
        if self.queued.get(&due.id).is_some_and(|have| *have >= due.priority) {
            return;
        }
        self.queued.insert(Arc::clone(&due.id), due.priority);
        self.queue(due.priority).push_back(Arc::clone(&due.id));
    }

    fn queue(&mut self, priority: Priority) -> &mut VecDeque<Arc<str>> {
        match priority {
            Priority::Requested => &mut self.requested,
            Priority::Changed => &mut self.changed,
            Priority::Routine => &mut self.routine,
        }
    }

    /// Replaces all queued reads by those that are due until the next list, in this order, and spreads routine reads over `interval`.
    pub(crate) fn replace(&mut self, due: &[DueRead], interval: Duration) {
        for priority in Priority::MOST_URGENT_FIRST {
            self.queue(priority).clear();
        }
        self.queued.clear();
        due.iter().for_each(|due| self.add(due));
        let count = u32::try_from(self.routine.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.routine_gap = (interval / count).max(self.gap);
    }

    /// What to do now.
    pub(crate) fn next(&mut self, now: Instant) -> NextRead {
        if self.under_way.len() >= AT_ONCE {
            return NextRead::Idle;
        }
        for priority in Priority::MOST_URGENT_FIRST {
            let gap = if priority == Priority::Routine { self.routine_gap } else { self.gap };
            while let Some(id) = self.queue(priority).front().cloned() {
                // It moved to another queue, and its old position is left here.
                if self.queued.get(&id) != Some(&priority) {
                    self.queue(priority).pop_front();
                    continue;
                }
                if let Some(at) = self.last.map(|last| last + gap).filter(|at| *at > now) {
                    return NextRead::At(at);
                }
                self.queue(priority).pop_front();
                self.queued.remove(&id);
                self.under_way.insert(Arc::clone(&id));
                self.last = Some(now);
                return NextRead::Read(id);
            }
        }
        NextRead::Idle
    }

    /// A read has ended.
    pub(crate) fn ended(&mut self, id: &str) {
        self.under_way.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(200);

    fn due(id: &str, urgent: bool) -> DueRead {
        DueRead { id: id.into(), priority: if urgent { Priority::Changed } else { Priority::Routine } }
    }

    /// Reads all that is queued, each of them ending at once; when each began, since `start`.
    fn play(queue: &mut ReadQueue, start: Instant) -> Vec<(String, Duration)> {
        let (mut now, mut reads) = (start, Vec::new());
        loop {
            match queue.next(now) {
                NextRead::Read(id) => {
                    reads.push((id.to_string(), now - start));
                    queue.ended(&id);
                }
                NextRead::At(at) => now = at,
                NextRead::Idle => return reads,
            }
        }
    }

    #[tokio::test]
    async fn routine_reads_are_spread_over_the_round_and_urgent_ones_go_first() {
        let mut queue = ReadQueue::new(GAP);
        let all = [due("a", false), due("b", true), due("c", false), due("d", false)];
        queue.replace(&all, Duration::from_secs(60));
        let reads = play(&mut queue, Instant::now());
        let ids: Vec<&str> = reads.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "c", "d"]);
        let at: Vec<u64> = reads.iter().map(|(_, at)| at.as_secs()).collect();
        assert_eq!(at, [0, 15, 30, 45], "no two in one second");
    }

    #[tokio::test]
    async fn many_reads_keep_the_pace_of_the_bucket_without_its_burst() {
        let mut queue = ReadQueue::new(GAP);
        let all: Vec<DueRead> = (0..1000).map(|number| due(&number.to_string(), number % 2 == 0)).collect();
        queue.replace(&all, Duration::from_secs(60));
        let reads = play(&mut queue, Instant::now());
        assert_eq!(reads.len(), 1000);
        assert!(reads.windows(2).all(|pair| pair[1].1 - pair[0].1 == GAP));
    }

    #[tokio::test]
    async fn what_is_due_twice_is_read_once_and_sooner_if_urgent() {
        let mut queue = ReadQueue::new(GAP);
        for due in [due("a", false), due("b", false), due("b", true), due("a", false), due("b", true)] {
            queue.add(&due);
        }
        queue.add(&due("c", true));
        queue.add(&DueRead { id: "c".into(), priority: Priority::Requested });
        let ids: Vec<String> = play(&mut queue, Instant::now()).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["c", "b", "a"]);
    }

    #[tokio::test]
    async fn a_few_are_under_way_at_once_and_none_twice() {
        let mut queue = ReadQueue::new(Duration::ZERO);
        let now = Instant::now();
        for id in ["a", "b", "c", "d"] {
            queue.add(&due(id, true));
        }
        for id in ["a", "b", "c"] {
            assert_eq!(queue.next(now), NextRead::Read(id.into()));
        }
        assert_eq!(queue.next(now), NextRead::Idle, "until one ends");
        queue.add(&due("a", true));
        queue.ended("a");
        assert_eq!(queue.next(now), NextRead::Read("d".into()));
        queue.ended("d");
        assert_eq!(queue.next(now), NextRead::Idle, "a was under way when it was added");
    }
}
