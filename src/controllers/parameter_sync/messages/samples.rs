//! One sample of each message of a parameter sync, and of each branch in it, for the golden file.

use super::*;

const CAUSE: &str = "KakaoCloud could not be reached.";

/// Each message with its name.
pub(in crate::controllers) fn samples() -> Vec<(&'static str, String)> {
    let mut all = constants();
    all.extend(of_clusters());
    all.extend(of_observations());
    all.extend(events());
    all
}

fn constants() -> Vec<(&'static str, String)> {
    [
        ("SUSPENDED", SUSPENDED),
        ("SUSPENDED_BEFORE_READ", SUSPENDED_BEFORE_READ),
        ("READ", READ),
        ("NOT_READ_YET", NOT_READ_YET),
        ("NOTHING_TO_READ", NOTHING_TO_READ),
        ("CLUSTERS_NOT_READ_YET", CLUSTERS_NOT_READ_YET),
        ("NO_CLUSTER", NO_CLUSTER),
        ("STALE", STALE),
        ("ONLY_KAKAO", ONLY_KAKAO),
        ("CONNECTION_GONE", CONNECTION_GONE),
    ]
    .map(|(name, text)| (name, text.to_owned()))
    .into()
}

fn of_clusters() -> Vec<(&'static str, String)> {
    let names = &list(&["carts", "orders"]);
    let failure = &still_failing("Error-Sync", 2);
    let time = Timestamp::UNIX_EPOCH;
    vec![
        ("unreadable", unreadable(names, CAUSE)),
        ("retries_exhausted", retries_exhausted("carts", 1, "")),
        ("retries_exhausted, still_failing", retries_exhausted(names, 2, failure)),
        ("retries_exhausted, stuck", retries_exhausted(names, 5, &stuck("Pending", time))),
        ("cluster_not_found", cluster_not_found(names, "")),
        ("cluster_not_found, no_cluster_of_reference", cluster_not_found("carts", &no_cluster_of_reference("carts"))),
        ("not_supported", not_supported(names, "")),
        (
            "not_supported, provider_not_supported",
            not_supported("carts", &provider_not_supported("carts", Provider::Ncp)),
        ),
        ("not_supported, no_parameter_group", not_supported("carts", &no_parameter_group("carts"))),
        ("backing_off", backing_off("carts", 1, 5, "", None)),
        ("backing_off", backing_off(names, 2, 5, failure, Some(time))),
        ("applying", applying(names)),
        ("waiting, sync_status_is", waiting(names, &sync_status_is("carts", Some("Pending")))),
        ("waiting, sync_status_is", waiting(names, &sync_status_is("carts", None))),
        ("waiting, not_read_yet", waiting("carts", &not_read_yet("carts"))),
        ("waiting, not_running", waiting("carts", &not_running("carts", Some("Modifying")))),
        ("waiting, not_running", waiting("carts", &not_running("carts", None))),
        ("waiting, next_attempt", waiting("carts", &next_attempt("carts", Some(time)))),
        ("waiting, next_attempt", waiting("carts", &next_attempt("carts", None))),
        ("waiting, owned_by", waiting("carts", &owned_by(Some("shop/all"), Some("Error-Sync")))),
        ("waiting, owned_by", waiting("carts", &owned_by(None, None))),
        ("waiting, applied_next", waiting("carts", &applied_next("carts"))),
        ("share_in_sync", share_in_sync(2, 3)),
        ("one_in_sync", one_in_sync("carts")),
        ("all_in_sync", all_in_sync(3)),
        ("too_many_clusters", too_many_clusters(250, 180, 200, 50)),
    ]
}

fn of_observations() -> Vec<(&'static str, String)> {
    vec![
        ("reference_missing", reference_missing("carts", "shop")),
        ("reference_invalid", reference_invalid("carts")),
        ("reference_suspended", reference_suspended("carts")),
        ("invalid_selector", invalid_selector("unknown operator: Near")),
        ("no_reference_selected", no_reference_selected("shop")),
        ("no_cluster_in_group", no_cluster_in_group("prod", "kr-central-2")),
        ("ambiguous_name", ambiguous_name("carts", 2)),
    ]
}

fn events() -> Vec<(&'static str, String)> {
    let (one, many): (&[&str], &[&str]) = (&["carts"], &["a", "b", "c", "d", "e"]);
    vec![
        ("became_in_sync", became_in_sync(one)),
        ("became_in_sync, list", became_in_sync(many)),
        ("apply_requested", apply_requested(one)),
        ("apply_requested", apply_requested(many)),
        ("apply_failed", apply_failed(one, None)),
        ("apply_failed, clause", apply_failed(many, Some(&clause(CAUSE, MAX_CAUSE_BYTES)))),
        ("gave_up", gave_up(one, None)),
        ("gave_up", gave_up(many, Some("The sync status is Suspended after attempt 5"))),
    ]
}
