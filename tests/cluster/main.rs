//! The real operator against a real API server and a stand-in for both clouds.
//!
//! One API server serves all tests; each has a namespace, clouds and an operator process of its own. Nothing here waits for
//! time: tests watch objects, log lines and the clouds' requests, and ask for fresh reads by annotation.

mod connection_map;
mod crds;
mod flush;
mod harness;
mod reading;
mod reference;
