//! A Kubernetes operator for the managed Redis services of KakaoCloud and NAVER Cloud Platform.
//!
//! Dependencies point one way: `cli → operator → controllers → {inventory → cloud, runtime} → api`; `docs/architecture.md` has the map.

pub mod api;
pub mod cli;
pub mod cloud;
pub mod controllers;
pub mod inventory;
pub mod metrics;
pub mod operator;
pub mod packing;
pub mod runtime;
pub mod text;
