#![no_main]
use managed_redis_operator::inventory::testing::keep_ncp_list;

managed_redis_operator_fuzz::target!(keep_ncp_list, LIST);
