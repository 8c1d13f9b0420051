use std::time::Duration;

use fake_cloud::{KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET, KAKAO_TOKEN, KakaoCredential, Seed};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::clouds::{Clouds, ReceivedAnswer};

const PATH: &str = "/identity/v3/auth/tokens";

fn body(id: &str, secret: &str) -> Value {
    let credential = json!({"id": id, "secret": secret});
    json!({"auth": {"identity": {"methods": ["application_credential"], "application_credential": credential}}})
}

async fn ask(clouds: &Clouds, id: &str, secret: &str) -> ReceivedAnswer {
    let request = clouds.http.post(clouds.fake.url() + PATH).json(&body(id, secret));
    ReceivedAnswer::of(request.send().await.unwrap()).await
}

async fn versions_with(clouds: &Clouds, token: &str) -> u16 {
    let request = clouds.http.get(clouds.fake.url() + "/v1/redis/versions").header("X-Auth-Token", token);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_credential_gets_a_token_that_works_until_it_ends() {
    let clouds = Clouds::start().await;
    let answer = ask(&clouds, KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET).await;
    assert_eq!(answer.status, 201);
    let token = answer.header("x-subject-token");
    assert!(!answer.text.contains(token), "the token belongs into the header alone");
    let end = answer.at("/token/expires_at");
    let end = end.as_str().unwrap();
    assert_eq!((end.len(), &end[19..20], &end[26..]), ("2026-01-01T00:00:00.000000Z".len(), ".", "Z"));
    let ahead = end.parse::<Timestamp>().unwrap().duration_since(Timestamp::now());
    assert!(ahead > SignedDuration::from_mins(715) && ahead <= SignedDuration::from_hours(12), "{ahead}");

    assert_eq!(versions_with(&clouds, token).await, 200);
    clouds.fake.state().advance(Duration::from_secs(12 * 60 * 60 + 1));
    assert_eq!(versions_with(&clouds, token).await, 401);
    assert_eq!(versions_with(&clouds, KAKAO_TOKEN).await, 200, "a seeded token does not end");
}

#[tokio::test]
async fn a_lifetime_can_be_shorter() {
    let mut seed = Seed::default();
    seed.kakao_cloud.token_lifetime_seconds = 60;
    let clouds = Clouds::seeded(seed).await;
    let short = ask(&clouds, KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET).await;
    clouds.fake.state().set_kakao_token_lifetime(600);
    let long = ask(&clouds, KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET).await;
    clouds.fake.state().advance(Duration::from_secs(61));
    assert_eq!(versions_with(&clouds, short.header("x-subject-token")).await, 401);
    assert_eq!(versions_with(&clouds, long.header("x-subject-token")).await, 200);
}

#[tokio::test]
async fn tokens_can_be_revoked_and_added() {
    let clouds = Clouds::start().await;
    let state = clouds.fake.state();
    let answer = ask(&clouds, KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET).await;
    assert_eq!((state.valid_kakao_tokens(), state.revoke_kakao_tokens(), state.valid_kakao_tokens()), (2, 2, 0));
    assert_eq!(versions_with(&clouds, answer.header("x-subject-token")).await, 401);
    assert_eq!(versions_with(&clouds, KAKAO_TOKEN).await, 401);
    state.add_kakao_token("mine", Some(60));
    assert_eq!(versions_with(&clouds, "mine").await, 200);
    state.advance(Duration::from_secs(61));
    assert_eq!(versions_with(&clouds, "mine").await, 401);
}

#[tokio::test]
async fn a_wrong_credential_is_refused_in_iam_s_own_form() {
    let clouds = Clouds::start().await;
    for (id, secret) in [(KAKAO_CREDENTIAL_ID, "wrong"), ("wrong", KAKAO_CREDENTIAL_SECRET)] {
        let answer = ask(&clouds, id, secret).await;
        assert_eq!(answer.status, 401);
        assert_eq!((answer.at("/error/code"), answer.at("/error/title")), (json!(401), json!("Unauthorized")));
        assert!(answer.at("/error/message").is_string());
        assert!(!answer.headers.contains_key("x-subject-token"));
    }
    clouds.fake.state().set_kakao_credentials(vec![KakaoCredential::new("other", "secret")]);
    assert_eq!(ask(&clouds, KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET).await.status, 401);
    assert_eq!(ask(&clouds, "other", "secret").await.status, 201);
}

#[tokio::test]
async fn a_malformed_request_for_a_token_is_refused() {
    let clouds = Clouds::start().await;
    let good = body(KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET);
    let post = |content_type: &'static str, body: String| {
        let request = clouds.http.post(clouds.fake.url() + PATH);
        let request = if content_type.is_empty() { request } else { request.header("Content-Type", content_type) };
        async move { request.body(body).send().await.unwrap().status().as_u16() }
    };
    assert_eq!(post("application/json; charset=utf-8", good.to_string()).await, 201);
    assert_eq!(post("", good.to_string()).await, 415);
    assert_eq!(post("text/plain", good.to_string()).await, 415);
    assert_eq!(post("application/json", "{".into()).await, 400);
    assert_eq!(post("application/json", r#"{"auth": {}}"#.into()).await, 400);
    let mut password = good.clone();
    password["auth"]["identity"]["methods"] = json!(["password"]);
    assert_eq!(post("application/json", password.to_string()).await, 400);
    let mut unknown = good;
    unknown["auth"]["scope"] = json!({});
    assert_eq!(post("application/json", unknown.to_string()).await, 400);
}
