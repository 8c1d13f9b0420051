//! The figures of many runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use managed_redis_operator::api::flush_request::FlushPhase;

use super::run::FlushOutcome;

/// Final phases, and what else a row counts, in the order of the columns.
const COLUMNS: [&str; 6] = ["Succeeded", "Unknown", "Failed", "Rejected", "Expired", "deleted"];

/// A fault that is drawn so often and never met cannot be met any more. Most are met every other time.
const DRAWN_OFTEN: u64 = 20;

/// What came of the runs so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Runs.
    pub runs: u64,
    /// Runs that kept all promises.
    pub kept: u64,
    /// Operators started.
    pub processes: u64,
    /// Writes seen.
    pub writes: u64,
    /// Runs by the number of flushes they led to.
    flushes: BTreeMap<u64, u64>,
    /// Requests by the phase they ended in.
    phases: BTreeMap<&'static str, u64>,
    /// Requests that were removed meanwhile, by their last phase.
    removed_in: BTreeMap<&'static str, u64>,
    /// By fault.
    kinds: BTreeMap<String, FaultRow>,
    /// By what happened after everything was settled.
    epilogues: BTreeMap<String, FaultRow>,
    took: Vec<Duration>,
}

#[derive(Debug, Default)]
struct FaultRow {
    missed: u64,
    flushed: u64,
    main: BTreeMap<&'static str, u64>,
}

impl FaultRow {
    fn count(&mut self, outcome: &FlushOutcome) {
        self.flushed += outcome.flushes;
        *self.main.entry(column(outcome.phase)).or_default() += 1;
    }

    fn met(&self) -> u64 {
        self.main.values().sum()
    }

    fn line(&self, name: &str) -> String {
        let met = self.met();
        let mut line = format!("  {name:<44} {met:>6} {:>7} {:>7}", self.missed, self.flushed);
        for column in COLUMNS {
            let _ = write!(line, " {:>9}", self.main.get(column).copied().unwrap_or_default());
        }
        line
    }
}

/// The column of a request that ended like this.
pub(super) fn column(phase: Option<FlushPhase>) -> &'static str {
    phase.map_or("deleted", FlushPhase::as_str)
}

impl Tally {
    /// Takes a run in.
    pub(super) fn count(&mut self, outcome: &FlushOutcome) {
        self.runs += 1;
        self.kept += u64::from(outcome.violations.is_empty());
        self.processes += outcome.processes as u64;
        self.writes += outcome.entries.len() as u64;
        *self.flushes.entry(outcome.flushes).or_default() += 1;
        for phase in &outcome.phases {
            *self.phases.entry(phase.as_str()).or_default() += 1;
        }
        for phase in &outcome.removed_in {
            *self.removed_in.entry(phase.as_str()).or_default() += 1;
        }
        for (step, met) in outcome.script.steps.iter().zip(&outcome.met) {
            let row = self.kinds.entry(step.act.kind(step.at.side)).or_default();
            if *met {
                row.count(outcome);
            } else {
                row.missed += 1;
            }
        }
        if let Some(epilogue) = &outcome.script.epilogue {
            self.epilogues.entry(epilogue.to_string()).or_default().count(outcome);
        }
        self.took.push(outcome.took);
    }

    /// Faults that were drawn often and never happened: what they are to prove is not proven.
    pub(super) fn never_met(&self) -> Vec<&str> {
        let never = |row: &FaultRow| row.met() == 0 && row.missed >= DRAWN_OFTEN;
        self.kinds.iter().filter(|(_, row)| never(row)).map(|(name, _)| name.as_str()).collect()
    }

    /// Everything.
    pub(super) fn table(&self, elapsed: Duration) -> String {
        let mut text = String::new();
        let head = format!("  {:<44} {:>6} {:>7} {:>7}", "fault", "met", "missed", "flushes");
        let columns: String = COLUMNS.iter().map(|column| format!(" {column:>9}")).collect();
        let _ = writeln!(text, "{head}{columns}");
        for (name, row) in &self.kinds {
            let _ = writeln!(text, "{}", row.line(name));
        }
        let _ = writeln!(text, "  -- once everything was settled");
        for (name, row) in &self.epilogues {
            let _ = writeln!(text, "{}", row.line(name));
        }
        let flushes: Vec<String> = self.flushes.iter().map(|(flushes, runs)| format!("{flushes}: {runs}")).collect();
        let phases: Vec<String> = self.phases.iter().map(|(phase, count)| format!("{phase} {count}")).collect();
        let _ = writeln!(text, "  runs by number of flushes: {}", flushes.join(", "));
        let _ = writeln!(text, "  requests by phase in the end: {}", phases.join(", "));
        let _ = write!(
            text,
            "  {} runs in {} s ({}), {} operator processes, {} writes; {} failed",
            self.runs,
            elapsed.as_secs(),
            self.durations(),
            self.processes,
            self.writes,
            self.runs - self.kept
        );
        text
    }

    fn durations(&self) -> String {
        let mut sorted = self.took.clone();
        sorted.sort();
        let at = |share: usize| sorted.get(sorted.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
        format!("a run took {:.1} s in the median, {:.1} s at most", at(50).as_secs_f64(), at(100).as_secs_f64())
    }
}

/// A failed run: what it takes to repeat it, and what is known of it.
pub(super) fn failure(outcome: &FlushOutcome, logs: &str) -> String {
    let mut text = format!("FAILED, seed {}: {}\n", outcome.script.seed, outcome.script);
    for violation in &outcome.violations {
        let _ = writeln!(text, "  {violation}");
    }
    let _ = writeln!(text, "  repeat it with: cargo xtask faults --runs 1 --seed {}", outcome.script.seed);
    let _ = writeln!(text, "  logs of the operators: {logs}");
    let _ = writeln!(text, "  writes (operator, write: what the server answered, what the operator was told):");
    let word = |status: Option<u16>| status.map_or("-".to_owned(), |status| status.to_string());
    for entry in &outcome.entries {
        let (done, told) = (word(entry.carried_out), word(entry.told));
        let _ = writeln!(text, "    {} {} #{}: {done}, {told}", entry.process, entry.write, entry.nth);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_is_never_met_is_told() {
        let met = FaultRow { missed: 50, main: [("Succeeded", 1)].into(), ..FaultRow::default() };
        let rare = FaultRow { missed: DRAWN_OFTEN - 1, ..FaultRow::default() };
        let never = FaultRow { missed: DRAWN_OFTEN, ..FaultRow::default() };
        let kinds = [("met", met), ("never", never), ("rare", rare)].map(|(name, row)| (name.to_owned(), row)).into();
        assert_eq!(Tally { kinds, ..Tally::default() }.never_met(), ["never"]);
    }
}
