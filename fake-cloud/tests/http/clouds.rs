//! A running stand-in and a client that knows how to talk to it.

use fake_cloud::{FakeCloud, KAKAO_TOKEN, NCP_ACCESS_KEY, NCP_SECRET_KEY, Seed, sign};
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

pub(crate) const FLUSH: &str = "/clouddb/v2/flushCloudDBInstance";
pub(crate) const LIST: &str = "/clouddb/v2/getCloudDBInstanceList";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) struct Clouds {
    pub fake: FakeCloud,
    pub http: Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct ReceivedAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl ReceivedAnswer {
    pub(crate) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    /// The text at a JSON pointer, numbers included.
    pub(crate) fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {}", self.text)).clone()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// How a request to NCP is signed; the default is right.
#[derive(Clone)]
pub(crate) struct Signing {
    pub access_key: &'static str,
    pub secret_key: &'static str,
    pub late_ms: i64,
}

impl Default for Signing {
    fn default() -> Self {
        Self { access_key: NCP_ACCESS_KEY, secret_key: NCP_SECRET_KEY, late_ms: 0 }
    }
}

impl Clouds {
    pub(crate) async fn start() -> Self {
        Self::seeded(Seed::default()).await
    }

    pub(crate) async fn seeded(seed: Seed) -> Self {
        let http = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Self { fake: FakeCloud::start(seed).await.unwrap(), http }
    }

    /// A request to KakaoCloud with the seeded token.
    pub(crate) fn kakao(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.fake.url() + path).header("X-Auth-Token", KAKAO_TOKEN)
    }

    pub(crate) async fn get(&self, path: &str) -> ReceivedAnswer {
        ReceivedAnswer::of(self.kakao(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str) -> ReceivedAnswer {
        ReceivedAnswer::of(self.kakao(Method::POST, path).send().await.unwrap()).await
    }

    pub(crate) async fn apply(&self, id: &str) -> ReceivedAnswer {
        self.post(&format!("/v1/clusters/{id}/parameter-group/apply")).await
    }

    /// A signed request to NCP without a body.
    pub(crate) fn signed(&self, method: Method, path: &str, signing: &Signing) -> RequestBuilder {
        let timestamp = (Timestamp::now().as_millisecond() - signing.late_ms).to_string();
        let Signing { access_key, secret_key, .. } = signing;
        let signature = sign(secret_key, method.as_str(), path, &timestamp, access_key).unwrap();
        self.http
            .request(method, self.fake.url() + path)
            .header("x-ncp-apigw-timestamp", timestamp)
            .header("x-ncp-iam-access-key", *access_key)
            .header("x-ncp-apigw-signature-v2", signature)
    }

    /// A signed form.
    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.signed(Method::POST, path, &Signing::default()).form(fields)
    }

    pub(crate) async fn ncp(&self, path: &str, fields: &[(&str, &str)]) -> ReceivedAnswer {
        ReceivedAnswer::of(self.form(path, fields).send().await.unwrap()).await
    }

    pub(crate) async fn flush(&self, instance_no: &str) -> ReceivedAnswer {
        self.ncp(FLUSH, &[("cloudDBInstanceNo", instance_no), ("responseFormatType", "json")]).await
    }

    /// A list of instances in JSON, with more fields.
    pub(crate) async fn list(&self, fields: &[(&str, &str)]) -> ReceivedAnswer {
        let common = [("dbKindCode", "REDIS"), ("responseFormatType", "json")];
        self.ncp(LIST, &[&common, fields].concat()).await
    }

    /// A request to the admin API.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: &str) -> ReceivedAnswer {
        let request = self.http.request(method, self.fake.admin_url() + path).body(body.to_owned());
        ReceivedAnswer::of(request.send().await.unwrap()).await
    }
}
