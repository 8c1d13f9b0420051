//! A Kubernetes operator for the managed Redis services of KakaoCloud and NAVER Cloud Platform.
//!
//! Dependencies point one way: `cli → operator → controllers → {inventory → cloud, api}`; `docs/architecture.md` has the map.

pub mod api;
pub mod controllers;
