//! Credentials of the tenants: read by `get` only, from the namespace of the object that names them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::problem::Problem;
use crate::api::{Provider, Reason};
use crate::cloud::SetupError;
use crate::cloud::kakao::KakaoCredentials;
use crate::cloud::ncp::NcpCredentials;

/// How long a Secret that was read serves those who do not say for how long: requests that are made once.
const RECENT: Duration = Duration::from_secs(5);
/// A Secret that nobody asked for in this time is not read any more. Every object asks more often, whatever happens.
const UNUSED: Duration = Duration::from_secs(3 * 3600);
/// Secrets of one namespace that are remembered. Whoever names others all the time makes the operator forget those of its own
/// namespace that were asked for longest ago, which are read again when they are asked for.
const MOST_OF_A_NAMESPACE: usize = 10_000;
/// How often Secrets are looked through for those that are due.
const TICK: Duration = Duration::from_secs(1);

/// A credential of one of the clouds.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// For KakaoCloud.
    Kakao(Arc<KakaoCredentials>),
    /// For NCP.
    Ncp(Arc<NcpCredentials>),
}

impl Credentials {
    /// Equal for equal credentials; not for display.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Kakao(credentials) => credentials.fingerprint(),
            Self::Ncp(credentials) => credentials.fingerprint(),
        }
    }
}

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
    /// Up to this old. The Secret is read again so often, and who uses it is told when it changes.
    Kept(Duration),
    /// A few seconds.
    Recent,
    /// Read after now: after a rejection, or because a person asks.
    Anew,
}

type Outcome = Result<Credentials, Problem>;

/// What is known of one Secret. Locked while it is read, so that there is one request at a time.
#[derive(Default)]
struct Slot {
    read: tokio::sync::Mutex<Option<(Instant, Outcome)>>,
    terms: Mutex<Terms>,
}

#[derive(Clone, Copy)]
struct Terms {
    /// The shortest age that was asked for; none while nobody wants to be told of changes.
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
    slots: Mutex<HashMap<SecretKey, Arc<Slot>>>,
    /// Secrets of one namespace that are remembered.
    most: usize,
}

impl Secrets {
    /// Reads through this client.
    pub fn new(client: Client) -> Self {
        Self { client, slots: Mutex::default(), most: MOST_OF_A_NAMESPACE }
    }

    /// The credential in a Secret.
    ///
    /// # Errors
    /// A problem for the conditions: no such Secret, no such key, a value that cannot be a key.
    pub async fn get(&self, provider: Provider, namespace: &str, name: &str, freshness: Freshness) -> Outcome {
        let asked_at = Instant::now();
        let key = SecretKey { provider, namespace: namespace.to_owned(), name: name.to_owned() };
        let slot = self.slot(&key);
        let most = {
            let mut terms = lock(&slot.terms);
            terms.used = asked_at;
            match freshness {
                Freshness::Anew => Duration::ZERO,
                Freshness::Recent => RECENT,
                Freshness::Kept(every) => {
                    terms.every = Some(terms.every.map_or(every, |have| have.min(every)));
                    every
                }
            }
        };
        self.refresh(&key, &slot, |read_at| read_at >= asked_at || asked_at.duration_since(read_at) < most).await.0
    }

    fn slot(&self, key: &SecretKey) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        make_room(&mut slots, &key.namespace, self.most);
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    /// Reads the Secrets that are due, all the time, and tells of each whose credential is another.
    pub async fn watch_over(&self, changed: impl Fn(&SecretKey)) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for (key, slot, every) in self.in_use() {
                let started = Instant::now();
                let (_, differs) =
                    self.refresh(&key, &slot, |read_at| started.saturating_duration_since(read_at) < every).await;
                if differs {
                    changed(&key);
                }
            }
        }
    }

    fn in_use(&self) -> Vec<(SecretKey, Arc<Slot>, Duration)> {
        let mut slots = lock(&self.slots);
        slots.retain(|_, slot| lock(&slot.terms).used.elapsed() < UNUSED);
        let kept =
            slots.iter().filter_map(|(key, slot)| Some((key.clone(), Arc::clone(slot), lock(&slot.terms).every?)));
        kept.collect()
    }

    /// What is known if it is `fresh`, else what a read brings; and whether that differs from what was known.
    async fn refresh(&self, key: &SecretKey, slot: &Slot, fresh: impl Fn(Instant) -> bool) -> (Outcome, bool) {
        let mut known = slot.read.lock().await;
        if let Some((_, outcome)) = known.as_ref().filter(|(read_at, _)| fresh(*read_at)) {
            return (outcome.clone(), false);
        }
        let started = Instant::now();
        let outcome = self.read(key.provider, &key.namespace, &key.name).await;
        // What the API server could not tell now is no news about the Secret, and is asked for again by the next.
        if outcome.as_ref().is_err_and(|problem| !problem.needs_a_person) {
            return (outcome, false);
        }
        let differs = known.as_ref().is_some_and(|(_, before)| identity(before) != identity(&outcome));
        *known = Some((started, outcome.clone()));
        (outcome, differs)
    }

    async fn read(&self, provider: Provider, namespace: &str, name: &str) -> Outcome {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = match api.get_opt(name).await {
            Ok(Some(secret)) => secret,
            Ok(None) => {
                let message = format!("Secret {name} is not in namespace {namespace}: create it, or correct its name");
                return Err(Problem::new(Reason::CredentialsNotFound, message));
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                let message =
                    format!("the operator may not get Secret {name} in namespace {namespace}: allow it by a Role");
                return Err(Problem::new(Reason::CredentialsNotFound, message));
            }
            Err(error) => {
                let message = format!("Secret {name} could not be read from the Kubernetes API: {error}");
                return Err(Problem::new(Reason::CloudUnavailable, message));
            }
        };
        let data: BTreeMap<String, Vec<u8>> =
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        let parsed = match provider {
            Provider::KakaoCloud => {
                KakaoCredentials::from_secret(&data).map(|found| Credentials::Kakao(Arc::new(found)))
            }
            Provider::Ncp => NcpCredentials::from_secret(&data).map(|found| Credentials::Ncp(Arc::new(found))),
        };
        parsed.map_err(|error| {
            let problem = Problem::from(&SetupError::from(error));
            Problem { message: format!("Secret {name}: {}", problem.message), ..problem }
        })
    }
}

/// Forgets the half of a namespace's Secrets that was used longest ago, if there are as many as may be.
fn make_room(slots: &mut HashMap<SecretKey, Arc<Slot>>, namespace: &str, most: usize) {
    if slots.len() < most {
        return;
    }
    let here = slots.iter().filter(|(key, _)| key.namespace == namespace);
    let mut used: Vec<Instant> = here.map(|(_, slot)| lock(&slot.terms).used).collect();
    if used.len() < most {
        return;
    }
    let half = used.len() / 2;
    let (_, median, _) = used.select_nth_unstable(half);
    let median = *median;
    slots.retain(|key, slot| key.namespace != namespace || lock(&slot.terms).used > median);
}

/// What makes two outcomes the same.
fn identity(outcome: &Outcome) -> Result<String, &Problem> {
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

    /// An API server that knows one Secret, or does not, and counts who asks.
    struct Server {
        secrets: Secrets,
        asked: Arc<AtomicUsize>,
        token: watch::Sender<Option<&'static str>>,
    }

    impl Server {
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

        async fn get(&self, freshness: Freshness) -> Outcome {
            self.secrets.get(Provider::KakaoCloud, "shop", "kakaocloud", freshness).await
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn a_thousand_references_at_once_read_their_secret_once() {
        let server = Server::start(Some("b25l")).await;
        let all = futures::future::join_all((0..1000).map(|_| server.get(INTERVAL))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(server.asked(), 1);
        assert!(server.get(Freshness::Recent).await.is_ok());
        assert_eq!(server.asked(), 1);
        assert!(server.get(Freshness::Anew).await.is_ok());
        assert_eq!(server.asked(), 2, "after a rejection it is read at once");
    }

    #[tokio::test]
    async fn a_missing_secret_is_looked_for_once_an_interval_or_when_a_person_asks() {
        let server = Server::start(None).await;
        for _ in 0..10 {
            assert_eq!(server.get(INTERVAL).await.unwrap_err().reason, Reason::CredentialsNotFound);
        }
        assert_eq!(server.asked(), 1);
        server.token.send_replace(Some("b25l"));
        assert!(server.get(Freshness::Anew).await.is_ok());
        assert!(server.get(INTERVAL).await.is_ok());
        assert_eq!(server.asked(), 2);
    }

    #[tokio::test]
    async fn a_namespace_that_names_ever_other_secrets_is_bounded_and_costs_no_other() {
        let mut server = Server::start(Some("b25l")).await;
        server.secrets.most = 10;
        server.secrets.get(Provider::KakaoCloud, "bank", "kakaocloud", INTERVAL).await.unwrap();
        for number in 0..100 {
            server.secrets.get(Provider::KakaoCloud, "shop", &number.to_string(), INTERVAL).await.unwrap();
            assert!(lock(&server.secrets.slots).len() <= 11);
        }
        assert_eq!(server.asked(), 101);
        server.secrets.get(Provider::KakaoCloud, "bank", "kakaocloud", INTERVAL).await.unwrap();
        server.secrets.get(Provider::KakaoCloud, "shop", "99", INTERVAL).await.unwrap();
        assert_eq!(server.asked(), 101, "the other namespace's and the newest are known");
    }

    #[tokio::test]
    async fn who_uses_a_secret_is_told_when_its_credential_changes_and_only_then() {
        let server = Server::start(Some("b25l")).await;
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
