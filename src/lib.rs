//! managed-redis-operator
