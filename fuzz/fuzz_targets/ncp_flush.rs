#![no_main]
use managed_redis_operator::cloud::testing::decode_ncp_flush;

managed_redis_operator_fuzz::target!(decode_ncp_flush, LIST);
