//! fake-cloud
