//! The cloud clients over real HTTP: against the stand-in for both clouds, and against bare sockets where the connection
//! itself matters.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper that fails must fail its test")]

mod connections;
mod decoders;
mod echo;
mod faults;
mod hostile;
mod kakao;
mod limits;
mod ncp;
mod support;
mod tokens;
