//! Logs: text for people, JSON for collectors, on stderr.

use std::fmt;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

use crate::text;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging.
///
/// # Errors
/// A sentence, if the filter cannot be parsed.
pub(crate) fn init(format: LogFormat, filter: &str) -> Result<(), String> {
    let builder = tracing_subscriber::fmt().with_env_filter(parse(filter)?).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).fmt_fields(EscapedFields::default()).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| format!("logging cannot be started: {error}"))
}

/// The filter, without the module of the Kubernetes client that logs an answer it cannot parse: it may be a Secret.
fn parse(filter: &str) -> Result<EnvFilter, String> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| format!("--log-filter {filter:?}: {error}"))?;
    let never = "kube_client::client=off".parse().map_err(|error| format!("logging cannot be started: {error}"))?;
    Ok(parsed.add_directive(never))
}

/// Formats message and fields as usual, with unprintable characters escaped. Whatever a cloud, a tenant or the Kubernetes API puts
/// into them, an event is one line and moves no cursor.
#[derive(Debug, Default)]
struct EscapedFields(DefaultFields);

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut plain = String::new();
        self.0.format_fields(Writer::new(&mut plain), fields)?;
        text::escape(&plain, &mut writer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::{info_span, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct LogBuffer(Arc<Mutex<Vec<u8>>>);

    impl Write for LogBuffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_shows_answers_of_the_api_server_is_never_logged() {
        for filter in ["trace", "kube_client=trace", "kube_client::client=trace"] {
            let written = LogBuffer::default();
            let writer = written.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(parse(filter).unwrap())
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                warn!(target: "kube_client::client", "{{\"data\":\"c2VjcmV0\"}}");
                warn!(target: "kube_client::config", "a note");
            });
            let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(!log.contains("c2VjcmV0"), "{filter}: {log}");
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let evil = "a\n2026-01-01T00:00:00Z  WARN forged\r\u{1b}[2J\u{202e}\u{0}\u{9b}31m";
        let written = LogBuffer::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .fmt_fields(EscapedFields::default())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let span = info_span!("reconcile", name = %evil, other = evil);
            span.record("other", evil);
            let error = std::io::Error::other(evil);
            span.in_scope(|| warn!(%evil, quoted = ?evil, error = &error as &dyn std::error::Error, "it says: {evil}"));
        });
        let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let line = log.strip_suffix('\n').unwrap();
        assert!(!line.chars().any(text::is_unprintable), "{line:?}");
        assert!(line.contains(r"it says: a\n2026-01-01T00:00:00Z  WARN forged\r"), "{line}");
    }
}
