//! The tenants' Secrets with credentials: read by `get` only, from the namespace of the object that names them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::messages;
use super::problem::Problem;
use crate::api::{Provider, Reason};
use crate::cloud::{Credentials, SetupError};

/// How old a Secret may be for a request that is made once.
const RECENT: Duration = Duration::from_secs(5);
/// A Secret that was not asked for in this time is not read any more. Every object asks more often, whatever happens.
const UNUSED: Duration = Duration::from_secs(3 * 3600);
/// Most Secrets of one namespace that are remembered. Beyond it, those of the same namespace that were asked for longest ago are
/// forgotten; they are read again when they are asked for. So no namespace costs another one its memory.
const MAX_OF_A_NAMESPACE: usize = 10_000;
/// How often the Secrets that are due are looked for.
const TICK: Duration = Duration::from_secs(1);

/// Which Secret, and for which provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretKey {
    /// The provider that its keys are for.
    pub provider: Provider,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How old what is known of a Secret may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Up to this old. From now on the Secret is read that often, and its users are told when its credential changes.
    Kept(Duration),
    /// A few seconds old.
    Recent,
    /// Read now: after the cloud rejected the credential, or because a person requested a refresh.
    ReadNow,
}

type ReadResult = Result<Credentials, Problem>;

/// What is known of one Secret. Locked while it is read, so that there is one request at a time.
#[derive(Default)]
struct CachedSecret {
    read: tokio::sync::Mutex<Option<(Instant, ReadResult)>>,
    terms: Mutex<Terms>,
}

#[derive(Clone, Copy)]
struct Terms {
    /// The shortest age that was asked for; none while nobody has to be told about changes.
    every: Option<Duration>,
    used: Instant,
}

impl Default for Terms {
    fn default() -> Self {
        Self { every: None, used: Instant::now() }
    }
}

/// Reads Secrets: each one once an interval, however many objects name it.
pub struct Secrets {
    client: Client,
    cache: Mutex<HashMap<SecretKey, Arc<CachedSecret>>>,
    /// Most Secrets of one namespace that are remembered.
    max_of_a_namespace: usize,
}

impl Secrets {
    /// Reads through this client.
    pub fn new(client: Client) -> Self {
        Self { client, cache: Mutex::default(), max_of_a_namespace: MAX_OF_A_NAMESPACE }
    }

    /// The credential in a Secret.
    ///
    /// # Errors
    /// A problem for the conditions: no such Secret, no such key, a value that cannot be a key.
    pub async fn get(&self, provider: Provider, namespace: &str, name: &str, freshness: Freshness) -> ReadResult {
        let asked_at = Instant::now();
        let key = SecretKey { provider, namespace: namespace.to_owned(), name: name.to_owned() };
        let secret = self.cached(&key);
        let max_age = {
            let mut terms = lock(&secret.terms);
            terms.used = asked_at;
            match freshness {
                Freshness::ReadNow => Duration::ZERO,
                Freshness::Recent => RECENT,
                Freshness::Kept(every) => {
                    terms.every = Some(terms.every.map_or(every, |have| have.min(every)));
                    every
                }
            }
        };
        self.refresh(&key, &secret, |read_at| read_at >= asked_at || asked_at.duration_since(read_at) < max_age).await.0
    }

    fn cached(&self, key: &SecretKey) -> Arc<CachedSecret> {
        let mut cache = lock(&self.cache);
        if let Some(secret) = cache.get(key) {
            return Arc::clone(secret);
        }
        make_room(&mut cache, &key.namespace, self.max_of_a_namespace);
        Arc::clone(cache.entry(key.clone()).or_default())
    }

    /// Reads the Secrets that are due, for ever, and reports each whose credential changed.
    pub async fn watch_over(&self, changed: impl Fn(&SecretKey)) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for (key, secret, every) in self.in_use() {
                let started = Instant::now();
                let (_, differs) =
                    self.refresh(&key, &secret, |read_at| started.saturating_duration_since(read_at) < every).await;
                if differs {
                    changed(&key);
                }
            }
        }
    }

    fn in_use(&self) -> Vec<(SecretKey, Arc<CachedSecret>, Duration)> {
        let mut cache = lock(&self.cache);
        cache.retain(|_, secret| lock(&secret.terms).used.elapsed() < UNUSED);
        let kept = cache
            .iter()
            .filter_map(|(key, secret)| Some((key.clone(), Arc::clone(secret), lock(&secret.terms).every?)));
        kept.collect()
    }

    /// What is known if it is `fresh`, else the result of a read; and whether that differs from what was known.
    async fn refresh(
        &self,
        key: &SecretKey,
        secret: &CachedSecret,
        fresh: impl Fn(Instant) -> bool,
    ) -> (ReadResult, bool) {
        let mut known = secret.read.lock().await;
        if let Some((_, outcome)) = known.as_ref().filter(|(read_at, _)| fresh(*read_at)) {
            return (outcome.clone(), false);
        }
        let started = Instant::now();
        let outcome = self.read(key.provider, &key.namespace, &key.name).await;
        // That the API server did not answer says nothing about the Secret; the next caller asks again.
        if outcome.as_ref().is_err_and(|problem| !problem.needs_a_person) {
            return (outcome, false);
        }
        let differs = known.as_ref().is_some_and(|(_, before)| identity(before) != identity(&outcome));
        *known = Some((started, outcome.clone()));
        (outcome, differs)
    }

    async fn read(&self, provider: Provider, namespace: &str, name: &str) -> ReadResult {
        let no_secret = |message| Problem::new(Reason::CredentialsNotFound, message);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = match api.get_opt(name).await {
            Ok(Some(secret)) => secret,
            Ok(None) => return Err(no_secret(messages::secret_missing(name, namespace))),
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                return Err(no_secret(messages::secret_forbidden(name, namespace)));
            }
            Err(error) => return Err(Problem::new(Reason::CloudUnavailable, messages::secret_unread(name, &error))),
        };
        let data: BTreeMap<String, Vec<u8>> =
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        let parsed = Credentials::from_secret(provider, &data);
        parsed.map_err(|error| {
            let message = messages::secret_unusable(name, &error);
            Problem { message, ..Problem::from(&SetupError::from(error)) }
        })
    }
}

/// Forgets the half of a namespace's Secrets that was used longest ago, if there are as many as are remembered.
fn make_room(cache: &mut HashMap<SecretKey, Arc<CachedSecret>>, namespace: &str, most: usize) {
    if cache.len() < most {
        return;
    }
    let here = cache.iter().filter(|(key, _)| key.namespace == namespace);
    let mut used: Vec<Instant> = here.map(|(_, secret)| lock(&secret.terms).used).collect();
    if used.len() < most {
        return;
    }
    let half = used.len() / 2;
    let (_, median, _) = used.select_nth_unstable(half);
    let median = *median;
    cache.retain(|key, secret| key.namespace != namespace || lock(&secret.terms).used > median);
}

/// Two results with the same identity are the same.
fn identity(outcome: &ReadResult) -> Result<String, &Problem> {
    outcome.as_ref().map(Credentials::fingerprint)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Every write is one assignment or insert, so a poisoned lock still guards a sound value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::StatusCode;
    use axum::{Json, Router};
    use serde_json::json;
    use tokio::sync::watch;

    use super::*;

    const INTERVAL: Freshness = Freshness::Kept(Duration::from_secs(60));

    /// An API server that has one Secret, or has not, and counts the requests.
    struct ApiServerStub {
        secrets: Secrets,
        asked: Arc<AtomicUsize>,
        token: watch::Sender<Option<&'static str>>,
    }

    impl ApiServerStub {
        async fn start(token: Option<&'static str>) -> Self {
            let (asked, token) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(token));
            let (counter, tokens) = (Arc::clone(&asked), token.subscribe());
            let router = Router::new().fallback(async move || {
                counter.fetch_add(1, Ordering::SeqCst);
                let token = *tokens.borrow();
                match token {
                    Some(token) => {
                        (StatusCode::OK, Json(json!({ "metadata": {}, "data": { "KAKAOCLOUD_TOKEN": token } })))
                    }
                    None => {
                        let status = json!({ "kind": "Status", "status": "Failure", "message": "", "reason": "NotFound",
                                             "code": 404 });
                        (StatusCode::NOT_FOUND, Json(status))
                    }
                }
            });
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(axum::serve(listener, router).into_future());
            let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
            Self { secrets: Secrets::new(client), asked, token }
        }

        async fn get(&self, freshness: Freshness) -> ReadResult {
            self.secrets.get(Provider::KakaoCloud, "shop", "kakaocloud", freshness).await
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_thousand_references_at_once_read_their_secret_once() {
        let server = ApiServerStub::start(Some("b25l")).await;
        let all = futures::future::join_all((0..1000).map(|_| server.get(INTERVAL))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(server.asked(), 1);
        assert!(server.get(Freshness::Recent).await.is_ok());
        assert_eq!(server.asked(), 1);
        assert!(server.get(Freshness::ReadNow).await.is_ok());
        assert_eq!(server.asked(), 2, "after a rejection it is read at once");
    }

    #[tokio::test]
    async fn a_missing_secret_is_looked_for_once_an_interval_or_when_a_person_asks() {
        let server = ApiServerStub::start(None).await;
        for _ in 0..10 {
            assert_eq!(server.get(INTERVAL).await.unwrap_err().reason, Reason::CredentialsNotFound);
        }
        assert_eq!(server.asked(), 1);
        server.token.send_replace(Some("b25l"));
        assert!(server.get(Freshness::ReadNow).await.is_ok());
        assert!(server.get(INTERVAL).await.is_ok());
        assert_eq!(server.asked(), 2);
    }

    #[tokio::test]
    async fn a_namespace_that_names_ever_other_secrets_is_bounded_and_costs_no_other() {
        let mut server = ApiServerStub::start(Some("b25l")).await;
        server.secrets.max_of_a_namespace = 10;
        server.secrets.get(Provider::KakaoCloud, "bank", "kakaocloud", INTERVAL).await.unwrap();
        for number in 0..100 {
            server.secrets.get(Provider::KakaoCloud, "shop", &number.to_string(), INTERVAL).await.unwrap();
            assert!(lock(&server.secrets.cache).len() <= 11);
        }
        assert_eq!(server.asked(), 101);
        server.secrets.get(Provider::KakaoCloud, "bank", "kakaocloud", INTERVAL).await.unwrap();
        server.secrets.get(Provider::KakaoCloud, "shop", "99", INTERVAL).await.unwrap();
        assert_eq!(server.asked(), 101, "the other namespace's and the newest are known");
    }

    #[tokio::test]
    async fn the_users_of_a_secret_are_told_when_its_credential_changes_and_only_then() {
        let server = ApiServerStub::start(Some("b25l")).await;
        server.get(Freshness::Kept(Duration::from_millis(1))).await.unwrap();
        let told = watch::Sender::new(0);
        let mut changes = told.subscribe();
        let watching = server.secrets.watch_over(|key| {
            assert_eq!((key.namespace.as_str(), key.name.as_str()), ("shop", "kakaocloud"));
            told.send_modify(|told| *told += 1);
        });
        let change = async {
            // It is read again, and nothing is told, for nothing changed.
            while server.asked() < 3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(*told.borrow(), 0);
            server.token.send_replace(Some("dHdv"));
            changes.wait_for(|told| *told == 1).await.unwrap();
        };
        tokio::select! {
            () = watching => unreachable!("it watches all the time"),
            done = tokio::time::timeout(Duration::from_secs(30), change) => done.unwrap(),
        }
    }
}
