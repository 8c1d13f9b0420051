//! The stand-in over real HTTP, as its clients see it.
// Clippy knows the test functions, but not the helpers beside them, as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod clouds;
mod faults;
mod kakao;
mod kakao_iam;
mod ncp;
mod ncp_gateway;
mod program;
mod seed;
