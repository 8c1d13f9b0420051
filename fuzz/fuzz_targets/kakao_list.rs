#![no_main]
use managed_redis_operator::inventory::testing::keep_kakao_list;

managed_redis_operator_fuzz::target!(keep_kakao_list, LIST);
