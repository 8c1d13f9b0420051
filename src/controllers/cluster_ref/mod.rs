//! RedisClusterRef: keeps the status of a reference, and the ConfigMap that applications mount, as the cloud says.

pub mod config_map;
mod config_map_plan;
pub mod context;
pub mod follower;
pub mod input;
mod last_known;
pub(super) mod messages;
pub mod plan;
mod reconcile;
mod status;
