//! Tests of the plan: what is seen in, the whole status out.

mod config_map;
mod properties;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::super::config_map::state::{ConfigMapProblem, ConfigMapState, ConfigMapWrite};
use super::*;
use crate::api::Provider;
use crate::api::Reason;
use crate::api::cluster_ref::{
    ClusterStatus, EndpointsStatus, EngineStatus, KakaoCloudTarget, NcpTarget, ParameterGroupStatus,
    RedisClusterRefSpec,
};
use crate::api::conditions::{READY, RECONCILING, STALLED, SYNCED, find, is_true};
use crate::api::shared::{LocalRef, SecretRef};
use crate::cloud::{CloudError, ErrorKind};
use crate::controllers::problem::Problem;
use crate::inventory::instance::Instance as Seen;
use crate::inventory::{Observation, Observed, ObservedInstance};

const HEARTBEAT: Duration = Duration::from_secs(600);
/// Turns are at the times that are multiples of the heartbeat.
const PHASE: Duration = Duration::ZERO;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn spec() -> RedisClusterRefSpec {
    RedisClusterRefSpec {
        kakao_cloud: Some(KakaoCloudTarget {
            region: "kr-central-2".to_owned(),
            cluster_id: Some("set-1".to_owned()),
            cluster_name: None,
            credentials_secret_ref: SecretRef { name: "kakaocloud".to_owned() },
        }),
        ncp: None,
        poll_interval: Duration::from_secs(60).into(),
        suspend: false,
        connection_config_map: None,
    }
}

fn with_map() -> RedisClusterRefSpec {
    RedisClusterRefSpec { connection_config_map: Some(LocalRef { name: "cart-redis".to_owned() }), ..spec() }
}

fn cluster() -> ClusterStatus {
    ClusterStatus {
        id: Some("set-1".to_owned()),
        name: Some("carts".to_owned()),
        port: Some(6380),
        mode: Some("Standalone".to_owned()),
        endpoints: Some(EndpointsStatus {
            primary: Some("primary.example".to_owned()),
            read: Some("read.example".to_owned()),
        }),
        user_name: Some("app user".to_owned()),
        ..ClusterStatus::default()
    }
}

fn found(state: Option<&str>, second: i64) -> Observed {
    let picture =
        Seen { provider: Provider::KakaoCloud, state: state.map(str::to_owned), cluster: cluster(), complete: true };
    Observed::Found(ObservedInstance::whole(picture, at(second)))
}

fn seen(observed: Observed) -> CloudObservation {
    CloudObservation::Read(Observation { observed, problem: None, engine: None, refresh_done: true })
}

fn running(second: i64) -> CloudObservation {
    seen(found(Some("Running"), second))
}

fn failing(observed: Observed, kind: ErrorKind) -> CloudObservation {
    let problem = CloudError {
        http_status: Some(418),
        message: "why".to_owned(),
        ..CloudError::sample(Provider::KakaoCloud, "listClusters", kind)
    };
    CloudObservation::Read(Observation { observed, problem: Some(Arc::new(problem)), engine: None, refresh_done: true })
}

/// One pass at `second`.
fn pass(spec: &RedisClusterRefSpec, previous: &RedisClusterRefStatus, cloud: CloudObservation, second: i64) -> Plan {
    let config_map = match spec.connection_config_map {
        None => ConfigMapState::NotWanted,
        Some(_) => ConfigMapState::Absent,
    };
    plan_with(spec, previous, cloud, config_map, second)
}

fn plan_with(
    spec: &RedisClusterRefSpec,
    previous: &RedisClusterRefStatus,
    cloud: CloudObservation,
    config_map: ConfigMapState,
    second: i64,
) -> Plan {
    plan(&Input {
        spec,
        generation: 3,
        requested_at: None,
        previous,
        cloud,
        config_map,
        obsolete_remains: false,
        heartbeat: HEARTBEAT,
        phase: PHASE,
        now: at(second),
    })
}

/// The status after a good pass at second 0.
fn stands() -> RedisClusterRefStatus {
    pass(&spec(), &RedisClusterRefStatus::default(), running(0), 0).status
}

/// The conditions as `Type=Status Reason`.
fn words(status: &RedisClusterRefStatus) -> Vec<String> {
    let word = |condition: &Condition| format!("{}={} {}", condition.type_, condition.status, condition.reason);
    status.conditions.iter().map(word).collect()
}

fn message<'a>(status: &'a RedisClusterRefStatus, type_: &str) -> &'a str {
    &find(&status.conditions, type_).unwrap().message
}

const SYNCED_TRUE: &str = "Synced=True ObserveSucceeded";

#[test]
fn every_kind_of_state_word() {
    for (state, wanted) in [
        (Some("Running"), vec!["Ready=True Running", SYNCED_TRUE]),
        (Some("rUNNING"), vec!["Ready=True Running", SYNCED_TRUE]),
        (Some("Creating"), vec!["Ready=False Progressing", "Reconciling=True Progressing", SYNCED_TRUE]),
        (Some("Scaling(vertical)"), vec!["Ready=False Progressing", "Reconciling=True Progressing", SYNCED_TRUE]),
        (Some("settingup"), vec!["Ready=False Progressing", "Reconciling=True Progressing", SYNCED_TRUE]),
        (Some("stopped"), vec!["Ready=False NotRunning", SYNCED_TRUE]),
        (Some("Levitating"), vec!["Ready=Unknown UnknownState", SYNCED_TRUE]),
        (None, vec!["Ready=Unknown UnknownState", SYNCED_TRUE]),
    ] {
        let status = pass(&spec(), &RedisClusterRefStatus::default(), seen(found(state, 0)), 0).status;
        assert_eq!(words(&status), wanted, "{state:?}");
        assert_eq!(status.state.as_deref(), state, "the word stays as it is");
        assert_eq!(status.cluster, Some(cluster()));
    }
}

#[test]
fn every_sight_without_a_problem() {
    let two = Observed::Ambiguous(vec!["a".to_owned(), "b".to_owned()]);
    let stalled = |reason: &str| {
        vec![format!("Ready=False {reason}"), format!("Stalled=True {reason}"), format!("Synced=False {reason}")]
    };
    let waiting = ["Ready=Unknown Observing", "Reconciling=True Observing", "Synced=Unknown Observing"];
    for (observed, wanted) in [
        (Observed::NotYet, waiting.map(str::to_owned).to_vec()),
        (Observed::Members(vec![]), waiting.map(str::to_owned).to_vec()),
        (Observed::Absent, stalled("ClusterNotFound")),
        (two, stalled("AmbiguousName")),
    ] {
        let shown = format!("{observed:?}");
        let status = pass(&spec(), &RedisClusterRefStatus::default(), seen(observed), 0).status;
        assert_eq!(words(&status), wanted, "{shown}");
        assert_eq!((&status.cluster, &status.state, &status.last_observed_time), (&None, &None, &None), "{shown}");
    }
}

#[test]
fn sentences_name_the_target() {
    let kakao = spec();
    let named = |spec: &RedisClusterRefSpec| {
        let mut spec = spec.clone();
        let target = spec.kakao_cloud.as_mut().unwrap();
        (target.cluster_id, target.cluster_name) = (None, Some("carts".to_owned()));
        spec
    };
    let mut ncp = RedisClusterRefSpec { kakao_cloud: None, ..spec() };
    ncp.ncp = Some(NcpTarget {
        site: crate::api::cluster_ref::NcpSite::Gov,
        cloud_db_instance_no: Some("882731".to_owned()),
        cloud_db_service_name: None,
        credentials_secret_ref: SecretRef { name: "ncp".to_owned() },
    });
    for (spec, wanted) in [
        (
            kakao.clone(),
            "The cloud has no cluster or instance set set-1 in kr-central-2. Create it or correct the spec; it is looked up every 60s.",
        ),
        (
            named(&kakao),
            "The cloud has no cluster or instance set named carts in kr-central-2. Create it or correct the spec; it is looked up",
        ),
        (
            ncp,
            "The cloud has no Redis instance 882731 at site Gov. Create it or correct the spec; it is looked up every 60s.",
        ),
    ] {
        let status = pass(&spec, &RedisClusterRefStatus::default(), seen(Observed::Absent), 0).status;
        assert!(message(&status, READY).starts_with(wanted), "{}", message(&status, READY));
    }
    let ids = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let status = pass(&named(&kakao), &RedisClusterRefStatus::default(), seen(Observed::Ambiguous(ids)), 0).status;
    assert_eq!(
        message(&status, STALLED),
        "5 clusters are named carts in kr-central-2; set clusterID to one of a, b, c, …"
    );
}

#[test]
fn every_kind_of_cloud_error_with_a_picture_and_without() {
    let stalls = |reason: &str| {
        vec![format!("Ready=False {reason}"), format!("Stalled=True {reason}"), format!("Synced=False {reason}")]
    };
    let keeps = |reason: &str| vec!["Ready=True Running".to_owned(), format!("Synced=False {reason}")];
    let has_none = |reason: &str| {
        vec![format!("Ready=Unknown {reason}"), format!("Reconciling=True {reason}"), format!("Synced=False {reason}")]
    };
    for (kind, reason, heals) in [
        (ErrorKind::CredentialsRejected, "CredentialsRejected", false),
        (ErrorKind::PermissionDenied, "PermissionDenied", false),
        (ErrorKind::RateLimited, "RateLimited", true),
        (ErrorKind::Busy, "CloudUnavailable", true),
        (ErrorKind::Unavailable, "CloudUnavailable", true),
        (ErrorKind::NotFound, "UnexpectedResponse", true),
        (ErrorKind::BadRequest, "UnexpectedResponse", true),
        (ErrorKind::UnexpectedResponse, "UnexpectedResponse", true),
    ] {
        let status = pass(&spec(), &stands(), failing(found(Some("Running"), 0), kind), 60).status;
        assert_eq!(words(&status), if heals { keeps(reason) } else { stalls(reason) }, "{kind:?}");
        assert_eq!((&status.cluster, status.state.as_deref()), (&Some(cluster()), Some("Running")), "{kind:?}");
        assert!(message(&status, SYNCED).ends_with("(listClusters, HTTP 418): why."), "{}", message(&status, SYNCED));
        let status = pass(&spec(), &RedisClusterRefStatus::default(), failing(Observed::NotYet, kind), 60).status;
        assert_eq!(words(&status), if heals { has_none(reason) } else { stalls(reason) }, "{kind:?}");
        // After a restart the picture is the one of the status.
        let status = pass(&spec(), &stands(), failing(Observed::NotYet, kind), 60).status;
        assert_eq!(words(&status), if heals { keeps(reason) } else { stalls(reason) }, "{kind:?}");
        assert_eq!(status.cluster, Some(cluster()), "{kind:?}");
    }
}

#[test]
fn a_picture_is_stale_after_three_intervals() {
    let down = || failing(found(Some("Running"), 0), ErrorKind::Unavailable);
    let fresh = pass(&spec(), &stands(), down(), 180).status;
    assert_eq!(words(&fresh), ["Ready=True Running", "Synced=False CloudUnavailable"]);
    let stale = pass(&spec(), &stands(), down(), 181).status;
    assert_eq!(
        words(&stale),
        ["Ready=Unknown ObservationStale", "Reconciling=True ObservationStale", "Synced=False CloudUnavailable"]
    );
    assert!(
        message(&stale, READY).starts_with("The last successful read was at 2027-01-15T08:00:00Z. KakaoCloud "),
        "{stale:?}"
    );
    assert_eq!(stale.cluster, Some(cluster()), "it is still shown");
    assert_eq!(
        words(&pass(&spec(), &stale, running(240), 240).status),
        ["Ready=True Running", SYNCED_TRUE],
        "no trace"
    );
}

#[test]
fn what_blocks_the_question_keeps_the_picture() {
    let missing = || CloudObservation::Blocked(Problem::new(Reason::CredentialsNotFound, "no Secret"));
    let status = pass(&spec(), &stands(), missing(), 60).status;
    let wanted = ["CredentialsNotFound"; 3].iter().zip(["Ready=False", "Stalled=True", "Synced=False"]);
    assert_eq!(words(&status), wanted.map(|(reason, word)| format!("{word} {reason}")).collect::<Vec<_>>());
    assert_eq!(status.cluster, Some(cluster()));
    let passing = CloudObservation::Blocked(Problem::new(Reason::CloudUnavailable, "later"));
    let status = pass(&spec(), &stands(), passing, 60).status;
    assert_eq!(words(&status), ["Ready=True Running", "Synced=False CloudUnavailable"]);
}

#[test]
fn after_a_restart_the_status_stands_until_the_first_read() {
    let status = pass(&spec(), &stands(), seen(Observed::NotYet), 60).status;
    assert_eq!(words(&status), ["Ready=True Running", "Reconciling=True Observing", "Synced=Unknown Observing"]);
    assert_eq!((status.cluster, status.last_observed_time), (stands().cluster, stands().last_observed_time));
}

#[test]
fn the_picture_of_another_target_is_not_kept() {
    let mut other = spec();
    other.kakao_cloud.as_mut().unwrap().cluster_id = Some("set-2".to_owned());
    let status = pass(&other, &stands(), seen(Observed::NotYet), 60).status;
    assert_eq!((&status.cluster, &status.state, &status.last_observed_time), (&None, &None, &None));
    assert_eq!(words(&status)[0], "Ready=Unknown Observing");
    let gone = pass(&spec(), &stands(), seen(Observed::Absent), 60).status;
    assert_eq!((&gone.cluster, &gone.state), (&None, &None), "nor that of what is gone");
}

#[test]
fn suspension_keeps_ready_as_it_was() {
    for (cloud, wanted) in [
        (running(0), "Ready=True Suspended"),
        (seen(found(Some("stopped"), 0)), "Ready=False Suspended"),
        (seen(Observed::NotYet), "Ready=Unknown Suspended"),
    ] {
        let before = pass(&spec(), &RedisClusterRefStatus::default(), cloud, 0).status;
        let suspended = RedisClusterRefSpec { suspend: true, ..spec() };
        let Plan { status, requeue_after, .. } = pass(&suspended, &before, CloudObservation::Suspended, 60);
        assert_eq!(words(&status), [wanted, "Synced=False Suspended"]);
        assert_eq!((&status.cluster, requeue_after), (&before.cluster, requeue::WHEN_CHANGED));
    }
}

#[test]
fn suspension_says_nothing_of_a_target_that_was_never_read() {
    let mut other = RedisClusterRefSpec { suspend: true, ..spec() };
    other.kakao_cloud.as_mut().unwrap().cluster_id = Some("set-2".to_owned());
    let status = pass(&other, &stands(), CloudObservation::Suspended, 60).status;
    assert_eq!(status.cluster, None);
    assert_eq!(words(&status), ["Ready=Unknown Suspended", "Synced=False Suspended"]);
    assert_eq!(words(&pass(&other, &status, CloudObservation::Suspended, 120).status)[0], "Ready=Unknown Suspended");
}

#[test]
fn the_echo_waits_for_the_requested_refresh() {
    let spec = spec();
    let echo = |cloud: CloudObservation, previous: &RedisClusterRefStatus| {
        let input = Input {
            spec: &spec,
            generation: 3,
            requested_at: Some("now".to_owned()),
            previous,
            cloud,
            config_map: ConfigMapState::NotWanted,
            obsolete_remains: false,
            heartbeat: HEARTBEAT,
            phase: PHASE,
            now: at(60),
        };
        plan(&input).status.last_handled_reconcile_at
    };
    let before = RedisClusterRefStatus { last_handled_reconcile_at: Some("before".to_owned()), ..stands() };
    let pending = |cloud: CloudObservation| match cloud {
        CloudObservation::Read(observation) => {
            CloudObservation::Read(Observation { refresh_done: false, ..observation })
        }
        other => other,
    };
    assert_eq!(echo(pending(running(0)), &before).as_deref(), Some("before"));
    assert_eq!(echo(running(60), &before).as_deref(), Some("now"));
    assert_eq!(
        echo(CloudObservation::Suspended, &before).as_deref(),
        Some("now"),
        "nothing is read, so nothing is waited for"
    );
    let kept = pass(&spec, &before, running(60), 60).status.last_handled_reconcile_at;
    assert_eq!(kept.as_deref(), Some("before"), "without the annotation the last echo stays");
}

#[test]
fn the_time_of_the_read_is_written_with_a_change_or_at_the_heartbeat() {
    let before = stands();
    let time = |cloud, second| pass(&spec(), &before, cloud, second).status.last_observed_time.unwrap().0;
    assert_eq!(time(running(599), 599), at(0), "nothing else changed");
    assert_eq!(time(running(600), 600), at(600), "the heartbeat");
    assert_eq!(time(seen(found(Some("Modifying"), 60)), 60), at(60), "a change");
    let engine = EngineStatus { offered: true, newest: None };
    let cloud = CloudObservation::Read(Observation {
        observed: found(Some("Running"), 60),
        problem: None,
        engine: Some(Arc::new(engine)),
        refresh_done: true,
    });
    assert_eq!(time(cloud, 60), at(60), "a change");
}

#[test]
fn a_parameter_group_that_was_not_read_yet_is_not_forgotten() {
    let group = ParameterGroupStatus { id: Some("g".to_owned()), ..ParameterGroupStatus::default() };
    let with_group = |id: &str| {
        let cluster = ClusterStatus { id: Some(id.to_owned()), parameter_group: Some(group.clone()), ..cluster() };
        RedisClusterRefStatus { cluster: Some(cluster), ..stands() }
    };
    let picture = || Seen {
        provider: Provider::KakaoCloud,
        state: Some("Running".to_owned()),
        cluster: cluster(),
        complete: false,
    };
    let shown = |found: ObservedInstance, previous: &RedisClusterRefStatus| {
        pass(&spec(), previous, seen(Observed::Found(found)), 60).status.cluster.unwrap().parameter_group
    };
    assert_eq!(shown(ObservedInstance::in_part(picture(), at(60)), &with_group("set-1")), Some(group.clone()));
    assert_eq!(shown(ObservedInstance::in_part(picture(), at(60)), &with_group("set-2")), None, "another cluster's");
    assert_eq!(shown(ObservedInstance::whole(picture(), at(60)), &with_group("set-1")), None, "it has none any more");
}

#[test]
fn the_heartbeats_of_many_objects_are_spread_over_the_time_between_two() {
    let spec = spec();
    let previous = stands();
    let mut seconds = vec![0; 600];
    for phase in 0..600 {
        // All of them were last written in the same second, as after a start.
        let written = (1..=600).find(|second| {
            let input = Input {
                spec: &spec,
                generation: 3,
                requested_at: None,
                previous: &previous,
                cloud: running(*second),
                config_map: ConfigMapState::NotWanted,
                obsolete_remains: false,
                heartbeat: HEARTBEAT,
                phase: Duration::from_secs(phase),
                now: at(*second),
            };
            plan(&input).status != previous
        });
        seconds[usize::try_from(written.unwrap() - 1).unwrap()] += 1;
    }
    assert!(seconds.iter().all(|writes| *writes == 1), "one each second, none twice or never");
}

#[test]
fn an_object_at_rest_is_looked_at_again_when_time_alone_says_something_new() {
    let before = stands();
    let again = |spec: &RedisClusterRefSpec, cloud, second| pass(spec, &before, cloud, second).requeue_after.as_secs();
    let spec = spec();
    assert_eq!(again(&spec, running(60), 60), 540 + 66, "its next heartbeat, when a list has come since");
    let outage = || failing(found(Some("Running"), 0), ErrorKind::Unavailable);
    assert_eq!(again(&spec, outage(), 61), 120, "when the picture is stale");
    assert_eq!(again(&spec, outage(), 200), requeue::WHEN_CHANGED.as_secs(), "it is stale already");
    assert_eq!(again(&spec, seen(Observed::Absent), 60), requeue::WHEN_CHANGED.as_secs(), "the inventory tells");
    assert_eq!(again(&with_map(), running(60), 60), 60, "nobody tells of a ConfigMap");
}
