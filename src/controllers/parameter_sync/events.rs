//! Events: one for everything of a kind that happened in a pass, and only when something changed.

use super::episode::Row;
use super::text::{clusters, list, one_line};
use crate::api::parameter_sync::SyncPhase;

/// Longest note the events API takes is 1024 bytes.
const MAX_NOTE_BYTES: usize = 1000;

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

/// An event about the `RedisParameterSync`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Good or bad news.
    pub type_: EventType,
    /// What happened, in a word: ParameterApplyRequested, ParameterApplyFailed, ParameterInSync or RetriesExhausted.
    pub reason: &'static str,
    /// What happened, as a sentence.
    pub note: String,
}

/// What the observations of a pass changed.
pub(super) fn of_plan(rows: &[Row]) -> Vec<Event> {
    let mut events = failures(rows);
    let synced: Vec<&Row> = rows.iter().filter(|row| became_in_sync(row)).collect();
    if !synced.is_empty() {
        let verb = if synced.len() == 1 { "is" } else { "are" };
        events.push(event(
            EventType::Normal,
            "ParameterInSync",
            &format!("{} {verb} In-Sync: {}", clusters(synced.len()), names(&synced)),
        ));
    }
    events
}

/// What the answers of the cloud changed.
pub(super) fn of_answers(rows: &[Row]) -> Vec<Event> {
    let accepted: Vec<&Row> = rows.iter().filter(|row| row.accepted).collect();
    let mut events = failures(rows);
    if !accepted.is_empty() {
        let note = format!("Asked to apply the parameter group to {}: {}", clusters(accepted.len()), names(&accepted));
        events.insert(0, event(EventType::Normal, "ParameterApplyRequested", &note));
    }
    events
}

fn failures(rows: &[Row]) -> Vec<Event> {
    let gave_up: Vec<&Row> = rows.iter().filter(|row| became_given_up(row)).collect();
    let failed: Vec<&Row> = rows.iter().filter(|row| row.failed && !became_given_up(row)).collect();
    let mut events = Vec::new();
    if !failed.is_empty() {
        let note = format!(
            "Applying the parameter group to {} failed: {}{}",
            clusters(failed.len()),
            names(&failed),
            cause(&failed)
        );
        events.push(event(EventType::Warning, "ParameterApplyFailed", &note));
    }
    if !gave_up.is_empty() {
        let note = format!(
            "Gave up applying the parameter group to {}: {}{}",
            clusters(gave_up.len()),
            names(&gave_up),
            cause(&gave_up)
        );
        events.push(event(EventType::Warning, "RetriesExhausted", &note));
    }
    events
}

/// A cluster that is met In-Sync for the first time is no news.
fn became_in_sync(row: &Row) -> bool {
    row.entry.phase == SyncPhase::InSync
        && row.before.as_ref().is_some_and(|before| before.phase != SyncPhase::InSync && before.sync_status.is_some())
}

fn became_given_up(row: &Row) -> bool {
    row.entry.phase == SyncPhase::GaveUp
        && !row.not_supported()
        && row.before.as_ref().is_none_or(|before| before.phase != SyncPhase::GaveUp)
}

fn names(rows: &[&Row]) -> String {
    list(&rows.iter().map(|row| row.label()).collect::<Vec<_>>())
}

fn cause(rows: &[&Row]) -> String {
    let Some(error) = rows.first().and_then(|row| row.entry.last_error.as_ref()) else { return String::new() };
    format!(". {}", error.message)
}

fn event(type_: EventType, reason: &'static str, note: &str) -> Event {
    Event { type_, reason, note: format!("{}.", one_line(note, MAX_NOTE_BYTES)) }
}
