//! A Kubernetes operator for the managed Redis services of KakaoCloud and NAVER Cloud Platform.
//!
//! Dependencies point one way: `cli → operator → controllers → {inventory → cloud, runtime} → api`; `docs/architecture.md` has the map.

pub mod api;
mod backoff;
pub mod cli;
pub mod cloud;
pub mod controllers;
mod digest;
pub mod inventory;
pub mod metrics;
pub mod object_key;
mod operator;
pub mod packing;
mod runtime;
pub mod text;
