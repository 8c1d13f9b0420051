//! What is measured, and for how long.

use std::time::Duration;

use fake_cloud::FaultKind;

/// What a run is to measure, resolved from the flags.
#[derive(Clone, Debug)]
pub(crate) struct BenchPlan {
    /// References, and clusters at the cloud.
    pub n: u32,
    /// The references' poll interval.
    pub interval: Duration,
    /// How long the cloud takes for an answer.
    pub latency: Duration,
    /// Whether to measure for a short time, with few samples.
    pub quick: bool,
}

impl BenchPlan {
    /// How long to measure something that happens once an interval.
    pub(crate) fn window(&self) -> Duration {
        if self.quick { self.interval } else { self.interval * 2 }
    }

    /// The clouds' latency.
    pub(crate) fn delay(&self) -> FaultKind {
        FaultKind::Delay { ms: u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX) }
    }

    /// How many times to repeat something that is timed one by one.
    pub(crate) fn samples(&self) -> u32 {
        if self.quick { 10 } else { 100 }
    }
}
