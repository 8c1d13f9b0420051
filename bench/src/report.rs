//! Figures, with their targets, as a table for people and as JSON for machines.

use std::fmt::Write as _;

use serde::Serialize;

use super::measure::machine;
use super::plan::BenchPlan;

/// The value that a figure should have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum FigureTarget {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// Something measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit: s, MiB, /s, %.
    pub unit: &'static str,
    /// The target, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<FigureTarget>,
}

impl Figure {
    /// A figure without a target.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, target: None }
    }

    /// With a target: at most this.
    pub(crate) fn at_most(self, limit: f64) -> Self {
        Self { target: Some(FigureTarget::AtMost(limit)), ..self }
    }

    /// With a target: at least this.
    pub(crate) fn at_least(self, limit: f64) -> Self {
        Self { target: Some(FigureTarget::AtLeast(limit)), ..self }
    }

    /// Whether it meets its target; none without one.
    fn is_met(&self) -> Option<bool> {
        self.target.map(|target| match target {
            FigureTarget::AtMost(limit) => self.value <= limit,
            FigureTarget::AtLeast(limit) => self.value >= limit,
        })
    }

    /// The figure as one line.
    pub(crate) fn line(&self) -> String {
        let Self { name, value, unit, .. } = self;
        let verdict = match (self.target, self.is_met()) {
            (Some(FigureTarget::AtMost(limit)), Some(met)) => format!("   (at most {limit:.2}: {})", word(met)),
            (Some(FigureTarget::AtLeast(limit)), Some(met)) => format!("   (at least {limit:.2}: {})", word(met)),
            _ => String::new(),
        };
        format!("{name:<48} {value:>10.2} {unit:<6}{verdict}")
    }
}

fn word(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

#[derive(Debug, Serialize)]
struct ScenarioFigure {
    scenario: &'static str,
    #[serde(flatten)]
    figure: Figure,
}

/// Everything measured in one run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BenchReport {
    references: u32,
    interval_seconds: u64,
    cloud_latency_ms: u128,
    quick: bool,
    machine: String,
    figures: Vec<ScenarioFigure>,
}

impl BenchReport {
    /// Nothing measured yet.
    pub(crate) fn new(plan: &BenchPlan) -> Self {
        Self {
            references: plan.n,
            interval_seconds: plan.interval.as_secs(),
            cloud_latency_ms: plan.latency.as_millis(),
            quick: plan.quick,
            machine: machine(),
            figures: Vec::new(),
        }
    }

    /// Adds what a scenario measured.
    pub(crate) fn add(&mut self, scenario: &'static str, figure: Figure) {
        self.figures.push(ScenarioFigure { scenario, figure });
    }

    /// How many targets were missed.
    pub(crate) fn missed(&self) -> usize {
        self.figures.iter().filter(|entry| entry.figure.is_met() == Some(false)).count()
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let Self { references, interval_seconds, cloud_latency_ms, machine, .. } = self;
        let mut text = format!(
            "\n{references} references, pollInterval {interval_seconds} s, the cloud answers after {cloud_latency_ms} ms; {machine}\n"
        );
        let mut last = "";
        for ScenarioFigure { scenario, figure } in &self.figures {
            let shown = if *scenario == last { "" } else { scenario };
            let _ = write!(text, "\n  {shown:<10} {}", figure.line());
            last = scenario;
        }
        text
    }

    /// For machines.
    ///
    /// # Errors
    /// When a figure is no number.
    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_or_missed() {
        let figure = || Figure::new("memory", 24.0, "MiB");
        assert_eq!(figure().is_met(), None);
        assert_eq!(figure().at_most(24.0).is_met(), Some(true));
        assert_eq!(figure().at_most(23.9).is_met(), Some(false));
        assert_eq!(figure().at_least(24.1).is_met(), Some(false));
        assert!(figure().at_most(23.9).line().contains("MISSED"));
    }
}
