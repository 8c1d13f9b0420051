//! The states of a Redis in the clouds' own words. They are open sets and are passed on unchanged; this is what the operator understands of
//! them.

use crate::api::Provider;

/// What a provider's state word means for a user of the Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateMeaning {
    /// It serves requests.
    Serving,
    /// It is on its way to another state by itself.
    Transitional,
    /// It does not serve and does not change by itself.
    Down,
    /// A word this version does not know.
    Unknown,
}

/// The meaning of a state word of either cloud, compared without case.
///
/// KakaoCloud (`status` of a cluster): Init, Creating, Running, Modifying, Scaling(horizontal), Scaling(vertical), …
/// NCP (`cloudDBInstanceStatusName`): running, settingup, creating, deleting, deleted, pending, recovering, …
#[must_use]
pub fn state_meaning(word: &str) -> StateMeaning {
    let word = word.trim().to_ascii_lowercase();
    // "Scaling(horizontal)" and any other word in parentheses is a kind of scaling.
    let stem = word.split('(').next().unwrap_or_default().trim_end();
    match stem {
        "running" => StateMeaning::Serving,
        "init" | "creating" | "modifying" | "scaling" | "deleting" | "settingup" | "pending" | "recovering"
        | "restarting" | "shuttingdown" | "upgrading" | "downgrading" => StateMeaning::Transitional,
        "stopped" | "deleted" => StateMeaning::Down,
        _ => StateMeaning::Unknown,
    }
}

/// The states that metrics tell apart, as KakaoCloud writes them. NCP's are the same in lower case.
const STATES: [(&str, &str); 22] = [
    ("Running", "running"),
    ("Init", "init"),
    ("Creating", "creating"),
    ("Modifying", "modifying"),
    ("Scaling", "scaling"),
    ("Scaling(horizontal)", "scaling(horizontal)"),
    ("Scaling(vertical)", "scaling(vertical)"),
    ("Deleting", "deleting"),
    ("Deleted", "deleted"),
    ("Stopped", "stopped"),
    ("Pending", "pending"),
    ("Settingup", "settingup"),
    ("Reinstalling", "reinstalling"),
    ("Recovering", "recovering"),
    ("Restarting", "restarting"),
    ("Shuttingdown", "shuttingdown"),
    ("Upgrading", "upgrading"),
    ("Downgrading", "downgrading"),
    ("Error", "error"),
    ("Failed", "failed"),
    ("Unavailable", "unavailable"),
    ("Unknown", "unknown"),
];

/// A state word as a label of a metric: one of a known set in the provider's own spelling, `unknown` for no word, `other` for
/// every other one, because each label is a time series.
#[must_use]
pub fn state_label(provider: Provider, word: Option<&str>) -> &'static str {
    let Some(word) = word.map(str::trim) else { return "unknown" };
    let known = STATES.iter().find(|(_, lower)| lower.eq_ignore_ascii_case(word));
    match (known, provider) {
        (Some((kakao, _)), Provider::KakaoCloud) => kakao,
        (Some((_, ncp)), Provider::Ncp) => ncp,
        (None, _) => "other",
    }
}

/// Whether the provider's state word says that a change is under way.
#[must_use]
pub fn is_transitional(word: &str) -> bool {
    state_meaning(word) == StateMeaning::Transitional
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_both_clouds() {
        for (word, meaning) in [
            ("Running", StateMeaning::Serving),
            ("running", StateMeaning::Serving),
            ("Init", StateMeaning::Transitional),
            ("Scaling(horizontal)", StateMeaning::Transitional),
            ("Scaling(vertical)", StateMeaning::Transitional),
            ("settingup", StateMeaning::Transitional),
            ("stopped", StateMeaning::Down),
            ("Runnin", StateMeaning::Unknown),
            ("not running", StateMeaning::Unknown),
            ("", StateMeaning::Unknown),
        ] {
            assert_eq!(state_meaning(word), meaning, "{word}");
        }
    }

    #[test]
    fn labels_are_of_a_known_set() {
        let label = |word: &str| state_label(Provider::KakaoCloud, Some(word));
        assert_eq!(
            (label("Running"), label("rUNNING"), label(" Scaling(vertical) ")),
            ("Running", "Running", "Scaling(vertical)")
        );
        assert_eq!(state_label(Provider::Ncp, Some("settingUp")), "settingup");
        assert_eq!((label("Levitating"), state_label(Provider::Ncp, None)), ("other", "unknown"));
        let many: std::collections::BTreeSet<&str> =
            (0..50_000).map(|number| format!("Running{number}")).map(|word| label(&word)).collect();
        assert_eq!(many.len(), 1);
    }
}
