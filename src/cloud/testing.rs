//! Every decoder of an answer as a plain function of its bytes, for the property tests and the fuzz targets. Not part of the API.
//!
//! Each runs the very code that an answer of HTTP 200 goes through. A violated property is a panic.

use super::answer::Answer;
use super::kakao::testing as kakao;
use super::ncp::testing as ncp;

/// `GET /v1/clusters` of KakaoCloud.
pub fn decode_kakao_list(body: &[u8]) {
    kakao::list(&answer(body));
}

/// `GET /v1/clusters/{id}` of KakaoCloud.
pub fn decode_kakao_detail(body: &[u8]) {
    kakao::detail(&answer(body));
}

/// `GET /v1/redis/versions` of KakaoCloud.
pub fn decode_kakao_versions(body: &[u8]) {
    kakao::versions(&answer(body));
}

/// `GET /v1/redis/flavors` of KakaoCloud.
pub fn decode_kakao_flavors(body: &[u8]) {
    kakao::flavors(&answer(body));
}

/// `POST /v1/clusters/{id}/parameter-group/apply` of KakaoCloud.
pub fn decode_kakao_apply(body: &[u8]) {
    kakao::apply(&answer(body));
}

/// `POST /identity/v3/auth/tokens` of KakaoCloud IAM.
pub fn decode_kakao_token(body: &[u8]) {
    kakao::token(&answer(body));
}

/// `getCloudDBInstanceList` of NCP, JSON or XML by its first byte.
pub fn decode_ncp_list(body: &[u8]) {
    ncp::list(&answer(body));
}

/// `flushCloudDBInstance` of NCP, JSON or XML by its first byte.
pub fn decode_ncp_flush(body: &[u8]) {
    ncp::flush(&answer(body));
}

fn answer(body: &[u8]) -> Answer {
    Answer::received(200, body.to_vec())
}
