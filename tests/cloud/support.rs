//! What the tests share: a running stand-in, clients for it, and a record of every attempt.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fake_cloud::{FakeCloud, Seed};
use managed_redis_operator::cloud::kakao::{KakaoClient, KakaoCredentials};
use managed_redis_operator::cloud::ncp::{NcpClient, NcpCredentials};
use managed_redis_operator::cloud::{
    CloudSettings, EndpointMap, EndpointSet, HttpCore, Provider, RequestObserver, RetrySettings,
};

pub(crate) const REGION: &str = "kr-central-2";

/// Settings for the stand-in at `url`: no waiting between attempts, no limit that a test does not ask for.
pub(crate) fn settings(url: &str) -> CloudSettings {
    let map = |set| EndpointMap::parse(set, &[url], false).unwrap();
    CloudSettings {
        kakao: map(EndpointSet::Kakao),
        kakao_iam: map(EndpointSet::KakaoIam),
        ncp: map(EndpointSet::Ncp),
        qps: 10_000.0,
        burst: 10_000,
        max_list_bytes: 4 << 20,
        retry: RetrySettings { base_delay: Duration::from_millis(1), ..RetrySettings::default() },
        ..CloudSettings::default()
    }
}

/// Every attempt, as metrics see it.
#[derive(Default)]
pub(crate) struct AttemptLog(Mutex<Vec<(Provider, &'static str, String)>>);

impl RequestObserver for AttemptLog {
    fn observe(&self, provider: Provider, operation: &'static str, code: &str, seconds: f64) {
        assert!(seconds >= 0.0);
        self.0.lock().unwrap().push((provider, operation, code.to_owned()));
    }
}

impl AttemptLog {
    /// The codes of one operation's attempts, in order.
    pub(crate) fn codes(&self, operation: &str) -> Vec<String> {
        let attempts = self.0.lock().unwrap();
        attempts.iter().filter(|(_, name, _)| *name == operation).map(|(_, _, code)| code.clone()).collect()
    }
}

/// A running stand-in and clients that know its credentials.
pub(crate) struct Fixture {
    pub(crate) fake: FakeCloud,
    pub(crate) attempts: Arc<AttemptLog>,
    pub(crate) core: HttpCore,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::with(Seed::default(), |_| {}).await
    }

    pub(crate) async fn with(seed: Seed, adjust: impl FnOnce(&mut CloudSettings)) -> Self {
        let fake = FakeCloud::start(seed).await.unwrap();
        let mut settings = settings(&fake.url());
        adjust(&mut settings);
        let attempts = Arc::new(AttemptLog::default());
        let core = HttpCore::new(settings, attempts.clone()).unwrap();
        Self { fake, attempts, core }
    }

    /// With an application credential, so that tokens are issued.
    pub(crate) fn kakao(&self) -> KakaoClient {
        self.kakao_with(fake_cloud::KAKAO_CREDENTIAL_SECRET)
    }

    pub(crate) fn kakao_with(&self, secret: &str) -> KakaoClient {
        let credentials = KakaoCredentials::ApplicationCredential {
            id: fake_cloud::KAKAO_CREDENTIAL_ID.into(),
            secret: secret.into(),
        };
        KakaoClient::new(&self.core, REGION, credentials).unwrap()
    }

    /// With a token that is used as it is.
    pub(crate) fn kakao_token(&self, token: &str) -> KakaoClient {
        KakaoClient::new(&self.core, REGION, KakaoCredentials::Token(token.into())).unwrap()
    }

    pub(crate) fn ncp(&self) -> NcpClient {
        self.ncp_with(fake_cloud::NCP_ACCESS_KEY, fake_cloud::NCP_SECRET_KEY)
    }

    pub(crate) fn ncp_with(&self, access_key: &str, secret_key: &str) -> NcpClient {
        let credentials = NcpCredentials { access_key: access_key.into(), secret_key: secret_key.into() };
        NcpClient::new(&self.core, "Public", credentials).unwrap()
    }
}
