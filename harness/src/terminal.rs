//! Lines on the terminal.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::error::describe;

/// Prints a line on stdout. A reader that has gone away (`| head`) is no reason to leave anything running.
pub fn say(line: impl fmt::Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}

/// Announces a step that may take a while.
pub fn step(line: impl fmt::Display) {
    say(format_args!("{} {line}", Style::of_stdout().bold("==>")));
}

/// The exit code of a task of `cargo xtask`. Why it failed is printed on stderr.
#[must_use]
pub fn exit_code(outcome: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "xtask: {}", describe(error));
    ExitCode::FAILURE
}

/// Whether, and how, text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` (<https://no-color.org>) is set.
    pub fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: std::io::stdout().is_terminal() && !unwanted }
    }

    /// Plain text, as tests compare it.
    pub fn plain() -> Self {
        Self { colour: false }
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Headings.
    pub fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.code("32", text)
    }

    /// What is not there yet.
    pub fn faint(self, text: &str) -> String {
        self.code("2", text)
    }
}
