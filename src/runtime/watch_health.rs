//! Which watches of the operator hear the API server, and what is said of those that do not.
//!
//! Values only: the time is an argument. The watches report here (`watch.rs`); /readyz, /metrics and the log are told from here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// A watch that has failed for so long makes the process not ready. Well below it, a restart of the API server is over.
pub const TOLERATED: Duration = Duration::from_secs(120);
/// How often one kind may have a warning.
const REMIND_EVERY: Duration = Duration::from_secs(60);
/// So many namespaces are named in one sentence; the others are counted.
const NAMED: usize = 3;

/// One watch: a kind, in one namespace or in all of them (none).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchId {
    /// The kind, as in metrics.
    pub kind: &'static str,
    /// The namespace.
    pub namespace: Option<String>,
}

/// What was attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attempt {
    /// A list of all objects.
    List,
    /// A watch from there on.
    Watch,
}

impl Attempt {
    /// The verb of RBAC.
    pub fn verb(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
        }
    }
}

/// Why a watch does not hear. Watches with an equal `cause` are told in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was attempted.
    pub attempt: Attempt,
    /// Resource, as in RBAC, such as `redisclusterrefs`.
    pub resource: String,
    /// What the failure has in common with those of other namespaces: the HTTP status, or 0 if there was no answer.
    pub code: u16,
    /// What happened, such as the API server's message.
    pub message: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl Failure {
    /// Whether the API server refused the request, which only a person can change.
    pub fn is_refusal(&self) -> bool {
        matches!(self.code, 401 | 403)
    }

    /// What happened and what to do, for `first` and so many others in the same case.
    fn sentence(&self, namespaces: &[Option<&str>]) -> String {
        let Self { attempt, resource, message, advice, .. } = self;
        let mut text = format!("cannot {} {resource} in {}", attempt.verb(), places(namespaces));
        let _ = write!(text, ": {message}. {advice}");
        text
    }
}

/// The namespaces in words; of many, only some are named.
pub fn places(namespaces: &[Option<&str>]) -> String {
    let named: Vec<&str> = namespaces.iter().filter_map(|namespace| *namespace).collect();
    let Some((first, rest)) = named.split_first() else { return "all namespaces".to_owned() };
    if rest.is_empty() {
        return format!("namespace {first}");
    }
    let shown = named.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match named.len().saturating_sub(NAMED) {
        0 => format!("namespaces {shown}"),
        more => format!("namespaces {shown} and {more} others"),
    }
}

/// How one watch is.
#[derive(Clone, Debug)]
struct Health {
    /// Whether it has ever been up.
    was_up: bool,
    /// Whether it was never heard, since something keeps it from beginning.
    is_held_up: bool,
    /// When the API server was last heard: a list, an event or a bookmark.
    heard: Instant,
    /// Since when each attempt has failed, and why the last one did.
    failing: Option<(Instant, Failure)>,
}

/// What the operator hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// All it is to hear.
    Whole,
    /// All but some of several namespaces, which refuse it: somebody deleted one, or its Role. The sentence says which.
    Partial(String),
    /// Not what it is to hear; the sentence says what and why.
    Deaf(String),
}

/// What is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Watches fail.
    Warning(String),
    /// All watches of a kind hear again, after a warning.
    Recovered(&'static str),
}

/// Of one kind, for metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// The kind.
    pub kind: &'static str,
    /// Watches that fail now.
    pub failing: usize,
    /// How long ago the watch that has been silent for longest heard the API server.
    pub silent: Duration,
}

/// All watches of the process.
#[derive(Debug, Default)]
pub struct Board {
    watches: BTreeMap<WatchId, Health>,
    /// When a kind last had a warning, as long as one stands.
    warned: BTreeMap<&'static str, Instant>,
    /// What keeps watches from beginning, such as a limit of the process. It was logged where it was found.
    held_up: Option<String>,
}

impl Board {
    /// A watch is about to begin.
    pub fn begin(&mut self, id: WatchId, now: Instant) {
        self.watches.insert(id, Health { was_up: false, is_held_up: false, heard: now, failing: None });
    }

    /// A watch cannot begin, because of what [`Board::hold_up`] says.
    pub fn waits(&mut self, id: &WatchId) {
        if let Some(health) = self.watches.get_mut(id) {
            health.is_held_up = true;
        }
    }

    /// Something keeps some watches from beginning, for as long as the process runs.
    pub fn hold_up(&mut self, sentence: String) {
        self.held_up = Some(sentence);
    }

    /// The API server was heard: a page of a list, an event or a bookmark.
    pub fn heard(&mut self, id: &WatchId, now: Instant) {
        if let Some(health) = self.watches.get_mut(id) {
            (health.heard, health.is_held_up) = (now, false);
        }
    }

    /// A watch is up: it was listed, the watch was accepted, and it lasted.
    pub fn up(&mut self, id: &WatchId, now: Instant) {
        if let Some(health) = self.watches.get_mut(id) {
            *health = Health { was_up: true, is_held_up: false, heard: now, failing: None };
        }
    }

    /// An attempt failed. How long each one has failed by now, for this watch.
    pub fn failed(&mut self, id: &WatchId, failure: Failure, now: Instant) -> Duration {
        let Some(health) = self.watches.get_mut(id) else { return Duration::ZERO };
        let since = health.failing.as_ref().map_or(now, |(since, _)| *since);
        health.failing = Some((since, failure));
        now.saturating_duration_since(since)
    }

    /// What the operator hears, but for failures that may pass.
    pub fn hearing(&self, now: Instant) -> Hearing {
        if let Some(sentence) = &self.held_up {
            return Hearing::Deaf(sentence.clone());
        }
        let is_deaf = |health: &Health| match &health.failing {
            Some((since, _)) => !health.was_up || now.saturating_duration_since(*since) >= TOLERATED,
            None => false,
        };
        let sentences = self.sentences(is_deaf);
        if sentences.is_empty() {
            return Hearing::Whole;
        }
        let is_refused = |health: &Health| health.failing.as_ref().is_some_and(|(_, failure)| failure.is_refusal());
        let only_refused = self.watches.values().all(|health| !is_deaf(health) || is_refused(health));
        let some_hear = |kind: &str| self.watches.iter().any(|(id, health)| id.kind == kind && !is_deaf(health));
        let each_kind_is_heard = sentences.keys().all(|kind| some_hear(kind));
        let sentence = sentences.into_values().flatten().collect::<Vec<_>>().join(" ");
        if only_refused && each_kind_is_heard { Hearing::Partial(sentence) } else { Hearing::Deaf(sentence) }
    }

    /// What is to be logged now: for each kind one warning a minute, as long as one of its watches fails.
    pub fn lines(&mut self, now: Instant) -> Vec<Line> {
        let failing = self.sentences(|health| health.failing.is_some());
        let mut lines: Vec<Line> =
            self.warned.keys().filter(|kind| !failing.contains_key(*kind)).map(|kind| Line::Recovered(kind)).collect();
        self.warned.retain(|kind, _| failing.contains_key(kind));
        for (kind, sentences) in failing {
            let is_due = |last: &Instant| now.saturating_duration_since(*last) >= REMIND_EVERY;
            if self.warned.get(kind).is_none_or(is_due) {
                self.warned.insert(kind, now);
                lines.push(Line::Warning(sentences.join(" ")));
            }
        }
        lines
    }

    /// For metrics: each kind that is watched.
    pub fn numbers(&self, now: Instant) -> Vec<Numbers> {
        let mut kinds: BTreeMap<&'static str, Numbers> = BTreeMap::new();
        for (WatchId { kind, .. }, health) in &self.watches {
            let of_kind = kinds.entry(kind).or_insert(Numbers { kind, failing: 0, silent: Duration::ZERO });
            of_kind.failing += usize::from(health.failing.is_some() || health.is_held_up);
            of_kind.silent = of_kind.silent.max(now.saturating_duration_since(health.heard));
        }
        kinds.into_values().collect()
    }

    /// The sentences of each kind about those watches for which `is_meant` holds: one for each attempt and status.
    fn sentences(&self, is_meant: impl Fn(&Health) -> bool) -> BTreeMap<&'static str, Vec<String>> {
        type Group<'a> = (&'a Failure, Vec<Option<&'a str>>);
        let mut groups: BTreeMap<(&'static str, Attempt, u16), Group<'_>> = BTreeMap::new();
        for (id, health) in self.watches.iter().filter(|(_, health)| is_meant(health)) {
            let Some((_, failure)) = &health.failing else { continue };
            let group = groups.entry((id.kind, failure.attempt, failure.code)).or_insert((failure, Vec::new()));
            group.1.push(id.namespace.as_deref());
        }
        let mut kinds: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for ((kind, _, _), (failure, namespaces)) in groups {
            kinds.entry(kind).or_default().push(failure.sentence(&namespaces));
        }
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "RedisClusterRef";

    fn id(namespace: &str) -> WatchId {
        WatchId { kind: KIND, namespace: Some(namespace.to_owned()) }
    }

    fn refusal(attempt: Attempt) -> Failure {
        Failure {
            attempt,
            resource: "redisclusterrefs".to_owned(),
            code: 403,
            message: "it is forbidden".to_owned(),
            advice: "Grant it.",
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_watch_that_never_was_up_is_told_at_once_and_one_that_was_after_a_while() {
        let (mut board, start) = (Board::default(), Instant::now());
        board.begin(id("shop"), start);
        assert_eq!(board.hearing(start), Hearing::Whole, "nothing has failed yet");
        board.failed(&id("shop"), refusal(Attempt::List), start);
        let sentence = "cannot list redisclusterrefs in namespace shop: it is forbidden. Grant it.";
        assert_eq!(board.hearing(start), Hearing::Deaf(sentence.to_owned()));
        board.up(&id("shop"), after(start, 1));
        assert_eq!(board.hearing(after(start, 1)), Hearing::Whole);
        board.failed(&id("shop"), refusal(Attempt::Watch), after(start, 10));
        assert_eq!(board.failed(&id("shop"), refusal(Attempt::Watch), after(start, 129)), Duration::from_secs(119));
        assert_eq!(board.hearing(after(start, 129)), Hearing::Whole);
        let Hearing::Deaf(told) = board.hearing(after(start, 130)) else { panic!("it has failed for two minutes") };
        assert!(told.contains("cannot watch"), "{told}");
        board.heard(&id("shop"), after(start, 131));
        assert_ne!(
            board.hearing(after(start, 131)),
            Hearing::Whole,
            "a list that works does not make a watch that works"
        );
        board.up(&id("shop"), after(start, 132));
        assert_eq!(board.hearing(after(start, 500)), Hearing::Whole);
    }

    #[test]
    fn hundreds_of_namespaces_are_one_line_a_minute() {
        let (mut board, start) = (Board::default(), Instant::now());
        for number in 0..300 {
            board.begin(id(&format!("team-{number:03}")), start);
            board.failed(&id(&format!("team-{number:03}")), refusal(Attempt::List), start);
        }
        let wanted = "cannot list redisclusterrefs in namespaces team-000, team-001, team-002 and 297 others: \
                      it is forbidden. Grant it.";
        assert_eq!(board.lines(start), [Line::Warning(wanted.to_owned())]);
        for second in 1..60 {
            board.failed(&id("team-000"), refusal(Attempt::List), after(start, second));
            assert_eq!(board.lines(after(start, second)), []);
        }
        assert_eq!(board.lines(after(start, 60)).len(), 1);
        assert_eq!(board.numbers(after(start, 60))[0].failing, 300);
        for number in 0..300 {
            board.up(&id(&format!("team-{number:03}")), after(start, 61));
        }
        assert_eq!(board.lines(after(start, 61)), [Line::Recovered(KIND)]);
        assert_eq!(board.lines(after(start, 62)), []);
        let numbers = board.numbers(after(start, 71))[0];
        assert_eq!((numbers.failing, numbers.silent), (0, Duration::from_secs(10)));
    }

    #[test]
    fn a_namespace_that_refuses_is_not_the_others_affair() {
        let (mut board, start) = (Board::default(), Instant::now());
        for namespace in ["bank", "shop"] {
            board.begin(id(namespace), start);
        }
        board.failed(&id("bank"), refusal(Attempt::List), start);
        board.up(&id("shop"), start);
        assert!(matches!(board.hearing(start), Hearing::Partial(told) if told.contains("in namespace bank")));
        let cut = Failure { code: 0, ..refusal(Attempt::List) };
        board.failed(&id("bank"), cut, start);
        assert!(matches!(board.hearing(start), Hearing::Deaf(_)), "that is nobody's doing in the namespace");
        board.failed(&id("bank"), refusal(Attempt::List), start);
        board.failed(&id("shop"), refusal(Attempt::Watch), start);
        let Hearing::Deaf(told) = board.hearing(after(start, 120)) else { panic!("none is left") };
        assert!(told.contains("bank") && told.contains("shop"), "{told}");
    }

    #[test]
    fn different_causes_are_told_apart_in_one_line() {
        let (mut board, start) = (Board::default(), Instant::now());
        for namespace in ["bank", "shop"] {
            board.begin(id(namespace), start);
        }
        board.failed(&id("bank"), refusal(Attempt::List), start);
        board.failed(&id("shop"), refusal(Attempt::Watch), start);
        let lines = board.lines(start);
        assert_eq!(lines.len(), 1);
        let Line::Warning(text) = &lines[0] else { panic!("{lines:?}") };
        assert!(text.contains("cannot list redisclusterrefs in namespace bank"), "{text}");
        assert!(text.contains("cannot watch redisclusterrefs in namespace shop"), "{text}");
    }

    #[test]
    fn what_holds_all_of_them_up_goes_first() {
        let mut board = Board::default();
        let now = Instant::now();
        board.begin(id("shop"), now);
        board.hold_up("too few open files".to_owned());
        board.waits(&id("shop"));
        assert_eq!(board.hearing(now), Hearing::Deaf("too few open files".to_owned()));
        assert_eq!(
            (board.numbers(now)[0].failing, board.lines(now)),
            (1, vec![]),
            "it was told once, where it was found"
        );
        board.heard(&id("shop"), now);
        assert_eq!(board.numbers(now)[0].failing, 0);
    }
}
