//! What needs no Helm: the chart's files against each other and against the operator's own flags and metrics.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, CommandFactory as _, Parser as _};
use delivery::chart;
use managed_redis_operator::cli::Cli;
use serde_json::Value;

use super::cases::{self, text};
use super::objects;

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&text(&chart::folder().join(file)).unwrap()).unwrap()
}

/// The flags of `run`, by name.
fn flags() -> BTreeMap<String, Arg> {
    let cli = Cli::command();
    let run = cli.find_subcommand("run").unwrap();
    let named = run.get_arguments().filter_map(|flag| Some((flag.get_long()?.to_owned(), flag.clone())));
    named.filter(|(name, _)| !["help", "version"].contains(&name.as_str())).collect()
}

/// The arguments of the operator in the golden renders, by case.
fn arguments() -> BTreeMap<String, Vec<String>> {
    let mut arguments = BTreeMap::new();
    for (name, path) in cases::files("cases", ".rendered.yaml").unwrap() {
        for object in objects::read(&name, &text(&path).unwrap()).unwrap() {
            if let Some(args) = object.value.pointer("/spec/template/spec/containers/0/args") {
                arguments.insert(name.clone(), serde_json::from_value(args.clone()).unwrap());
            }
        }
    }
    arguments
}

#[test]
fn the_operator_understands_the_arguments_of_every_case() {
    let arguments = arguments();
    assert!(arguments.len() > 5, "the golden renders have Deployments");
    for (case, arguments) in arguments {
        let parsed = Cli::try_parse_from(std::iter::once("managed-redis-operator".to_owned()).chain(arguments));
        assert!(parsed.is_ok(), "case {case}: {}", parsed.unwrap_err());
    }
}

#[test]
fn every_flag_can_be_reached() {
    let arguments = arguments();
    let given: BTreeSet<&str> = arguments["flags"]
        .iter()
        .filter_map(|argument| argument.strip_prefix("--"))
        .map(|argument| argument.split('=').next().unwrap())
        .collect();
    let flags = flags();
    let missing: Vec<&String> = flags.keys().filter(|flag| !given.contains(flag.as_str())).collect();
    assert!(missing.is_empty(), "no value leads to {missing:?}");
}

#[test]
fn defaults_are_the_operator_s_own() {
    let camel = |flag: &str| -> String {
        let mut words = flag.split('-');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| format!("{name}{}{}", word[..1].to_uppercase(), &word[1..]))
    };
    let values = yaml("values.yaml");
    let config = values["config"].as_object().unwrap();
    let flags: BTreeMap<String, Arg> = flags().into_iter().map(|(name, flag)| (camel(&name), flag)).collect();
    for (name, value) in config {
        let flag = flags.get(name).unwrap_or_else(|| panic!("config.{name} is no flag"));
        let own: Vec<String> =
            flag.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let ours = match value {
            Value::Array(items) => items.iter().map(Value::to_string).collect(),
            Value::String(text) if text.is_empty() => Vec::new(),
            Value::String(text) => vec![text.clone()],
            other => vec![other.to_string()],
        };
        // Logs of a cluster are read by programs, those of a terminal by people.
        if name == "logFormat" {
            assert_eq!((ours, own), (vec!["json".to_owned()], vec!["text".to_owned()]));
        } else {
            assert_eq!(ours, own, "config.{name}");
        }
    }
}

#[test]
fn the_schema_knows_every_value_and_no_other() {
    fn compare(path: &str, schema: &Value, values: &Value) {
        let Some(properties) = schema["properties"].as_object() else { return };
        assert_eq!(schema["additionalProperties"], false, "{path} accepts anything");
        let known: BTreeSet<&String> = properties.keys().filter(|key| *key != "global" && *key != "claims").collect();
        let there: BTreeSet<&String> = values.as_object().unwrap_or_else(|| panic!("{path}")).keys().collect();
        assert_eq!(known, there, "{path}");
        for key in there {
            compare(&format!("{path}.{key}"), &properties[key], &values[key]);
        }
    }
    compare("", &yaml("values.schema.json"), &yaml("values.yaml"));
}

#[test]
fn the_chart_is_of_the_operator_s_version() {
    let chart = yaml("Chart.yaml");
    for field in ["version", "appVersion"] {
        assert_eq!(chart[field], env!("CARGO_PKG_VERSION"), "{field}");
    }
}

/// What is looked at is what the operator tells.
mod queries {
    use managed_redis_operator::metrics::Metrics;

    use super::*;

    /// Each metric with its labels, from the operator's own exposition.
    fn exposition() -> BTreeMap<String, BTreeSet<String>> {
        let metrics = Metrics::new();
        metrics.reconciled("RedisClusterRef", "applied", 0.01);
        metrics.cloud_request("NCP", "getCloudDBInstanceList", "200", 0.1);
        metrics.poll_age("NCP", "0a1b2c3d", 3.0);
        metrics.clusters("NCP", "running", 2);
        metrics.cluster_ready("a", "b", true);
        metrics.parameter_sync_failing("a", "b", 1);
        metrics.flush_phase("Unknown");
        metrics.status_written("RedisClusterRef");
        metrics.watches("RedisClusterRef", 0, 1.0);
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in metrics.encode().unwrap().lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            known.entry(name.to_owned()).or_default().extend(labels);
        }
        known
    }

    /// The identifier that a text begins with.
    fn identifier(text: &str) -> &str {
        let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        &text[..end.unwrap_or(text.len())]
    }

    /// Every metric a query names exists, with the labels it is selected by; what is grouped by are labels of them.
    fn check(query: &str) {
        let known = exposition();
        let mut labels = BTreeSet::new();
        for (at, _) in query.match_indices("managed_redis_") {
            let name = identifier(&query[at..]);
            let of_metric = known.get(name).unwrap_or_else(|| panic!("{query}: the operator has no {name}"));
            labels.extend(of_metric.iter().map(String::as_str));
            let Some(matchers) = query[at + name.len()..].strip_prefix('{') else { continue };
            for matcher in matchers.split_once('}').unwrap().0.split(',') {
                let label = identifier(matcher.trim());
                assert!(of_metric.contains(label), "{query}: {name} has no label {label:?}");
            }
        }
        assert!(!labels.is_empty() || query.contains("managed_redis_leader"), "{query}: no metric of the operator");
        for (at, by) in query.match_indices("by (") {
            for label in query[at + by.len()..].split_once(')').unwrap().0.split(',') {
                assert!(labels.contains(label.trim()), "{query}: grouped by {label:?}, of {labels:?}");
            }
        }
    }

    #[test]
    fn a_query_that_asks_for_something_else_is_found() {
        for wrong in
            ["managed_redis_leaders", "managed_redis_leader{x=\"1\"}", "sum by (x) (managed_redis_clusters)", "up"]
        {
            assert!(std::panic::catch_unwind(|| check(wrong)).is_err(), "{wrong}");
        }
        check("sum by (state) (managed_redis_clusters{provider=\"NCP\"}) > 0");
    }

    #[test]
    fn alerts_ask_for_metrics_there_are() {
        let alerts = yaml("files/alerts.yaml");
        let rules = alerts["groups"][0]["rules"].as_array().unwrap();
        assert!(!rules.is_empty());
        for rule in rules {
            check(rule["expr"].as_str().unwrap());
            for field in ["summary", "description"] {
                assert!(rule["annotations"][field].is_string(), "{} has no {field}", rule["alert"]);
            }
        }
    }

    #[test]
    fn the_dashboard_asks_for_metrics_there_are() {
        let dashboard = yaml("files/dashboard.json");
        let panels = dashboard["panels"].as_array().unwrap();
        let queries: Vec<&str> = panels
            .iter()
            .flat_map(|panel| panel["targets"].as_array().unwrap())
            .map(|target| target["expr"].as_str().unwrap())
            .collect();
        assert!(queries.len() >= panels.len());
        queries.into_iter().for_each(check);
    }
}
