//! The real operator against a real API server and a stand-in for both clouds.
//!
//! One API server serves all tests; each has a namespace, clouds and an operator process of its own. Nothing here waits for
//! time: tests watch objects, log lines and the clouds' requests, and ask for fresh reads by annotation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test helper that fails must fail its test, and show the operator's log"
)]

mod admin_port;
mod applying;
mod bad_answers;
mod command_line;
mod connection_map;
mod crds;
mod crowd;
mod deaf;
mod flush;
mod flush_isolation;
mod invalid;
mod leading;
mod many;
mod map_trouble;
mod odd_entries;
mod outside_words;
mod process;
mod reading;
mod reference;
mod secrecy;
mod support;
mod syncing;
mod trouble;
