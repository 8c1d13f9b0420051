//! The golden file of all messages: what a person reads in conditions and events, so that a change of a text is read in a diff.
//!
//! `INSTA_UPDATE=always cargo test --lib golden` writes it anew.

use std::fmt::Write as _;

use super::{cluster_ref, flush_request, messages, parameter_sync};
use crate::runtime::invalid;

type Samples = Vec<(&'static str, String)>;

/// A file of messages.
struct Source {
    title: &'static str,
    text: &'static str,
    samples: Samples,
}

fn sources() -> [Source; 4] {
    [
        Source {
            title: "RedisClusterRef",
            text: include_str!("cluster_ref/messages.rs"),
            samples: cluster_ref::messages::samples::samples(),
        },
        Source {
            title: "RedisParameterSync",
            text: include_str!("parameter_sync/messages.rs"),
            samples: parameter_sync::messages::samples::samples(),
        },
        Source {
            title: "RedisFlushRequest",
            text: include_str!("flush_request/messages.rs"),
            samples: flush_request::messages::samples::samples(),
        },
        Source {
            title: "Secrets, in every kind",
            text: include_str!("messages.rs"),
            samples: messages::samples::samples(),
        },
    ]
}

fn section(out: &mut String, title: &str, samples: &[(&str, String)]) {
    writeln!(out, "# {title}\n").unwrap();
    for (name, text) in samples {
        writeln!(out, "{name}\n    {text}").unwrap();
    }
    out.push('\n');
}

#[test]
fn every_message_is_in_the_golden_file() {
    let mut out = String::new();
    for source in sources() {
        section(&mut out, source.title, &source.samples);
    }
    section(&mut out, "Clouds, connections and specs, in every kind", &messages::samples::problems());
    section(
        &mut out,
        "Objects that cannot be read",
        &[("message", invalid::message("field spec: missing field `confirm`"))],
    );
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("messages", out);
    });
}

/// What other files can use of a file of messages, read from its text.
fn messages_of(source: &str) -> Vec<&str> {
    let declared = source.lines().filter_map(|line| line.strip_prefix("pub(super) "));
    declared
        .filter_map(|line| {
            let rest = line.strip_prefix("fn ").or_else(|| line.strip_prefix("const "))?;
            rest.split(|character: char| !(character.is_alphanumeric() || character == '_')).next()
        })
        .collect()
}

#[test]
fn no_message_is_forgotten() {
    for Source { title, text, samples } in sources() {
        let sampled: Vec<&str> = samples.iter().flat_map(|(names, _)| names.split(", ")).collect();
        let declared = messages_of(text);
        assert!(declared.len() > 3, "{title}: {declared:?}");
        let missing: Vec<&&str> = declared.iter().filter(|name| !sampled.contains(name)).collect();
        assert!(missing.is_empty(), "{title}: without a sample in messages/samples.rs: {missing:?}");
        let unknown: Vec<&&str> = sampled.iter().filter(|name| !declared.contains(name)).collect();
        assert!(unknown.is_empty(), "{title}: samples of what is not in messages.rs: {unknown:?}");
    }
}
