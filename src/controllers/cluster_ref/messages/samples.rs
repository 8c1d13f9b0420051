//! One sample of each message of a reference, and of each branch in it, for the golden file.

use serde_json::json;

use super::*;

fn spec(name: &str, value: &serde_json::Value) -> RedisClusterRefSpec {
    serde_json::from_value(json!({ name: value })).unwrap()
}

/// Each message with its name.
pub(in crate::controllers) fn samples() -> Vec<(&'static str, String)> {
    let seconds = Duration::from_secs;
    let secret = json!({ "name": "cloud" });
    let kakao_id = spec("kakaoCloud", &json!({ "clusterID": "c-1", "credentialsSecretRef": secret }));
    let kakao_name = spec("kakaoCloud", &json!({ "clusterName": "carts", "credentialsSecretRef": secret }));
    let ncp_number = spec("ncp", &json!({ "cloudDBInstanceNo": "551234", "credentialsSecretRef": secret }));
    let ncp_name = spec("ncp", &json!({ "cloudDBServiceName": "carts", "credentialsSecretRef": secret }));
    let ids = ["c-1", "c-2", "c-3", "c-4"].map(str::to_owned);
    let hours = seconds(3600);
    let failed = config_map_failed("cannot be written", "exceeded quota: objects.");
    vec![
        ("FIRST_READ", FIRST_READ.to_owned()),
        ("READING", READING.to_owned()),
        ("ASKED_AGAIN", ASKED_AGAIN.to_owned()),
        ("READ", READ.to_owned()),
        ("NO_STATE", NO_STATE.to_owned()),
        ("SUSPENDED", SUSPENDED.to_owned()),
        ("state", state("Running")),
        ("progressing", progressing("Scaling")),
        ("unknown_state", unknown_state("Hibernating")),
        ("not_found", not_found(&kakao_id, seconds(60))),
        ("not_found", not_found(&kakao_name, seconds(90))),
        ("not_found", not_found(&ncp_number, hours)),
        ("not_found", not_found(&ncp_name, hours)),
        ("ambiguous", ambiguous(&kakao_name, &ids[..2])),
        ("ambiguous", ambiguous(&ncp_name, &ids)),
        ("stale", stale(Timestamp::UNIX_EPOCH, "Secret cloud is not in namespace shop.")),
        ("CONFIG_MAP_NOT_OWNED, config_map", config_map("carts", CONFIG_MAP_NOT_OWNED)),
        ("CONFIG_MAPS_DISABLED", config_map("carts", CONFIG_MAPS_DISABLED)),
        ("CONFIG_MAP_WITHOUT_HOST", config_map("carts", CONFIG_MAP_WITHOUT_HOST)),
        ("CONFIG_MAP_CONTENDED", config_map("carts", CONFIG_MAP_CONTENDED)),
        ("CONFIG_MAP_CROWDED", config_map("carts", CONFIG_MAP_CROWDED)),
        ("config_map_unanswered", config_map("carts", &config_map_unanswered(seconds(2)))),
        ("config_map_failed", config_map("carts", &failed)),
        ("api_silent", config_map("carts", &config_map_failed("cannot be read", &api_silent(seconds(10))))),
        ("api_unreachable", config_map("carts", &config_map_failed("cannot be read", &api_unreachable(&no_api())))),
    ]
}

fn no_api() -> kube::Error {
    kube::Error::Service("client error (Connect)".into())
}
