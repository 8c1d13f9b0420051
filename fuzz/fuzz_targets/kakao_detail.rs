#![no_main]
use managed_redis_operator::inventory::testing::keep_kakao_detail;

managed_redis_operator_fuzz::target!(keep_kakao_detail, SINGLE);
