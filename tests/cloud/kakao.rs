//! Every operation of KakaoCloud, and every form of a good or bad answer that is known.

use fake_cloud::{
    CreatedAtStyle, Fault, FaultKind, Generate, KakaoBackupSchedule, KakaoCluster, KakaoEndpoints, Operation, Seed,
};
use managed_redis_operator::cloud::{ErrorKind, Executed, Provider, Row};
use serde_json::json;

use crate::support::Fixture;

#[tokio::test]
async fn versions_and_flavors_are_listed() {
    let fixture = Fixture::start().await;
    fixture.fake.state().set_kakao_versions(["7.2.11", "6.2.5"]);
    assert_eq!(fixture.kakao().versions().await.unwrap(), ["7.2.11", "6.2.5"]);
    let flavors = fixture.kakao().flavors().await.unwrap();
    let medium = flavors.iter().find(|flavor| flavor.name.as_deref() == Some("r2.medium")).unwrap();
    assert_eq!((medium.vcpus, medium.memory_mib), (Some(4), Some(8192)));
    assert_eq!(fixture.attempts.codes("listFlavors"), ["200"]);
}

#[tokio::test]
async fn a_cluster_is_read_with_its_values_normalised() {
    let fixture = Fixture::start().await;
    let state = fixture.fake.state();
    let created_at = "2026-03-06T02:35:13Z".parse().unwrap();
    let endpoints = KakaoEndpoints { primary_endpoint: "sessions.example".into(), read_endpoint: String::new() };
    let backup_schedule = Some(KakaoBackupSchedule { cron: "0 1 * * *".into(), retention_limit: 7 });
    let cluster = KakaoCluster { endpoints, backup_schedule, created_at: Some(created_at), ..mode_on("c-1") };
    state.add_kakao_cluster(cluster).unwrap();
    let cluster = fixture.kakao().cluster("c-1").await.unwrap();
    assert_eq!((cluster.id.as_str(), cluster.name.as_deref()), ("c-1", Some("sessions")));
    assert_eq!(cluster.endpoints.primary.as_deref(), Some("sessions.example"));
    assert_eq!((cluster.user_name, cluster.memory_mib, cluster.port), (None, Some(8192), Some(6379)));
    assert_eq!((cluster.cluster_enabled, cluster.shard_count), (Some(true), Some(3)));
    assert_eq!(cluster.subnet_assignments.len(), 3);
    assert_eq!(cluster.backup_schedule.unwrap().cron.as_deref(), Some("0 1 * * *"));
    assert_eq!(cluster.created_at, Some(created_at));
    assert_eq!(cluster.parameter_group_sync_status.as_deref(), Some("In-Sync"));
}

#[tokio::test]
async fn the_list_can_leave_out_a_parameter_group() {
    let fixture = Fixture::start().await;
    fixture.fake.state().add_kakao_cluster(mode_on("c-1")).unwrap();
    fixture.fake.state().add_kakao_cluster(KakaoCluster::instance_set("i-1", "carts")).unwrap();
    let clusters = fixture.kakao().clusters().await.unwrap();
    let group = |id: &str| clusters.iter().find(|cluster| cluster.id == id).unwrap().parameter_group_id.clone();
    assert_eq!(group("c-1"), None);
    assert!(group("i-1").is_some());
}

#[tokio::test]
async fn what_is_being_built_has_no_endpoints() {
    let fixture = Fixture::start().await;
    let cluster = KakaoCluster { status: "Creating".into(), ..KakaoCluster::instance_set("i-1", "carts") };
    fixture.fake.state().add_kakao_cluster(cluster).unwrap();
    let cluster = fixture.kakao().cluster("i-1").await.unwrap();
    assert_eq!((cluster.endpoints.primary, cluster.endpoints.read), (None, None));
    assert_eq!(cluster.status.as_deref(), Some("Creating"));
}

#[tokio::test]
async fn created_at_is_read_in_every_form() {
    let fixture = Fixture::start().await;
    let created_at = "2026-03-06T02:35:13Z".parse().unwrap();
    let styles = [
        (CreatedAtStyle::Text, Some(created_at)),
        (CreatedAtStyle::Seconds, Some(created_at)),
        (CreatedAtStyle::Milliseconds, Some(created_at)),
        (CreatedAtStyle::ExplicitNull, None),
        (CreatedAtStyle::Absent, None),
    ];
    for (number, (style, expected)) in styles.into_iter().enumerate() {
        let id = format!("c-{number}");
        let mut cluster = KakaoCluster { created_at: Some(created_at), ..mode_on(&id) };
        cluster.behaviour.created_at_style = style;
        fixture.fake.state().add_kakao_cluster(cluster).unwrap();
        assert_eq!(fixture.kakao().cluster(&id).await.unwrap().created_at, expected, "{style:?}");
    }
}

#[tokio::test]
async fn ten_thousand_clusters_are_one_list() {
    let generate = Generate { kakao_clusters: 10_000, ncp_instances: 0 };
    let fixture = Fixture::with(Seed { generate, ..Seed::default() }, |settings| {
        settings.max_list_bytes = managed_redis_operator::cloud::MAX_LIST_BYTES;
    })
    .await;
    assert_eq!(fixture.kakao().clusters().await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_list_beyond_its_limit_is_refused() {
    let generate = Generate { kakao_clusters: 200, ncp_instances: 0 };
    let fixture =
        Fixture::with(Seed { generate, ..Seed::default() }, |settings| settings.max_list_bytes = 10_000).await;
    let error = fixture.kakao().clusters().await.unwrap_err();
    assert_eq!((error.kind, error.http_status), (ErrorKind::UnexpectedResponse, Some(200)));
    assert!(error.message.contains("larger than 10000 bytes"), "{error}");
    assert_eq!(fixture.attempts.codes("listClusters"), ["too_large"]);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let fixture = Fixture::start().await;
    let error = fixture.kakao().cluster("c-404").await.unwrap_err();
    assert_eq!((error.kind, error.http_status, error.provider), (ErrorKind::NotFound, Some(404), Provider::KakaoCloud));
    let error = fixture.kakao().apply_parameter_group("c-404").await.unwrap_err();
    assert_eq!((error.kind, error.executed), (ErrorKind::NotFound, Executed::No));
    // A list that does not exist says nothing about clusters.
    let gone = FaultKind::Status { code: 404, body: None, content_type: None, retry_after: None };
    fixture.fake.state().inject(Fault::new(Operation::KakaoClustersList, gone)).unwrap();
    assert_eq!(fixture.kakao().clusters().await.unwrap_err().kind, ErrorKind::UnexpectedResponse);
}

#[tokio::test]
async fn an_id_that_is_none_is_not_sent() {
    let fixture = Fixture::start().await;
    let error = fixture.kakao().cluster("../redis/versions").await.unwrap_err();
    assert_eq!((error.kind, error.executed), (ErrorKind::BadRequest, Executed::No));
    assert_eq!(fixture.fake.state().requests(Operation::Any), 0);
}

#[tokio::test]
async fn a_parameter_group_is_applied_once() {
    let fixture = Fixture::start().await;
    fixture.fake.state().add_kakao_cluster(mode_on("c-1")).unwrap();
    let reply = fixture.kakao().apply_parameter_group("c-1").await.unwrap();
    assert_eq!((reply.http_status, reply.object_id.as_deref()), (200, Some("c-1")));
    assert_eq!(fixture.fake.state().applies("c-1"), 1);
    assert_eq!(fixture.kakao().cluster("c-1").await.unwrap().parameter_group_sync_status.as_deref(), Some("Applying"));
}

#[tokio::test]
async fn any_2xx_without_body_accepts_an_apply() {
    let fixture = Fixture::start().await;
    let accepted = FaultKind::Status { code: 202, body: None, content_type: Some(String::new()), retry_after: None };
    fixture.fake.state().inject(Fault::new(Operation::KakaoParameterGroupApply, accepted)).unwrap();
    let reply = fixture.kakao().apply_parameter_group("c-1").await.unwrap();
    assert_eq!((reply.http_status, reply.object_id), (202, None));
}

#[tokio::test]
async fn a_refused_apply_was_not_executed() {
    let fixture = Fixture::start().await;
    let busy = KakaoCluster { status: "Modifying".into(), ..mode_on("c-1") };
    let without = KakaoCluster { parameter_group_id: None, ..mode_on("c-2") };
    fixture.fake.state().add_kakao_cluster(busy).unwrap();
    fixture.fake.state().add_kakao_cluster(without).unwrap();
    for (id, kind, status) in [("c-1", ErrorKind::Busy, 409), ("c-2", ErrorKind::BadRequest, 400)] {
        let error = fixture.kakao().apply_parameter_group(id).await.unwrap_err();
        assert_eq!((error.kind, error.http_status, error.executed), (kind, Some(status), Executed::No), "{id}");
        assert_eq!(fixture.fake.state().applies(id), 0);
    }
    assert_eq!(fixture.fake.state().requests(Operation::KakaoParameterGroupApply), 2);
}

#[tokio::test]
async fn a_wrong_type_names_operation_and_field_and_costs_one_cluster() {
    let fixture = Fixture::start().await;
    let mut odd = mode_on("c-1");
    odd.behaviour.overrides.insert("port".into(), json!({}));
    fixture.fake.state().add_kakao_cluster(odd).unwrap();
    fixture.fake.state().add_kakao_cluster(mode_on("c-2")).unwrap();
    let clusters = fixture.kakao().clusters().await.unwrap();
    assert_eq!(clusters.iter().map(|cluster| cluster.id.as_str()).collect::<Vec<_>>(), ["c-2"]);
    let rows = fixture.kakao().clusters_as(&|row| row).await.unwrap();
    let odd = rows.into_iter().find_map(|row| match row {
        Row::Unreadable(entry) => Some(entry),
        Row::Read(_) => None,
    });
    let odd = odd.unwrap();
    assert_eq!((odd.id.as_deref(), odd.name.as_deref()), (Some("c-1"), Some("sessions")));
    assert_eq!((odd.error.kind, odd.error.operation), (ErrorKind::UnexpectedResponse, "listClusters"));
    assert!(odd.error.message.starts_with("field port: "), "{}", odd.error);
    let error = fixture.kakao().cluster("c-1").await.unwrap_err();
    assert!(error.to_string().contains("getCluster") && error.message.starts_with("field port: "), "{error}");
}

#[tokio::test]
async fn a_list_of_more_clusters_than_allowed_is_refused() {
    let generate = Generate { kakao_clusters: 21, ncp_instances: 21 };
    let fixture = Fixture::with(Seed { generate, ..Seed::default() }, |settings| settings.max_clusters = 20).await;
    for error in [fixture.kakao().clusters().await.unwrap_err(), fixture.ncp().instances().await.unwrap_err()] {
        assert_eq!((error.kind, error.executed), (ErrorKind::UnexpectedResponse, Executed::No));
        assert!(error.message.contains("more than 20 ") && error.message.contains("--max-clusters"), "{error}");
    }
    assert_eq!(fixture.attempts.codes("listClusters"), ["refused"]);
}

fn mode_on(id: &str) -> KakaoCluster {
    KakaoCluster::cluster_mode(id, "sessions")
}
