//! A gateway that repeats the request in its answer, in every form: nothing of the credential and of the signature is shown.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fake_cloud::{KAKAO_TOKEN, NCP_ACCESS_KEY, NCP_SECRET_KEY};
use managed_redis_operator::api::Provider;
use managed_redis_operator::cloud::CloudError;
use managed_redis_operator::cloud::HttpCore;
use managed_redis_operator::cloud::kakao::{KakaoClient, KakaoCredentials};
use managed_redis_operator::cloud::ncp::{NcpClient, NcpCredentials};
use serde_json::json;

use crate::support::{REGION, settings};

type Write = fn(&str) -> String;

const FORMS: [(&str, Write); 7] = [
    ("as it is", |text| text.to_owned()),
    ("base64", |text| BASE64_STANDARD.encode(text)),
    ("percent", |text| text.bytes().map(|byte| format!("%{byte:02x}")).collect()),
    ("JSON in JSON", |text| text.bytes().map(|byte| format!("\\u{byte:04x}")).collect()),
    ("HTML", |text| text.bytes().map(|byte| format!("&#{byte};")).collect()),
    ("the first sixteen", |text| text.chars().take(16).collect()),
    ("zero-width", |text| text.chars().flat_map(|character| [character, '\u{200b}']).collect()),
];

/// What was sent with a request and nobody may see.
type Sent = Arc<Mutex<Vec<String>>>;

/// Answers every request with `status` and an error in the form of `provider`, which repeats the headers by `write`.
async fn gateway(provider: Provider, status: u16, write: Write) -> (String, Sent) {
    let sent = Sent::default();
    let seen = Arc::clone(&sent);
    let answer = move |headers: HeaderMap, _: Bytes| {
        let secret = ["x-ncp-apigw-signature-v2", "x-ncp-iam-access-key", "x-auth-token"];
        let values: Vec<String> =
            secret.iter().filter_map(|name| Some(headers.get(*name)?.to_str().ok()?.to_owned())).collect();
        let echo = values.iter().map(|value| write(value)).collect::<Vec<_>>().join(" and ");
        seen.lock().unwrap().extend(values);
        let body = match provider {
            Provider::Ncp if status == 200 => json!({ "flushCloudDBInstanceResponse": {
                "requestId": echo, "returnCode": "0", "returnMessage": echo, "totalRows": 0, "cloudDBInstanceList": [],
            }}),
            Provider::Ncp => {
                json!({ "error": { "errorCode": echo, "message": format!("no: {echo}"), "details": echo } })
            }
            Provider::KakaoCloud => json!({ "error": { "code": echo, "message": format!("no: {echo}") } }),
        };
        let status = StatusCode::from_u16(status).unwrap();
        async move { (status, [("content-type", "application/json")], body.to_string()) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, sent)
}

fn ncp(url: &str) -> NcpClient {
    let core = HttpCore::new(settings(url), Arc::new(())).unwrap();
    let credentials = NcpCredentials { access_key: NCP_ACCESS_KEY.into(), secret_key: NCP_SECRET_KEY.into() };
    NcpClient::new(&core, "Public", credentials).unwrap()
}

fn kakao(url: &str) -> KakaoClient {
    let core = HttpCore::new(settings(url), Arc::new(())).unwrap();
    KakaoClient::new(&core, REGION, KakaoCredentials::Token(KAKAO_TOKEN.into())).unwrap()
}

/// No eight characters in a row of what was sent, in this form or as they are.
fn shows_nothing(shown: &str, sent: &Sent, (form, write): (&str, Write)) {
    let sent = sent.lock().unwrap();
    assert!(!sent.is_empty());
    for secret in sent.iter().map(String::as_str).chain([NCP_SECRET_KEY]) {
        for text in [secret.to_owned(), write(secret)] {
            let characters: Vec<char> = text.chars().collect();
            for window in characters.windows(8) {
                let window: String = window.iter().collect();
                assert!(!shown.contains(&window), "{form}: {window} is in {shown}");
            }
        }
    }
}

#[tokio::test]
async fn errors_show_nothing_that_a_gateway_repeats() {
    for form in FORMS {
        for status in [400, 401, 403, 404, 409, 429, 500] {
            let (url, sent) = gateway(Provider::Ncp, status, form.1).await;
            let errors: [CloudError; 2] =
                [ncp(&url).flush("771203").await.unwrap_err(), ncp(&url).instances().await.unwrap_err()];
            for error in errors {
                shows_nothing(&format!("{error} {error:?}"), &sent, form);
            }
            let (url, sent) = gateway(Provider::KakaoCloud, status, form.1).await;
            let errors = [
                kakao(&url).clusters().await.unwrap_err(),
                kakao(&url).apply_parameter_group("c-1").await.unwrap_err(),
            ];
            for error in errors {
                shows_nothing(&format!("{error} {error:?}"), &sent, form);
            }
        }
    }
}

#[tokio::test]
async fn a_success_shows_nothing_that_a_gateway_repeats() {
    for form in FORMS {
        let (url, sent) = gateway(Provider::Ncp, 200, form.1).await;
        let reply = ncp(&url).flush("771203").await.unwrap();
        shows_nothing(&format!("{reply:?}"), &sent, form);
        assert_eq!(reply.return_code, "0", "{}: what is said stays out, what it means stays", form.0);
    }
}

#[tokio::test]
async fn who_refuses_a_credential_is_not_quoted_and_the_rest_is() {
    for (status, is_quoted) in [(400, true), (401, false), (403, false), (500, true)] {
        let (url, _) = gateway(Provider::Ncp, status, |_| "harmless".to_owned()).await;
        let error = ncp(&url).flush("771203").await.unwrap_err();
        assert_eq!(error.message.contains("no: harmless"), is_quoted, "{status}: {error}");
        assert_eq!(error.code.as_deref(), Some("harmless and harmless"), "{status}: the code stays");
    }
}
