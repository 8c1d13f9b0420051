//! One way to set up what tests, demo, bench and verify run the operator in: a real API server with the CRDs, a namespace,
//! the fake clouds with Secrets that they accept, and the operator as a process of its own.
//!
//! It does not depend on the operator: a program that has been built is started from its path, and the caller brings the
//! CRDs. So a change of the operator does not compile this again, and the operator's own tests can use it.
//!
//! ```no_run
//! # async fn example(crds: &[k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition])
//! # -> anyhow::Result<()> {
//! use harness::{Environment, program};
//!
//! let server = harness::api_server(crds).await?;
//! let environment = Environment::create(&server, "shop", fake_cloud::Seed::default()).await?;
//! let mut operator = environment.operator(&program::build().await?, &["--poll-interval=10s"]).start()?;
//! operator.ready().await?;
//! // … create objects through environment.api(), change the clouds through environment.clouds() …
//! operator.stop().await?;
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

mod command;
mod environment;
mod error;
mod log;
pub mod objects;
mod operator;
pub mod program;
pub mod signals;
pub mod terminal;

use std::path::Path;
use std::time::Duration;

pub use command::{OperatorCommand, clean_command};
pub use environment::{Environment, api_server};
pub use error::describe;
pub use operator::Operator;
pub use testbed::tail;

/// How long anything may take that a start or a test waits for. It takes a moment, unless the machine is very busy.
pub const WITHIN: Duration = Duration::from_secs(60);

/// The repository's root, the folder above this package's.
#[must_use]
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}
