//! managed-redis-operator

pub mod cloud;
