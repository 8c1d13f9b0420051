#![no_main]
use managed_redis_operator::cloud::testing::decode_kakao_flavors;

managed_redis_operator_fuzz::target!(decode_kakao_flavors, SINGLE);
