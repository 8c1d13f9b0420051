//! What has to become of the examples.

use std::collections::BTreeMap;

use super::seen::{ObjectName, ObjectRow};

/// What is expected of one example.
#[derive(Debug)]
pub struct Expectation {
    kind: &'static str,
    name: &'static str,
    /// How it comes out.
    pub wanted: Wanted,
    /// Whether it is an example of a mistake.
    pub mistake: bool,
}

/// How an example comes out.
#[derive(Debug)]
pub enum Wanted {
    /// It stands on the API server.
    Stands {
        /// Status of the condition Ready.
        ready: &'static str,
        /// Reason of Stalled, else of Ready.
        reason: &'static str,
        /// State, phase or count.
        state: &'static str,
    },
    /// The API server refuses it, for a reason that has these words.
    Refused {
        /// Part of the API server's answer.
        because: &'static str,
    },
}

const CLUSTER_REF: &str = "RedisClusterRef";
const PARAMETER_SYNC: &str = "RedisParameterSync";
const FLUSH_REQUEST: &str = "RedisFlushRequest";

/// Every example, in the order in which they are shown.
pub const EXPECTATIONS: [Expectation; 9] = [
    good(CLUSTER_REF, "orders", "Running", "Running"),
    good(CLUSTER_REF, "sessions", "Running", "Running"),
    good(CLUSTER_REF, "cart-cache", "Running", "running"),
    good(PARAMETER_SYNC, "sessions", "InSync", "1/1 in sync"),
    good(FLUSH_REQUEST, "cart-cache-price-change", "FlushSucceeded", "Succeeded"),
    bad(CLUSTER_REF, "odrers", "ClusterNotFound", ""),
    bad(PARAMETER_SYNC, "cart-cache", "NotSupported", "0/1 in sync, GaveUp"),
    bad(FLUSH_REQUEST, "cart-cache-typo", "ConfirmMismatch", "Rejected"),
    Expectation {
        kind: CLUSTER_REF,
        name: "two-providers",
        wanted: Wanted::Refused { because: "set exactly one of kakaoCloud and ncp" },
        mistake: true,
    },
];

const fn good(kind: &'static str, name: &'static str, reason: &'static str, state: &'static str) -> Expectation {
    Expectation { kind, name, wanted: Wanted::Stands { ready: "True", reason, state }, mistake: false }
}

const fn bad(kind: &'static str, name: &'static str, reason: &'static str, state: &'static str) -> Expectation {
    Expectation { kind, name, wanted: Wanted::Stands { ready: "False", reason, state }, mistake: true }
}

/// What was found of one example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExampleOutcome {
    /// It stands on the API server.
    Stands(ObjectRow),
    /// The API server refused it, with this sentence.
    Refused(String),
}

/// Everything found so far.
pub type ExampleOutcomes = BTreeMap<ObjectName, ExampleOutcome>;

impl Expectation {
    /// The object's name among the outcomes.
    pub fn key(&self) -> ObjectName {
        ObjectName::new(self.kind, self.name)
    }

    /// Whether what was found is what was expected.
    pub fn is_met(&self, found: Option<&ExampleOutcome>) -> bool {
        match (&self.wanted, found) {
            (Wanted::Stands { ready, reason, state }, Some(ExampleOutcome::Stands(seen))) => {
                seen.current
                    && (seen.ready.as_str(), seen.reason.as_str(), seen.state.as_str()) == (*ready, *reason, *state)
            }
            (Wanted::Refused { because }, Some(ExampleOutcome::Refused(sentence))) => sentence.contains(because),
            (_, None) | (Wanted::Stands { .. }, Some(_)) | (Wanted::Refused { .. }, Some(_)) => false,
        }
    }

    /// What was expected and what was found, for who has to find out why.
    fn difference(&self, found: Option<&ExampleOutcome>) -> String {
        let wanted = match &self.wanted {
            Wanted::Stands { ready, reason, state } => describe(ready, reason, state),
            Wanted::Refused { because } => format!("refused by the API server: … {because} …"),
        };
        let found = match found {
            None => "nothing of it on the API server".to_owned(),
            Some(ExampleOutcome::Refused(sentence)) => format!("refused by the API server: {sentence}"),
            Some(ExampleOutcome::Stands(seen)) if seen.ready.is_empty() => "no status".to_owned(),
            Some(ExampleOutcome::Stands(seen)) => {
                let stale = if seen.current { "" } else { ", for an older spec" };
                format!("{}{stale}: {}", describe(&seen.ready, &seen.reason, &seen.state), seen.message)
            }
        };
        format!("{}\n    expected  {wanted}\n    found     {found}", self.key().as_str())
    }
}

fn describe(ready: &str, reason: &str, state: &str) -> String {
    let state = if state.is_empty() { "no state".to_owned() } else { format!("state {state}") };
    format!("Ready={ready} ({reason}), {state}")
}

/// Whether every example came out as expected.
pub fn all_met(outcomes: &ExampleOutcomes) -> bool {
    EXPECTATIONS.iter().all(|expectation| expectation.is_met(outcomes.get(&expectation.key())))
}

/// Every example that did not come out as expected, and every one that nothing is expected of.
pub fn mismatches(outcomes: &ExampleOutcomes) -> Vec<String> {
    let unmet = EXPECTATIONS.iter().filter_map(|expectation| {
        let found = outcomes.get(&expectation.key());
        (!expectation.is_met(found)).then(|| expectation.difference(found))
    });
    let unknown = outcomes.keys().filter(|key| EXPECTATIONS.iter().all(|expectation| expectation.key() != **key));
    unmet.chain(unknown.map(|key| format!("{}\n    nothing is expected of it", key.as_str()))).collect()
}

/// The instance that the flush request names, and the cluster that the parameter sync names.
const FLUSHED: &str = "882701";
const APPLIED: &str = "91d7e4b6-0f2c-4a83-b5e9-7c306d1a5f02";

/// What has really been done to the clouds, as a sentence; `Err` if that is not what the examples ask for: one flush of
/// one instance, and the first application of the parameter group, which fails, and the second, which holds.
pub fn effects(flushes: BTreeMap<String, u64>, applies: BTreeMap<String, u64>) -> Result<String, String> {
    let told = format!("flushes by instance: {flushes:?}; parameter groups applied by cluster: {applies:?}");
    let wanted = (BTreeMap::from([(FLUSHED.to_owned(), 1)]), BTreeMap::from([(APPLIED.to_owned(), 2)]));
    if (flushes, applies) == wanted {
        Ok(format!(
            "The cloud flushed {FLUSHED} once, and applied the parameter group of sessions twice: the first did not hold."
        ))
    } else {
        Err(format!(
            "what was done to the cloud\n    expected  one flush of {FLUSHED}, the parameter group of {APPLIED} applied twice\n    \
             found     {told}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands(ready: &str, reason: &str, state: &str, current: bool) -> ExampleOutcome {
        ExampleOutcome::Stands(ObjectRow {
            ready: ready.to_owned(),
            reason: reason.to_owned(),
            state: state.to_owned(),
            message: "why".to_owned(),
            current,
        })
    }

    fn as_expected() -> ExampleOutcomes {
        let found = |expectation: &Expectation| match expectation.wanted {
            Wanted::Stands { ready, reason, state } => stands(ready, reason, state, true),
            Wanted::Refused { because } => ExampleOutcome::Refused(format!("the object is invalid: {because}")),
        };
        EXPECTATIONS.iter().map(|expectation| (expectation.key(), found(expectation))).collect()
    }

    #[test]
    fn what_is_expected_settles() {
        assert!(all_met(&as_expected()));
        assert_eq!(mismatches(&as_expected()), Vec::<String>::new());
    }

    #[test]
    fn every_difference_counts() {
        let orders = || EXPECTATIONS[0].key();
        for found in [
            stands("False", "Running", "Running", true),
            stands("True", "Other", "Running", true),
            stands("True", "Running", "Modifying", true),
            stands("True", "Running", "Running", false),
            ExampleOutcome::Refused("set exactly one of kakaoCloud and ncp".to_owned()),
        ] {
            let mut outcomes = as_expected();
            outcomes.insert(orders(), found.clone());
            assert!(!all_met(&outcomes), "{found:?}");
            let told = mismatches(&outcomes);
            assert_eq!(told.len(), 1);
            assert!(told[0].contains("redisclusterref/orders") && told[0].contains("expected  Ready=True"), "{told:?}");
        }
        let mut outcomes = as_expected();
        outcomes.remove(&orders());
        outcomes.insert(ObjectName::new("RedisClusterRef", "stray"), stands("True", "Running", "Running", true));
        let told = mismatches(&outcomes).join("\n");
        assert!(told.contains("nothing of it") && told.contains("redisclusterref/stray"), "{told}");
    }

    #[test]
    fn an_untouched_cloud_is_not_what_the_examples_ask_for() {
        assert!(effects(BTreeMap::new(), BTreeMap::new()).unwrap_err().contains("one flush of 882701"));
    }
}
