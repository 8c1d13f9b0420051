//! The health of the operator's watches, for /readyz, /metrics and the log. Pure: the time is an argument.
//!
//! The watches report here (`watch.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// A watch that has failed for this long makes the process not ready. A restart of the API server takes much less.
pub(crate) const TOLERATED: Duration = Duration::from_secs(120);
/// How often a warning about one kind is logged.
const REMIND_EVERY: Duration = Duration::from_secs(60);
/// Namespaces that are named in one sentence. The others are counted.
const NAMED: usize = 3;

/// One watch: a kind, in one namespace or in all of them (none).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchId {
    /// The kind, as in metrics.
    pub kind: &'static str,
    /// The namespace.
    pub namespace: Option<String>,
}

/// What was attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WatchAttempt {
    /// A list of all objects.
    List,
    /// A watch that begins at the version of the list.
    Watch,
}

impl WatchAttempt {
    /// The verb of RBAC.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
        }
    }
}

/// Why a watch fails. Watches of a kind with the same attempt and code are reported in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchFailure {
    /// What was attempted.
    pub attempt: WatchAttempt,
    /// Resource, as in RBAC, such as `redisclusterrefs`.
    pub resource: String,
    /// The HTTP status, or 0 if there was no answer.
    pub code: u16,
    /// What happened, such as the API server's message.
    pub message: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl WatchFailure {
    /// Whether the API server refused the request, which only a person can change.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.code, 401 | 403)
    }

    /// What happened and what to do, for all namespaces with this failure.
    fn sentence(&self, namespaces: &[Option<&str>]) -> String {
        let Self { attempt, resource, message, advice, .. } = self;
        let mut text = format!("cannot {} {resource} in {}", attempt.verb(), places(namespaces));
        let _ = write!(text, ": {message}. {advice}");
        text
    }
}

/// The namespaces in words. Of many, only some are named.
pub(crate) fn places(namespaces: &[Option<&str>]) -> String {
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

/// The health of one watch.
#[derive(Clone, Debug)]
struct WatchHealth {
    /// Whether it has ever been up.
    was_up: bool,
    /// Whether something keeps it from beginning.
    is_held_up: bool,
    /// When the API server last sent something: a list, an event or a bookmark.
    heard: Instant,
    /// Since when each attempt has failed, and why the last one did.
    failing: Option<(Instant, WatchFailure)>,
}

/// Whether the watches work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchSummary {
    /// All of them work, or failed only a moment ago.
    Working,
    /// Some of several namespaces refuse access: somebody deleted one, or its Role. The sentence says which.
    Partial(String),
    /// Objects are not seen. The sentence says which, and why.
    Failing(String),
}

/// What is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogLine {
    /// Watches fail.
    Warning(String),
    /// All watches of a kind work again, after a warning.
    Recovered(&'static str),
}

/// The watches of one kind, for metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WatchNumbers {
    /// The kind.
    pub kind: &'static str,
    /// Watches that fail now.
    pub failing: usize,
    /// How long ago the API server last sent something to the watch that has been silent for longest.
    pub silent: Duration,
}

/// The health of all watches of the process.
#[derive(Debug, Default)]
pub(crate) struct HealthBoard {
    watches: BTreeMap<WatchId, WatchHealth>,
    /// When a warning about a kind was last logged, as long as its watches fail.
    warned: BTreeMap<&'static str, Instant>,
    /// What keeps watches from beginning, such as a limit of the process. It was logged where it was found.
    held_up: Option<String>,
}

impl HealthBoard {
    /// A watch is about to begin.
    pub(crate) fn begin(&mut self, id: WatchId, now: Instant) {
        self.watches.insert(id, WatchHealth { was_up: false, is_held_up: false, heard: now, failing: None });
    }

    /// A watch cannot begin, because of what [`HealthBoard::hold_up`] says.
    pub(crate) fn waits(&mut self, id: &WatchId) {
        if let Some(health) = self.watches.get_mut(id) {
            health.is_held_up = true;
        }
    }

    /// Something keeps some watches from beginning, for as long as the process runs.
    pub(crate) fn hold_up(&mut self, sentence: String) {
        self.held_up = Some(sentence);
    }

    /// The API server sent something: a page of a list, an event or a bookmark.
    pub(crate) fn heard(&mut self, id: &WatchId, now: Instant) {
        if let Some(health) = self.watches.get_mut(id) {
            (health.heard, health.is_held_up) = (now, false);
        }
    }

    /// A watch is up: the objects were listed, the watch was accepted, and it lasted.
    pub(crate) fn up(&mut self, id: &WatchId, now: Instant) {
        if let Some(health) = self.watches.get_mut(id) {
            *health = WatchHealth { was_up: true, is_held_up: false, heard: now, failing: None };
        }
    }

    /// An attempt failed. Returns for how long all attempts of this watch have failed.
    pub(crate) fn failed(&mut self, id: &WatchId, failure: WatchFailure, now: Instant) -> Duration {
        let Some(health) = self.watches.get_mut(id) else { return Duration::ZERO };
        let since = health.failing.as_ref().map_or(now, |(since, _)| *since);
        health.failing = Some((since, failure));
        now.saturating_duration_since(since)
    }

    /// Whether the watches work, apart from failures that may pass.
    pub(crate) fn summary(&self, now: Instant) -> WatchSummary {
        if let Some(sentence) = &self.held_up {
            return WatchSummary::Failing(sentence.clone());
        }
        let is_failing = |health: &WatchHealth| match &health.failing {
            Some((since, _)) => !health.was_up || now.saturating_duration_since(*since) >= TOLERATED,
            None => false,
        };
        let sentences = self.sentences(is_failing);
        if sentences.is_empty() {
            return WatchSummary::Working;
        }
        let is_refused =
            |health: &WatchHealth| health.failing.as_ref().is_some_and(|(_, failure)| failure.is_refusal());
        let only_refused = self.watches.values().all(|health| !is_failing(health) || is_refused(health));
        let some_work = |kind: &str| self.watches.iter().any(|(id, health)| id.kind == kind && !is_failing(health));
        let each_kind_works = sentences.keys().all(|kind| some_work(kind));
        let sentence = sentences.into_values().flatten().collect::<Vec<_>>().join(" ");
        if only_refused && each_kind_works { WatchSummary::Partial(sentence) } else { WatchSummary::Failing(sentence) }
    }

    /// What to log now: one warning per kind and minute, as long as one of its watches fails.
    pub(crate) fn lines(&mut self, now: Instant) -> Vec<LogLine> {
        let failing = self.sentences(|health| health.failing.is_some());
        let mut lines: Vec<LogLine> = self
            .warned
            .keys()
            .filter(|kind| !failing.contains_key(*kind))
            .map(|kind| LogLine::Recovered(kind))
            .collect();
        self.warned.retain(|kind, _| failing.contains_key(kind));
        for (kind, sentences) in failing {
            let is_due = |last: &Instant| now.saturating_duration_since(*last) >= REMIND_EVERY;
            if self.warned.get(kind).is_none_or(is_due) {
                self.warned.insert(kind, now);
                lines.push(LogLine::Warning(sentences.join(" ")));
            }
        }
        lines
    }

    /// For metrics: each kind that is watched.
    pub(crate) fn numbers(&self, now: Instant) -> Vec<WatchNumbers> {
        let mut kinds: BTreeMap<&'static str, WatchNumbers> = BTreeMap::new();
        for (WatchId { kind, .. }, health) in &self.watches {
            let of_kind = kinds.entry(kind).or_insert(WatchNumbers { kind, failing: 0, silent: Duration::ZERO });
            of_kind.failing += usize::from(health.failing.is_some() || health.is_held_up);
            of_kind.silent = of_kind.silent.max(now.saturating_duration_since(health.heard));
        }
        kinds.into_values().collect()
    }

    /// The sentences of each kind about the watches for which `is_meant` holds: one for each attempt and code.
    fn sentences(&self, is_meant: impl Fn(&WatchHealth) -> bool) -> BTreeMap<&'static str, Vec<String>> {
        type FailureGroup<'a> = (&'a WatchFailure, Vec<Option<&'a str>>);
        let mut groups: BTreeMap<(&'static str, WatchAttempt, u16), FailureGroup<'_>> = BTreeMap::new();
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

    fn refusal(attempt: WatchAttempt) -> WatchFailure {
        WatchFailure {
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
        let (mut board, start) = (HealthBoard::default(), Instant::now());
        board.begin(id("shop"), start);
        assert_eq!(board.summary(start), WatchSummary::Working, "nothing has failed yet");
        board.failed(&id("shop"), refusal(WatchAttempt::List), start);
        let sentence = "cannot list redisclusterrefs in namespace shop: it is forbidden. Grant it.";
        assert_eq!(board.summary(start), WatchSummary::Failing(sentence.to_owned()));
        board.up(&id("shop"), after(start, 1));
        assert_eq!(board.summary(after(start, 1)), WatchSummary::Working);
        board.failed(&id("shop"), refusal(WatchAttempt::Watch), after(start, 10));
        assert_eq!(
            board.failed(&id("shop"), refusal(WatchAttempt::Watch), after(start, 129)),
            Duration::from_secs(119)
        );
        assert_eq!(board.summary(after(start, 129)), WatchSummary::Working);
        let WatchSummary::Failing(told) = board.summary(after(start, 130)) else {
            panic!("it has failed for two minutes")
        };
        assert!(told.contains("cannot watch"), "{told}");
        board.heard(&id("shop"), after(start, 131));
        assert_ne!(
            board.summary(after(start, 131)),
            WatchSummary::Working,
            "a list that works does not make a watch that works"
        );
        board.up(&id("shop"), after(start, 132));
        assert_eq!(board.summary(after(start, 500)), WatchSummary::Working);
    }

    #[test]
    fn hundreds_of_namespaces_are_one_line_a_minute() {
        let (mut board, start) = (HealthBoard::default(), Instant::now());
        for number in 0..300 {
            board.begin(id(&format!("team-{number:03}")), start);
            board.failed(&id(&format!("team-{number:03}")), refusal(WatchAttempt::List), start);
        }
        let wanted = "cannot list redisclusterrefs in namespaces team-000, team-001, team-002 and 297 others: \
                      it is forbidden. Grant it.";
        assert_eq!(board.lines(start), [LogLine::Warning(wanted.to_owned())]);
        for second in 1..60 {
            board.failed(&id("team-000"), refusal(WatchAttempt::List), after(start, second));
            assert_eq!(board.lines(after(start, second)), []);
        }
        assert_eq!(board.lines(after(start, 60)).len(), 1);
        assert_eq!(board.numbers(after(start, 60))[0].failing, 300);
        for number in 0..300 {
            board.up(&id(&format!("team-{number:03}")), after(start, 61));
        }
        assert_eq!(board.lines(after(start, 61)), [LogLine::Recovered(KIND)]);
        assert_eq!(board.lines(after(start, 62)), []);
        let numbers = board.numbers(after(start, 71))[0];
        assert_eq!((numbers.failing, numbers.silent), (0, Duration::from_secs(10)));
    }

    #[test]
    fn a_namespace_that_refuses_is_not_the_others_affair() {
        let (mut board, start) = (HealthBoard::default(), Instant::now());
        for namespace in ["bank", "shop"] {
            board.begin(id(namespace), start);
        }
        board.failed(&id("bank"), refusal(WatchAttempt::List), start);
        board.up(&id("shop"), start);
        assert!(matches!(board.summary(start), WatchSummary::Partial(told) if told.contains("in namespace bank")));
        let cut = WatchFailure { code: 0, ..refusal(WatchAttempt::List) };
        board.failed(&id("bank"), cut, start);
        assert!(matches!(board.summary(start), WatchSummary::Failing(_)), "that is nobody's doing in the namespace");
        board.failed(&id("bank"), refusal(WatchAttempt::List), start);
        board.failed(&id("shop"), refusal(WatchAttempt::Watch), start);
        let WatchSummary::Failing(told) = board.summary(after(start, 120)) else { panic!("none is left") };
        assert!(told.contains("bank") && told.contains("shop"), "{told}");
    }

    #[test]
    fn different_causes_are_told_apart_in_one_line() {
        let (mut board, start) = (HealthBoard::default(), Instant::now());
        for namespace in ["bank", "shop"] {
            board.begin(id(namespace), start);
        }
        board.failed(&id("bank"), refusal(WatchAttempt::List), start);
        board.failed(&id("shop"), refusal(WatchAttempt::Watch), start);
        let lines = board.lines(start);
        assert_eq!(lines.len(), 1);
        let LogLine::Warning(text) = &lines[0] else { panic!("{lines:?}") };
        assert!(text.contains("cannot list redisclusterrefs in namespace bank"), "{text}");
        assert!(text.contains("cannot watch redisclusterrefs in namespace shop"), "{text}");
    }

    #[test]
    fn what_holds_all_of_them_up_goes_first() {
        let mut board = HealthBoard::default();
        let now = Instant::now();
        board.begin(id("shop"), now);
        board.hold_up("too few open files".to_owned());
        board.waits(&id("shop"));
        assert_eq!(board.summary(now), WatchSummary::Failing("too few open files".to_owned()));
        assert_eq!(
            (board.numbers(now)[0].failing, board.lines(now)),
            (1, vec![]),
            "it was told once, where it was found"
        );
        board.heard(&id("shop"), now);
        assert_eq!(board.numbers(now)[0].failing, 0);
    }
}
