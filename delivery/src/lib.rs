//! What is delivered to users: images, the Helm chart, the CRDs, and the examples with what has to become of them.
//!
//! `xtask` makes and publishes these; `verify` installs them and judges what comes of it. Both use this package, so that what
//! is tested is what is published.

pub mod buildah;
pub mod chart;
pub mod crds;
pub mod examples;
pub mod helm;
pub mod image;
