//! One folder for each kind: a pure plan, the status it reports, and a thin shell that does what the plan says.

pub mod flush_request;
