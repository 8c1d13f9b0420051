//! How a state is written down: its name, and the steps that bring an object into it.

use futures::future::BoxFuture;
use kube::api::DynamicObject;

use super::environment::GitopsEnvironment;
use super::table::ObjectKind;

/// The value of the last step, which is dropped.
pub(super) trait StepOutcome {
    /// Drops the value and keeps the error.
    fn done(self) -> anyhow::Result<()>;
}

impl StepOutcome for anyhow::Result<()> {
    fn done(self) -> anyhow::Result<()> {
        self
    }
}

impl StepOutcome for anyhow::Result<DynamicObject> {
    fn done(self) -> anyhow::Result<()> {
        self.map(drop)
    }
}

/// How an object of a kind is brought into a state; the object has the state's name.
pub(super) struct StateSetup {
    /// The kind.
    pub kind: ObjectKind,
    /// The state's name, and the object's.
    pub name: &'static str,
    /// Does everything but the waiting for the state itself.
    pub set: for<'a> fn(&'a GitopsEnvironment) -> BoxFuture<'a, anyhow::Result<()>>,
}

/// A [`StateSetup`] whose steps are an async block with the environment at hand.
macro_rules! state {
    ($kind:expr, $name:expr, |$environment:ident| $steps:expr) => {
        $crate::gitops::setup::StateSetup {
            kind: $kind,
            name: $name,
            set: |$environment| {
                Box::pin(async move {
                    let steps = async { $steps };
                    $crate::gitops::setup::StepOutcome::done(steps.await)
                })
            },
        }
    };
}
pub(super) use state;
