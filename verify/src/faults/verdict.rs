//! Whether a run kept the promises: at most one flush, nothing stuck, and no status that is not true.

use std::collections::BTreeSet;
use std::fmt;

use http::StatusCode;
use managed_redis_operator::api::flush_request::FlushPhase;

use super::history::RequestCourse;
use super::write::OperatorWrite;
use super::write_log::LoggedWrite;

/// What there is to judge at the end of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct RunEvidence {
    /// Every request that ever was.
    pub courses: Vec<RequestCourse>,
    /// How often the fake cloud really wiped the instance.
    pub flushes: u64,
    /// How often it wiped any other.
    pub flushes_elsewhere: u64,
    /// Every write.
    pub entries: Vec<LoggedWrite>,
    /// Whether the API server restarted, so that phases may have gone by unseen.
    pub watch_interrupted: bool,
    /// Whether everything came to rest in time.
    pub settled: bool,
    /// Operators that ended without being killed.
    pub ended_by_themselves: Vec<usize>,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// More flushes than request IDs.
    FlushedTwice {
        /// Flushes.
        flushes: u64,
        /// Request IDs.
        ids: usize,
    },
    /// Another instance was wiped.
    WrongInstance(u64),
    /// Sent again although the first send was not refused.
    SentAgain {
        /// Sends that were not refused.
        sends: usize,
        /// Request IDs.
        ids: usize,
    },
    /// Not at rest in time.
    Stuck(String),
    /// A final phase was left.
    FinalPhaseLeft(String),
    /// More requests say that they flushed than there were flushes.
    SucceededWithoutFlush(String),
    /// A flush happened, and every request says that none did.
    FlushDenied(String),
    /// An operator ended without being killed.
    EndedByItself(usize),
    /// The same kind of write again and again.
    InCircles(OperatorWrite, u32),
}

/// No run needs as many writes of one kind: even the longest, with retries of the client and several operators, has half.
const MOST_OF_A_KIND: u32 = 60;

/// Judges a run.
pub(super) fn judge(evidence: &RunEvidence) -> Vec<Violation> {
    let courses = &evidence.courses;
    let ids = courses.iter().map(|course| &course.request_id).collect::<BTreeSet<_>>().len();
    let told = || courses.iter().map(describe).collect::<Vec<_>>().join("; ");
    let mut found = Vec::new();
    if evidence.flushes > ids as u64 {
        found.push(Violation::FlushedTwice { flushes: evidence.flushes, ids });
    }
    if evidence.flushes_elsewhere > 0 {
        found.push(Violation::WrongInstance(evidence.flushes_elsewhere));
    }
    let sends = sends_without_refusal(&evidence.entries);
    if sends > ids {
        found.push(Violation::SentAgain { sends, ids });
    }
    if !evidence.settled {
        found.push(Violation::Stuck(told()));
    }
    let left = courses.iter().filter(|course| !course.wiped && left_a_final_phase(&course.phases));
    found.extend(left.map(|course| Violation::FinalPhaseLeft(describe(course))));
    let count = |says: fn(&RequestCourse) -> bool| courses.iter().filter(|course| says(course)).count() as u64;
    if count(says_flushed) > evidence.flushes {
        found.push(Violation::SucceededWithoutFlush(told()));
    }
    let admitted = count(admits_a_flush) + unseen_admissions(evidence);
    if evidence.flushes > admitted {
        found.push(Violation::FlushDenied(told()));
    }
    if let Some(entry) = evidence.entries.iter().find(|entry| entry.nth > MOST_OF_A_KIND) {
        found.push(Violation::InCircles(entry.write, MOST_OF_A_KIND));
    }
    found.extend(evidence.ended_by_themselves.iter().copied().map(Violation::EndedByItself));
    found
}

fn left_a_final_phase(phases: &[FlushPhase]) -> bool {
    phases.iter().rev().skip(1).any(|phase| phase.is_terminal())
}

fn says_flushed(course: &RequestCourse) -> bool {
    course.phases.contains(&FlushPhase::Succeeded)
}

/// Whether this request's status admits a flush. A request that was removed by force, or by a deletion that began before the
/// finalizer was added, could not write its last status; its claim still keeps the flush from being repeated.
fn admits_a_flush(course: &RequestCourse) -> bool {
    let admitted = [FlushPhase::Accepted, FlushPhase::Succeeded, FlushPhase::Unknown];
    course.forced || course.overtaken || course.phases.iter().any(|phase| admitted.contains(phase))
}

/// Requests that were created and removed while the watch was down because the API server restarted. Their status was not seen,
/// but the write log shows that it was written.
fn unseen_admissions(evidence: &RunEvidence) -> u64 {
    use FlushPhase::{Accepted, Succeeded, Unknown};
    if !evidence.watch_interrupted {
        return 0;
    }
    let unseen = evidence.courses.iter().filter(|course| course.gone && !admits_a_flush(course)).count();
    let is_word =
        |entry: &&LoggedWrite| matches!(entry.write, OperatorWrite::RequestStatus(Accepted | Succeeded | Unknown));
    let written = evidence.entries.iter().filter(is_word).any(|entry| entry.carried_out == Some(200));
    if written { unseen as u64 } else { 0 }
}

fn describe(course: &RequestCourse) -> String {
    let phases: Vec<&str> = course.phases.iter().map(|phase| phase.as_str()).collect();
    let gone = if course.gone { ", gone" } else { "" };
    format!("{} ({}): {}, {}{gone}", course.name, course.request_id, phases.join(" → "), course.reason)
}

/// How many of the sends were not refused, as far as the sender was told. The refusals are those of the API: 400, 401, 403,
/// 404, 413 and 429 say that nothing was executed.
fn sends_without_refusal(entries: &[LoggedWrite]) -> usize {
    let refused = |status: u16| {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        matches!(
            status,
            StatusCode::BAD_REQUEST
                | StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::TOO_MANY_REQUESTS
        )
    };
    entries.iter().filter(|entry| entry.write == OperatorWrite::CloudFlush && !entry.told.is_some_and(refused)).count()
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FlushedTwice { flushes, ids } => write!(f, "{flushes} flushes for {ids} request ID(s)"),
            Self::WrongInstance(flushes) => write!(f, "another instance was flushed {flushes} time(s)"),
            Self::SentAgain { sends, ids } => write!(f, "{sends} sends without a refusal for {ids} request ID(s)"),
            Self::Stuck(courses) => write!(f, "not at rest in time: {courses}"),
            Self::FinalPhaseLeft(course) => write!(f, "a final phase was left: {course}"),
            Self::SucceededWithoutFlush(courses) => write!(f, "Succeeded without a flush: {courses}"),
            Self::FlushDenied(courses) => write!(f, "flushed, but nobody says so: {courses}"),
            Self::InCircles(write, most) => write!(f, "more than {most} times the same write: {write}"),
            Self::EndedByItself(process) => write!(f, "operator {process} ended by itself"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FlushPhase::{Accepted, Failed, Pending, Rejected, Sending, Succeeded, Unknown};

    fn course(phases: &[FlushPhase]) -> RequestCourse {
        RequestCourse { name: "a".into(), request_id: "x".into(), phases: phases.to_vec(), ..RequestCourse::default() }
    }

    fn flush(told: Option<u16>) -> LoggedWrite {
        LoggedWrite { process: 0, write: OperatorWrite::CloudFlush, nth: 1, carried_out: None, told, over: true }
    }

    fn evidence(courses: Vec<RequestCourse>, flushes: u64) -> RunEvidence {
        RunEvidence { courses, flushes, entries: vec![flush(Some(200))], settled: true, ..RunEvidence::default() }
    }

    #[test]
    fn what_is_promised_passes() {
        let good = course(&[Pending, Sending, Accepted, Succeeded]);
        assert_eq!(judge(&evidence(vec![good.clone()], 1)), []);
        assert_eq!(judge(&evidence(vec![course(&[Pending, Sending, Unknown])], 1)), []);
        assert_eq!(judge(&evidence(vec![course(&[Pending, Sending, Unknown])], 0)), []);
        assert_eq!(judge(&evidence(vec![good, course(&[Rejected])], 1)), [], "the same ID again");
    }

    #[test]
    fn every_violation_is_seen() {
        let good = || course(&[Pending, Sending, Accepted, Succeeded]);
        let twice = judge(&evidence(vec![good(), good()], 2));
        assert_eq!(twice, [Violation::FlushedTwice { flushes: 2, ids: 1 }]);
        let elsewhere = RunEvidence { flushes_elsewhere: 1, ..evidence(vec![good()], 1) };
        assert_eq!(judge(&elsewhere), [Violation::WrongInstance(1)]);
        let again = RunEvidence { entries: vec![flush(None), flush(Some(200))], ..evidence(vec![good()], 1) };
        assert_eq!(judge(&again), [Violation::SentAgain { sends: 2, ids: 1 }]);
        let stuck = RunEvidence { settled: false, ..evidence(vec![course(&[Pending])], 0) };
        assert!(matches!(&judge(&stuck)[..], [Violation::Stuck(_)]));
        let left = judge(&evidence(vec![course(&[Sending, Unknown, Accepted, Succeeded])], 1));
        assert!(matches!(&left[..], [Violation::FinalPhaseLeft(_)]));
        assert!(matches!(&judge(&evidence(vec![good()], 0))[..], [Violation::SucceededWithoutFlush(_)]));
        assert!(matches!(&judge(&evidence(vec![course(&[Sending, Failed])], 1))[..], [Violation::FlushDenied(_)]));
        let ended = RunEvidence { ended_by_themselves: vec![3], ..evidence(vec![good()], 1) };
        assert_eq!(judge(&ended), [Violation::EndedByItself(3)]);
        let often = LoggedWrite { nth: MOST_OF_A_KIND + 1, ..flush(Some(200)) };
        let circles = judge(&RunEvidence { entries: vec![often], ..evidence(vec![good()], 1) });
        assert_eq!(circles, [Violation::InCircles(OperatorWrite::CloudFlush, MOST_OF_A_KIND)]);
    }

    #[test]
    fn a_status_that_the_run_emptied_may_begin_anew() {
        let wiped = RequestCourse { wiped: true, ..course(&[Sending, Accepted, Succeeded, Unknown]) };
        assert_eq!(judge(&evidence(vec![wiped], 1)), []);
    }

    #[test]
    fn a_request_that_was_overtaken_by_its_deletion_had_no_last_word() {
        let gone = RequestCourse { gone: true, ..course(&[Sending]) };
        let replay = course(&[Rejected]);
        let judged = |gone: RequestCourse| judge(&evidence(vec![gone, replay.clone()], 1));
        assert!(matches!(&judged(gone.clone())[..], [Violation::FlushDenied(_)]));
        assert_eq!(judged(RequestCourse { overtaken: true, ..gone }), []);
    }

    #[test]
    fn a_word_that_was_written_while_nobody_watched_counts() {
        let unseen = RequestCourse { gone: true, ..course(&[]) };
        let wrote = |phase| LoggedWrite {
            write: OperatorWrite::RequestStatus(phase),
            carried_out: Some(200),
            ..flush(Some(200))
        };
        let with = |phase, watch_interrupted| {
            let entries = vec![flush(Some(200)), wrote(phase)];
            judge(&RunEvidence { entries, watch_interrupted, ..evidence(vec![unseen.clone(), course(&[Rejected])], 1) })
        };
        assert_eq!(with(Unknown, true), []);
        assert!(matches!(&with(Pending, true)[..], [Violation::FlushDenied(_)]), "no word was written");
        assert!(matches!(&with(Unknown, false)[..], [Violation::FlushDenied(_)]), "somebody watched");
    }

    #[test]
    fn only_what_the_api_calls_a_refusal_permits_another_send() {
        assert_eq!(sends_without_refusal(&[flush(Some(429)), flush(Some(401)), flush(Some(200))]), 1);
        assert_eq!(sends_without_refusal(&[flush(None), flush(Some(503)), flush(Some(409))]), 3);
        assert_eq!(sends_without_refusal(&[LoggedWrite { write: OperatorWrite::Other, ..flush(None) }]), 0);
    }
}
