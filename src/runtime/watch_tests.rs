//! The watch against a server that answers as it is told to.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State as Extracted};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kube::Client;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::RedisClusterRef;
use crate::runtime::watch_health::WatchSummary;

/// What the server answers to a watch. To a list it always answers with the objects there are.
#[derive(Clone, Debug)]
enum Answer {
    /// These events, and the connection stays open.
    Open(Vec<Value>),
    /// These events, and the end.
    Ends(Vec<Value>),
    Refused(u16),
}

#[derive(Debug, Default)]
struct Script {
    version: u64,
    answers: VecDeque<Answer>,
    /// Each request: the version a watch began from, none for a list.
    requests: Vec<Option<String>>,
}

type Shared = Arc<Mutex<Script>>;

fn object(name: &str, version: u64) -> Value {
    json!({
        "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef",
        "metadata": { "namespace": "shop", "name": name, "resourceVersion": version.to_string() },
        "spec": { "ncp": { "cloudDBInstanceNo": "1", "credentialsSecretRef": { "name": "ncp" } } },
    })
}

fn bookmark(version: u64) -> Value {
    let object = json!({ "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef",
                         "metadata": { "resourceVersion": version.to_string() } });
    json!({ "type": "BOOKMARK", "object": object })
}

fn gone() -> Value {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
                         "message": "too old resource version", "metadata": {} });
    json!({ "type": "ERROR", "object": status })
}

fn lines(events: &[Value]) -> Bytes {
    events.iter().map(|event| format!("{event}\n")).collect::<String>().into()
}

async fn serve(Extracted(script): Extracted<Shared>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let mut script = script.lock().unwrap();
    if value("watch").is_none() {
        script.requests.push(None);
        let version = script.version;
        let items = [object("carts", version)];
        let list = json!({ "kind": "RedisClusterRefList", "apiVersion": "managedredis.dev/v1alpha1",
                           "metadata": { "resourceVersion": version.to_string() }, "items": items });
        return list.to_string().into_response();
    }
    script.requests.push(value("resourceVersion").map(str::to_owned));
    match script.answers.pop_front().unwrap_or(Answer::Open(vec![])) {
        Answer::Ends(events) => lines(&events).into_response(),
        Answer::Open(events) => {
            let first = stream::iter([Ok::<_, std::io::Error>(lines(&events))]);
            Body::from_stream(first.chain(stream::pending())).into_response()
        }
        Answer::Refused(code) => {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                                 "message": "it is forbidden", "metadata": {} });
            (StatusCode::from_u16(code).unwrap(), status.to_string()).into_response()
        }
    }
}

struct Server {
    script: Shared,
    watch: Watch<RedisClusterRef>,
    state: Option<WatchState<RedisClusterRef>>,
    watches: Arc<Watches>,
}

impl Server {
    async fn start(version: u64, answers: impl IntoIterator<Item = Answer>, timing: Timing) -> Self {
        let script =
            Shared::new(Mutex::new(Script { version, answers: answers.into_iter().collect(), ..Script::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(serve).with_state(Arc::clone(&script));
        tokio::spawn(axum::serve(listener, router).into_future());
        let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        let (watches, id) = (Arc::default(), WatchId { kind: "RedisClusterRef", namespace: Some("shop".to_owned()) });
        let mut watch = Watch::new(Api::namespaced(client, "shop"), None, id, Arc::clone(&watches));
        watch.timing = timing;
        Self { script, watch, state: Some(WatchState::Start), watches }
    }

    /// Takes steps until the server was asked so often, and gives back what was asked.
    async fn until_asked(&mut self, times: usize) -> Vec<Option<String>> {
        loop {
            let asked = self.script.lock().unwrap().requests.clone();
            if asked.len() >= times {
                return asked;
            }
            self.state = Some(self.watch.step(self.state.take().unwrap()).await.1);
        }
    }
}

fn fast() -> Timing {
    let moment = Duration::from_millis(20);
    Timing { silence: moment, settled: moment, wait: Duration::from_millis(1), ..Timing::default() }
}

fn deaf(server: &Server) -> String {
    match server.watches.summary() {
        WatchSummary::Failing(why) => why,
        other => panic!("{other:?}"),
    }
}

fn from(version: &str) -> Option<String> {
    Some(version.to_owned())
}

#[tokio::test]
async fn a_silent_watch_is_begun_anew_by_a_list() {
    let timing = Timing { lasts_seconds: 0..1, overdue: Duration::from_millis(20), ..fast() };
    let mut server = Server::start(7, [], timing).await;
    assert_eq!(server.until_asked(4).await, [None, from("7"), None, from("7")]);
    assert_eq!(server.watch.failures, 0, "silence is no failure");
    assert_eq!(server.watches.summary(), WatchSummary::Working);
}

#[tokio::test]
async fn a_watch_that_hears_goes_on_where_it_was_when_its_time_is_over() {
    let timing = Timing { lasts_seconds: 0..1, silence: Duration::from_secs(3600), ..fast() };
    let mut server = Server::start(7, [Answer::Ends(vec![bookmark(9)])], timing).await;
    assert_eq!(server.until_asked(3).await, [None, from("7"), from("9")]);
}

/// One watch after the other may end in time and bring nothing, because its version lies in the future.
#[tokio::test]
async fn watches_that_bring_nothing_for_long_are_followed_by_a_list() {
    let timing = Timing { lasts_seconds: 0..1, silence: Duration::ZERO, ..fast() };
    let mut server = Server::start(7, [Answer::Ends(vec![bookmark(9)])], timing).await;
    assert_eq!(server.until_asked(3).await, [None, from("7"), None]);
}

/// It may have been a restore of etcd: then what the watch has seen lies in the future.
#[tokio::test]
async fn a_watch_that_ends_before_its_time_is_begun_anew_by_a_list() {
    let mut server = Server::start(7, [Answer::Ends(vec![bookmark(9)])], fast()).await;
    assert_eq!(server.until_asked(3).await, [None, from("7"), None]);
}

#[tokio::test]
async fn a_version_that_is_too_old_is_followed_by_a_list() {
    let mut server = Server::start(7, [Answer::Open(vec![bookmark(9), gone()])], fast()).await;
    assert_eq!(server.until_asked(3).await, [None, from("7"), None]);
    assert_eq!(server.watches.summary(), WatchSummary::Working, "that happens");
}

#[tokio::test]
async fn a_busy_api_server_is_not_asked_for_a_list_on_top() {
    let mut server = Server::start(7, [Answer::Refused(429)], fast()).await;
    server.watch.api = Api::namespaced(without_retries(&server).await, "shop");
    assert_eq!(server.until_asked(3).await, [None, from("7"), from("7")]);
}

async fn without_retries(server: &Server) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = kube::Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    config.default_retry = false;
    let router = Router::new().fallback(serve).with_state(Arc::clone(&server.script));
    tokio::spawn(axum::serve(listener, router).into_future());
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn lists_that_work_do_not_end_the_backoff_of_watches_that_do_not() {
    let timing = Timing { lasts_seconds: 0..1, overdue: Duration::from_millis(20), ..fast() };
    let refused = std::iter::repeat_n(Answer::Refused(403), 5);
    let mut server = Server::start(7, refused, timing).await;
    server.until_asked(10).await;
    server.until_asked(11).await;
    assert_eq!(server.watch.failures, 5);
    assert!(deaf(&server).contains("cannot watch redisclusterrefs in namespace shop"));
    // The sixth watch is accepted and lasts.
    server.until_asked(13).await;
    assert_eq!(server.watches.summary(), WatchSummary::Working);
}

#[tokio::test]
async fn a_watch_that_always_ends_at_once_is_told_in_the_end() {
    let mut server = Server::start(7, std::iter::repeat_n(Answer::Ends(vec![]), 4), fast()).await;
    server.until_asked(3).await;
    assert_eq!(server.watches.summary(), WatchSummary::Working, "once may be chance");
    server.until_asked(8).await;
    server.until_asked(9).await;
    assert!(deaf(&server).contains("ended too early"));
}

#[tokio::test]
async fn who_has_no_place_waits_for_one() {
    let mut server = Server::start(7, [], fast()).await;
    server.watches.limit(0, "too few open files".to_owned());
    let step = server.watch.step(WatchState::Start);
    assert!(timeout(Duration::ZERO, step).await.is_err(), "it waits");
    assert_eq!(deaf(&server), "too few open files");
    assert_eq!(server.watches.numbers()[0].failing, 1);
    assert!(server.script.lock().unwrap().requests.is_empty());
}

proptest! {
    #[test]
    fn waits_grow_to_a_bound_and_are_never_short(chances in proptest::collection::vec(0.0..1.0f64, 1..40)) {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(20));
        let mut whole = first;
        for (failures, chance) in (1..).zip(chances) {
            let wait = spread(Backoff::new(first, longest).after(failures), 0.5..=1.0, chance);
            prop_assert!(wait <= whole && wait >= whole / 2, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(longest);
        }
    }
}
