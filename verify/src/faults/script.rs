//! What goes wrong in one run, drawn from its seed.

use std::fmt;
use std::time::Duration;

use fake_cloud::{Fault, FaultKind, NcpQuirks, Operation};
use http::StatusCode;
use managed_redis_operator::api::flush_request::FlushPhase;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::write::{OperatorWrite, Point, Side};

/// Everything that decides about one run.
#[derive(Clone, Debug)]
pub(super) struct FaultScript {
    /// What it was drawn from.
    pub seed: u64,
    /// How many operators start together, all without leader election.
    pub replicas: usize,
    /// Whether the request comes only when the reference leads to the instance, so that the writes of a run without faults
    /// are always the same.
    pub orderly: bool,
    /// `spec.startDeadline` of every request.
    pub patience: Duration,
    /// Whether the request has a requestID, or the default.
    pub named: bool,
    /// Seconds that an instance is settling up after a flush.
    pub flush_seconds: u32,
    /// What goes wrong while the operators work.
    pub steps: Vec<ScriptStep>,
    /// What happens once everything is settled.
    pub epilogue: Option<Epilogue>,
}

/// Something that happens at a point.
#[derive(Clone, Debug)]
pub(super) struct ScriptStep {
    /// Where.
    pub at: Point,
    /// What.
    pub act: Act,
}

/// What happens while a write is held.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// The process is killed and another one started. With `late` the write comes through when the other one has settled
    /// everything, as a packet that was long under way; else it is lost, with its answer.
    Kill {
        /// Whether the write comes through late.
        late: bool,
    },
    /// The process stands still while another one takes over, and wakes up when that one has settled everything.
    Pause,
    /// The process stands still for longer than the guard before a send (20 s), and then goes on.
    LongPause {
        /// Whether another one takes over meanwhile.
        takeover: bool,
    },
    /// The connection is closed.
    Drop,
    /// This status is answered instead.
    Answer(StatusCode),
    /// The answer takes longer than the operator waits for one (30 s).
    Hang,
    /// Another replica starts, and the write goes on once that one is at work.
    Replica,
    /// The next requests of the process to the API server meet closed connections, and its watches end.
    Outage {
        /// How many requests.
        requests: u32,
    },
    /// The API server is killed and started again, while everybody is connected.
    RestartApiServer,
    /// The next call of the cloud meets this fault.
    Cloud(Fault),
    /// Something else changes.
    Change(ScriptChange),
}

/// Something that a person, GitOps or a backup does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScriptChange {
    /// The request is deleted.
    Delete,
    /// The request is deleted, and applied again as soon as it is gone.
    Reapply,
    /// The request is removed by force, finalizers and all, and applied again.
    ForceReapply,
    /// The status of the request is emptied.
    WipeStatus,
    /// Another request with the same ID appears.
    SameId,
    /// Another request for the same instance, with an ID of its own, appears.
    OtherId,
    /// The reference is deleted; it is applied again later.
    DeleteReference,
    /// The reference leads to another instance; it is set right later.
    Retarget,
    /// The Secret has another key, which the cloud does not know; it is set right later.
    BreakSecret,
    /// The instance is stopped; it runs again later.
    StopInstance,
}

/// What happens once everything is settled, and must not lead to another flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epilogue {
    /// Another operator starts, the others end.
    Restart,
    /// Something changes.
    Change(ScriptChange),
}

impl FaultScript {
    /// A run in which nothing goes wrong.
    pub(super) fn calm() -> Self {
        Self {
            seed: 0,
            replicas: 1,
            orderly: true,
            patience: LONG_PATIENCE,
            named: true,
            flush_seconds: 0,
            steps: Vec::new(),
            epilogue: None,
        }
    }

    /// A run in which the first send is refused for now, so that there is a second.
    pub(super) fn refused_once() -> Self {
        Self { steps: vec![first_send_meets(too_many())], ..Self::calm() }
    }

    /// Draws a run.
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = *[1, 1, 1, 2, 2, 2, 3].choose(&mut rng).unwrap_or(&1);
        let mut steps: Vec<ScriptStep> = (0..count).map(|_| step(&mut rng)).collect();
        let twice = rng.random_bool(0.15);
        if twice {
            steps.extend(second_attempt(&mut rng));
        }
        let epilogues = [
            Epilogue::Restart,
            Epilogue::Change(ScriptChange::Reapply),
            Epilogue::Change(ScriptChange::ForceReapply),
            Epilogue::Change(ScriptChange::WipeStatus),
            Epilogue::Change(ScriptChange::SameId),
        ];
        Self {
            seed,
            replicas: if rng.random_bool(0.2) { 2 } else { 1 },
            orderly: false,
            patience: if !twice && rng.random_bool(0.25) { SHORT_PATIENCE } else { LONG_PATIENCE },
            named: rng.random_bool(0.5),
            flush_seconds: u32::from(rng.random_bool(0.1)),
            steps,
            epilogue: rng.random_bool(0.6).then(|| *epilogues.choose(&mut rng).unwrap_or(&Epilogue::Restart)),
        }
    }

    /// Whether requests wait long enough for what is set right meanwhile.
    pub(super) fn is_patient(&self) -> bool {
        self.patience > SHORT_PATIENCE
    }

    /// Whether the run disturbs others and has to have the API server for itself.
    pub(super) fn is_exclusive(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.act, Act::RestartApiServer))
    }
}

/// Long enough for an attempt that is made again after a while.
const LONG_PATIENCE: Duration = Duration::from_secs(60);
/// Short enough to pass while something is amiss.
const SHORT_PATIENCE: Duration = Duration::from_secs(4);

/// The writes of the protocol, the more dangerous ones more than once.
const PLACES: &[OperatorWrite] = &[
    OperatorWrite::ReferenceStatus,
    OperatorWrite::CloudList,
    OperatorWrite::ReferenceEvent,
    OperatorWrite::RequestEvent(Some(FlushPhase::Sending)),
    OperatorWrite::RequestEvent(Some(FlushPhase::Accepted)),
    OperatorWrite::FinalizerOn,
    OperatorWrite::RequestStatus(FlushPhase::Pending),
    OperatorWrite::RequestStatus(FlushPhase::Sending),
    OperatorWrite::RequestStatus(FlushPhase::Sending),
    OperatorWrite::ClaimCreate,
    OperatorWrite::ClaimCreate,
    OperatorWrite::ClaimCreate,
    OperatorWrite::CloudFlush,
    OperatorWrite::CloudFlush,
    OperatorWrite::CloudFlush,
    OperatorWrite::CloudFlush,
    OperatorWrite::RequestStatus(FlushPhase::Accepted),
    OperatorWrite::RequestStatus(FlushPhase::Accepted),
    OperatorWrite::RequestStatus(FlushPhase::Succeeded),
    OperatorWrite::RequestStatus(FlushPhase::Unknown),
    OperatorWrite::RequestStatus(FlushPhase::Rejected),
    OperatorWrite::ClaimDelete,
    OperatorWrite::FinalizerOff,
];

fn point(rng: &mut StdRng) -> Point {
    let write = *PLACES.choose(rng).unwrap_or(&OperatorWrite::CloudFlush);
    let most = match write {
        OperatorWrite::CloudList => 4,
        OperatorWrite::ReferenceStatus => 2,
        _ if rng.random_bool(0.8) => 1,
        _ => 3,
    };
    let side = if rng.random_bool(0.5) { Side::Before } else { Side::After };
    Point { side, write, nth: rng.random_range(1..=most) }
}

fn step(rng: &mut StdRng) -> ScriptStep {
    let at = point(rng);
    let (at, act) = match rng.random_range(0..1000) {
        0..180 => (at, Act::Kill { late: false }),
        180..280 => (Point { side: Side::Before, ..at }, Act::Kill { late: true }),
        280..380 => (at, Act::Pause),
        380..386 => (at, Act::LongPause { takeover: rng.random_bool(0.5) }),
        386..392 => (Point { write: OperatorWrite::CloudFlush, nth: 1, ..at }, Act::Hang),
        392..450 => (at, Act::Drop),
        450..520 => (at, answer(rng, at)),
        520..570 => (at, Act::Replica),
        570..620 => (at, Act::Outage { requests: rng.random_range(1..=6) }),
        620..626 => (at, Act::RestartApiServer),
        626..820 => cloud_fault(rng, at),
        _ => (at, Act::Change(*CHANGES.choose(rng).unwrap_or(&ScriptChange::Delete))),
    };
    ScriptStep { at, act }
}

/// The first send is refused for now, and something goes wrong on the way to the second: the claim of the first is released
/// and taken anew there.
fn second_attempt(rng: &mut StdRng) -> [ScriptStep; 2] {
    let refusal = if rng.random_bool(0.5) { too_many() } else { busy() };
    let places = [
        (OperatorWrite::RequestStatus(FlushPhase::Pending), 1),
        (OperatorWrite::ClaimDelete, 1),
        (OperatorWrite::RequestStatus(FlushPhase::Sending), 2),
        (OperatorWrite::ClaimCreate, 2),
        (OperatorWrite::CloudFlush, 2),
    ];
    let (write, nth) = places.choose(rng).copied().unwrap_or((OperatorWrite::ClaimDelete, 1));
    let side = if rng.random_bool(0.5) { Side::Before } else { Side::After };
    let acts = [
        Act::Kill { late: false },
        Act::Kill { late: true },
        Act::Pause,
        Act::Drop,
        Act::Replica,
        Act::Change(ScriptChange::WipeStatus),
        Act::Change(ScriptChange::ForceReapply),
    ];
    let act = acts.choose(rng).cloned().unwrap_or(Act::Pause);
    [first_send_meets(refusal), ScriptStep { at: Point { side, write, nth }, act }]
}

fn first_send_meets(fault: FaultKind) -> ScriptStep {
    let fault = Fault::new(Operation::NcpFlush, fault).times(1);
    ScriptStep { at: Point { side: Side::Before, write: OperatorWrite::CloudFlush, nth: 1 }, act: Act::Cloud(fault) }
}

/// NCP's word for "another operation runs", a plain refusal.
fn busy() -> FaultKind {
    FaultKind::Service { return_code: "25013".to_owned(), message: None, status: Some(400), xml: false }
}

fn too_many() -> FaultKind {
    FaultKind::TooManyRequests { retry_after_seconds: Some(1), error_code: None }
}

const CHANGES: &[ScriptChange] = &[
    ScriptChange::Delete,
    ScriptChange::Reapply,
    ScriptChange::ForceReapply,
    ScriptChange::WipeStatus,
    ScriptChange::SameId,
    ScriptChange::OtherId,
    ScriptChange::DeleteReference,
    ScriptChange::Retarget,
    ScriptChange::BreakSecret,
    ScriptChange::StopInstance,
];

/// A status that a server or something in between may give. A cloud that says "not executed" of what it has executed is
/// no fault that an operator can bear, so after a flush it is one that says nothing.
fn answer(rng: &mut StdRng, at: Point) -> Act {
    let ambiguous = [500, 502, 503, 504];
    let any = [500, 503, 504, 429];
    let of_kube = [500, 503, 504, 429, 409];
    let codes: &[u16] = match (at.write, at.side) {
        (OperatorWrite::CloudFlush, Side::After) => &ambiguous,
        (OperatorWrite::CloudFlush | OperatorWrite::CloudList, _) => &any,
        _ => &of_kube,
    };
    let code = codes.choose(rng).copied().unwrap_or(500);
    Act::Answer(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

fn cloud_fault(rng: &mut StdRng, at: Point) -> (Point, Act) {
    let list = rng.random_bool(0.2);
    let (write, operation) = match list {
        true => (OperatorWrite::CloudList, Operation::NcpInstancesList),
        false => (OperatorWrite::CloudFlush, Operation::NcpFlush),
    };
    let nth = if list { at.nth } else { 1 };
    let gateway = |status, code: &str| FaultKind::Gateway {
        status,
        error_code: code.to_owned(),
        message: Some("injected".to_owned()),
        xml: false,
    };
    let internal = FaultKind::Service { return_code: "900".to_owned(), message: None, status: Some(500), xml: true };
    let no_code = NcpQuirks { omit_return_code: true, ..NcpQuirks::default() };
    let odd = NcpQuirks { omit_wrapper: true, integer_return_code: true, omit_instances: true, ..NcpQuirks::default() };
    let kinds: [(FaultKind, Option<bool>); 20] = [
        (FaultKind::DropBefore, None),
        (FaultKind::DropAfter, None),
        (gateway(503, "500"), Some(false)),
        (gateway(503, "500"), Some(true)),
        (gateway(504, "510"), Some(false)),
        (gateway(504, "510"), Some(true)),
        (gateway(500, "900"), Some(true)),
        (gateway(401, "200"), None),
        (gateway(403, "230"), None),
        (gateway(400, "100"), None),
        (busy(), None),
        (internal, Some(true)),
        (too_many(), None),
        (FaultKind::HalfJson, None),
        (FaultKind::Truncate { bytes: 20 }, None),
        (FaultKind::WrongTypes, None),
        (FaultKind::Xml, None),
        (FaultKind::Html, Some(rng.random_bool(0.5))),
        (FaultKind::Quirks(no_code), None),
        (FaultKind::Quirks(odd), None),
    ];
    let (kind, execute) = kinds.choose(rng).cloned().unwrap_or((FaultKind::DropAfter, None));
    let fault = Fault { operation, target: None, times: Some(1), execute, kind };
    (Point { side: Side::Before, write, nth }, Act::Cloud(fault))
}

impl Act {
    /// The row of the report's table.
    pub(super) fn kind(&self, side: Side) -> String {
        match self {
            Self::Kill { late: false } => format!("kill {side} the write"),
            Self::Kill { late: true } => "kill, the write comes late".to_owned(),
            Self::Pause => format!("pause {side} the write, takeover"),
            Self::LongPause { takeover: true } => "pause of 21 s, takeover".to_owned(),
            Self::LongPause { takeover: false } => "pause of 21 s".to_owned(),
            Self::Drop => format!("connection lost {side} the write"),
            Self::Answer(status) => format!("{} {side} the write", status.as_u16()),
            Self::Hang => "no answer for 30 s".to_owned(),
            Self::Replica => "second replica".to_owned(),
            Self::Outage { .. } => "API server out of reach".to_owned(),
            Self::RestartApiServer => "API server restarted".to_owned(),
            Self::Cloud(fault) => cloud_word(fault),
            Self::Change(change) => change.to_string(),
        }
    }
}

fn cloud_word(fault: &Fault) -> String {
    let executed = match fault.execute {
        Some(true) => ", executed",
        Some(false) => ", not executed",
        None => "",
    };
    let kind = match &fault.kind {
        FaultKind::Gateway { status, .. } => format!("gateway {status}"),
        FaultKind::Service { return_code, .. } => format!("service {return_code}"),
        other => other.name().to_owned(),
    };
    format!("cloud: {kind}{executed}")
}

impl fmt::Display for ScriptChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delete => "request deleted",
            Self::Reapply => "request deleted and applied again",
            Self::ForceReapply => "request removed by force and applied again",
            Self::WipeStatus => "status emptied",
            Self::SameId => "second request, same ID",
            Self::OtherId => "second request, other ID",
            Self::DeleteReference => "reference deleted for a while",
            Self::Retarget => "reference led elsewhere for a while",
            Self::BreakSecret => "Secret wrong for a while",
            Self::StopInstance => "instance stopped for a while",
        })
    }
}

impl fmt::Display for Epilogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart => f.write_str("operator restarted"),
            Self::Change(change) => change.fmt(f),
        }
    }
}

impl fmt::Display for FaultScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = if self.named { "requestID given" } else { "requestID by default" };
        write!(f, "{} operator(s), startDeadline {} s, {requests}", self.replicas, self.patience.as_secs())?;
        if self.flush_seconds > 0 {
            write!(f, ", the flush takes {} s", self.flush_seconds)?;
        }
        for ScriptStep { at, act } in &self.steps {
            write!(f, "; {at}: {}", act.kind(at.side))?;
            if let Act::Outage { requests } = act {
                write!(f, " for {requests} requests")?;
            }
        }
        match &self.epilogue {
            Some(epilogue) => write!(f, "; when settled: {epilogue}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same() {
        for seed in 0..50 {
            assert_eq!(format!("{:?}", FaultScript::draw(seed)), format!("{:?}", FaultScript::draw(seed)));
        }
        assert_ne!(FaultScript::draw(1).to_string(), FaultScript::draw(2).to_string());
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let scripts: Vec<FaultScript> = (0..2000).map(FaultScript::draw).collect();
        let steps = || scripts.iter().flat_map(|script| &script.steps);
        for change in CHANGES {
            assert!(steps().any(|step| matches!(step.act, Act::Change(drawn) if drawn == *change)), "{change}");
        }
        for write in PLACES {
            for side in [Side::Before, Side::After] {
                assert!(steps().any(|step| step.at.write == *write && step.at.side == side), "{side} {write}");
            }
        }
        assert!(scripts.iter().any(FaultScript::is_exclusive));
    }

    #[tokio::test]
    async fn the_fake_cloud_takes_every_fault_that_is_drawn() {
        let cloud = fake_cloud::FakeCloud::start(fake_cloud::Seed::default()).await.unwrap();
        for step in (0..5000).map(FaultScript::draw).flat_map(|script| script.steps) {
            if let Act::Cloud(fault) = step.act {
                cloud.state().inject(fault).unwrap();
                cloud.state().clear_faults();
            }
        }
    }

    /// A refusal told of a flush that was executed would be a cloud that lies: no operator can see through that.
    #[test]
    fn no_refusal_is_told_of_an_executed_flush() {
        for step in (0..5000).map(FaultScript::draw).flat_map(|script| script.steps) {
            if let Act::Cloud(fault) = &step.act
                && let FaultKind::Service { status: Some(400..=499), .. } | FaultKind::TooManyRequests { .. } =
                    fault.kind
            {
                assert_ne!(fault.execute, Some(true), "{fault:?}");
            }
            if let (Act::Answer(status), OperatorWrite::CloudFlush, Side::After) =
                (&step.act, step.at.write, step.at.side)
            {
                assert!(status.is_server_error(), "{status}");
            }
        }
    }
}
