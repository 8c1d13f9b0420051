//! The table on the terminal: redrawn in place, or a line for each change where there is no terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use delivery::examples::expected::{EXPECTATIONS, ExampleOutcome, ExampleOutcomes, Expectation};
use delivery::examples::seen::ObjectName;
use harness::terminal::{Style, say};

/// A terminal that does not tell its width is taken to be this wide.
const DEFAULT_WIDTH: usize = 120;
/// Less than this is left to a message on no terminal.
const LEAST_MESSAGE: usize = 24;

/// Where the table is drawn.
pub(super) struct Screen {
    terminal: bool,
    style: Style,
    started: Instant,
    /// Lines that the last drawing left on the terminal.
    drawn: usize,
}

impl Screen {
    /// The process's stdout, with the time counted from now.
    pub(super) fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { terminal, style: Style::of_stdout(), started: Instant::now(), drawn: 0 }
    }

    /// Since when the time is counted.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Draws the table over the last one. Does nothing without a terminal.
    pub(super) fn redraw(&mut self, outcomes: &ExampleOutcomes) {
        if self.terminal {
            let width = width();
            let lines = table(outcomes, self.started.elapsed(), self.style, width, Fit::Cut);
            self.draw(&lines, Fit::Cut);
        }
    }

    /// Draws the table for the last time, with every message in full.
    pub(super) fn finish(&mut self, outcomes: &ExampleOutcomes) {
        if self.terminal {
            let lines = table(outcomes, self.started.elapsed(), self.style, width(), Fit::Wrap);
            self.draw(&lines, Fit::Wrap);
            self.drawn = 0;
        }
    }

    /// Tells of a change on a line of its own.
    pub(super) fn change(&self, key: &ObjectName, found: Option<&ExampleOutcome>) {
        let seconds = self.started.elapsed().as_secs_f64();
        say(format_args!("{seconds:6.1}s  {}", change_line(key, found)));
    }

    /// Whether changes are seen in the table and need no lines.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Replaces what was drawn last.
    fn draw(&mut self, lines: &[String], fit: Fit) {
        // On a terminal too narrow even for the columns, the next drawing has to find the lines where they were counted:
        // the terminal itself cuts them off (DECAWM, <https://vt100.net/docs/vt510-rm/DECAWM.html>).
        let (before, after) = if fit == Fit::Cut { ("\x1b[?7l", "\x1b[?7h") } else { ("", "") };
        let mut text = before.to_owned();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        // Each line is cleared as it is written, and then what is left below: nothing flickers.
        for line in lines {
            let _ = writeln!(text, "\r\x1b[2K{line}");
        }
        text.push_str("\x1b[J");
        text.push_str(after);
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes());
        let _ = stdout.flush();
        self.drawn = lines.len();
    }
}

fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map(|size| usize::from(size.ws_col));
    columns.ok().filter(|columns| *columns > 0).unwrap_or(DEFAULT_WIDTH)
}

/// What becomes of a message that is wider than the terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Cut,
    Wrap,
}

const HEADINGS: [&str; 4] = ["OBJECT", "READY", "STATE", "MESSAGE"];

/// The columns of a row; the message comes last.
fn cells(key: &ObjectName, found: Option<&ExampleOutcome>) -> [String; 4] {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let (ready, state, message) = match found {
        None => ("-".to_owned(), "-".to_owned(), String::new()),
        Some(ExampleOutcome::Stands(seen)) => (dash(&seen.ready), dash(&seen.state), told(&seen.reason, &seen.message)),
        Some(ExampleOutcome::Refused(sentence)) => ("-".to_owned(), "refused".to_owned(), sentence.clone()),
    };
    [key.as_str().to_owned(), ready, state, message]
}

/// The reason, unless the message begins with it, and the message.
fn told(reason: &str, message: &str) -> String {
    if reason.is_empty() || message.starts_with(reason) { message.to_owned() } else { format!("{reason}: {message}") }
}

fn change_line(key: &ObjectName, found: Option<&ExampleOutcome>) -> String {
    match found {
        None => format!("{}  deleted", key.as_str()),
        Some(_) => {
            let [object, ready, state, message] = cells(key, found);
            format!("{object:<45}  Ready={ready:<7}  {state:<24}  {message}").trim_end().to_owned()
        }
    }
}

fn table(outcomes: &ExampleOutcomes, elapsed: Duration, style: Style, width: usize, fit: Fit) -> Vec<String> {
    let rows: Vec<(&Expectation, [String; 4])> =
        EXPECTATIONS.iter().map(|row| (row, cells(&row.key(), outcomes.get(&row.key())))).collect();
    let column = |index: usize| {
        let cells = rows.iter().map(|(_, cells)| cells[index].chars().count());
        cells.chain([HEADINGS[index].len()]).max().unwrap_or_default()
    };
    let widths = [column(0), column(1), column(2)];
    // A mark and a space, then three columns with two spaces after each.
    let indent = 2 + widths.iter().map(|width| width + 2).sum::<usize>();
    let room = width.saturating_sub(indent + 1).max(LEAST_MESSAGE);
    let line = |mark: &str, cells: [&str; 3], message: &str| {
        let [object, ready, state] = cells;
        let [a, b, c] = widths;
        format!("{mark} {object:<a$}  {ready:<b$}  {state:<c$}  {message}").trim_end().to_owned()
    };
    let [object, ready, state, message] = HEADINGS;
    let mut lines = vec![style.bold(&line(" ", [object, ready, state], message))];
    let mut mistakes = false;
    for (row, [object, ready, state, message]) in &rows {
        if row.mistake && !mistakes {
            mistakes = true;
            lines.push(style.bold("  Mistakes, and what becomes of them"));
        }
        let mark = if row.is_met(outcomes.get(&row.key())) { style.good("✔") } else { style.faint("·") };
        let mut parts = fitted(message, room, fit).into_iter();
        lines.push(line(&mark, [object, ready, state], &parts.next().unwrap_or_default()));
        lines.extend(parts.map(|part| format!("{:indent$}{part}", "")));
    }
    let met = rows.iter().filter(|(row, _)| row.is_met(outcomes.get(&row.key()))).count();
    lines.push(style.faint(&format!("  {met} of {} as they should be, {} s", rows.len(), elapsed.as_secs())));
    lines
}

/// The text in lines of at most `room` characters.
fn fitted(text: &str, room: usize, fit: Fit) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if fit == Fit::Cut && text.chars().count() > room {
        let kept: String = text.chars().take(room.saturating_sub(1)).collect();
        return vec![format!("{kept}…")];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.chars().count() + 1 + word.chars().count() <= room => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use delivery::examples::seen::ObjectRow;

    fn outcomes() -> ExampleOutcomes {
        let seen = ObjectRow {
            ready: "False".to_owned(),
            reason: "ClusterNotFound".to_owned(),
            state: String::new(),
            message: "The cloud has no cluster of that name.".to_owned(),
            current: true,
        };
        ExampleOutcomes::from([(ObjectName::new("RedisClusterRef", "odrers"), ExampleOutcome::Stands(seen))])
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for fit in [Fit::Cut, Fit::Wrap] {
            let lines = table(&outcomes(), Duration::from_secs(3), Style::plain(), 100, fit);
            assert!(lines.iter().all(|line| line.chars().count() < 100), "{lines:#?}");
            let row = lines.iter().position(|line| line.contains("odrers")).unwrap();
            assert!(lines[row].starts_with("✔ redisclusterref/odrers"), "{}", lines[row]);
            assert_eq!(lines[row].ends_with('…'), fit == Fit::Cut);
        }
    }

    #[test]
    fn a_cut_table_has_a_line_for_each_object() {
        let lines = table(&ExampleOutcomes::new(), Duration::ZERO, Style::plain(), 80, Fit::Cut);
        assert_eq!(lines.len(), EXPECTATIONS.len() + 3);
        assert_eq!(lines.last().unwrap(), "  0 of 9 as they should be, 0 s");
    }

    #[test]
    fn wrapping_loses_no_word() {
        let text = "one two three a-word-wider-than-the-room four";
        let lines = fitted(text, 9, Fit::Wrap);
        assert_eq!(lines, ["one two", "three", "a-word-wider-than-the-room", "four"]);
        assert_eq!(fitted("exactly 9", 9, Fit::Cut), ["exactly 9"]);
        assert_eq!(fitted("ten chars.", 9, Fit::Cut), ["ten char…"]);
    }

    #[test]
    fn a_change_tells_object_and_reason() {
        let outcomes = outcomes();
        let (key, found) = outcomes.first_key_value().unwrap();
        let line = change_line(key, Some(found));
        assert!(
            line.contains("redisclusterref/odrers") && line.contains("ClusterNotFound: The cloud has no"),
            "{line}"
        );
        assert!(change_line(key, None).ends_with("deleted"));
    }
}
