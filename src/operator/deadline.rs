//! A deadline for every request to the API server, so that a path that went silent is noticed.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tower::{BoxError, Layer, Service};

/// For a request about one object, and for the beginning of a watch.
const SINGLE: Duration = Duration::from_secs(10);
/// For the beginning of a list: the API server reads a page of large objects from etcd before it sends anything.
const LIST_BEGINS: Duration = Duration::from_secs(30);
/// For a whole page of a list.
const LIST: Duration = Duration::from_secs(60);
/// For a watch without `timeoutSeconds`: kube's default.
const WATCH: Duration = Duration::from_secs(290);
/// The API server ends a watch by itself, so one that outlives its time by this much is dead. The operator's own watches are given
/// up 5 s after their time.
const WATCH_MARGIN: Duration = Duration::from_secs(10);

/// How long an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// Until its head has come.
    head: Duration,
    /// Until its body has ended.
    whole: Duration,
}

/// The limit of a request, by its method and address.
fn limit(method: &Method, uri: &Uri) -> Limit {
    let pairs = || uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    if pairs().any(|(key, value)| key == "watch" && (value == "true" || value == "1")) {
        let seconds = pairs().find(|(key, _)| *key == "timeoutSeconds").and_then(|(_, value)| value.parse().ok());
        return Limit { head: SINGLE, whole: seconds.map_or(WATCH, Duration::from_secs) + WATCH_MARGIN };
    }
    if method == Method::GET && is_collection(uri.path()) {
        return Limit { head: LIST_BEGINS, whole: LIST };
    }
    Limit { head: SINGLE, whole: SINGLE }
}

/// Whether a path names all objects of a kind: `/api/v1/…` or `/apis/GROUP/VERSION/…`, then `[namespaces/NAME/]RESOURCE`.
fn is_collection(path: &str) -> bool {
    // The address of the API server may have a path of its own.
    let mut segments = path.split('/').skip_while(|segment| *segment != "api" && *segment != "apis");
    let version_parts = if segments.next() == Some("apis") { 2 } else { 1 };
    let rest: Vec<&str> = segments.skip(version_parts).filter(|segment| !segment.is_empty()).collect();
    matches!(rest.as_slice(), [_] | ["namespaces", _, _])
}

/// The API server took too long.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    /// Nothing came.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// What came did not come to its end.
    #[error("the answer of the API server did not end within {} s", .0.as_secs())]
    NoEnd(Duration),
}

/// Puts [`Deadlines`] around a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineLayer(fn(&Method, &Uri) -> Limit);

impl Default for DeadlineLayer {
    fn default() -> Self {
        Self(limit)
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlines<S>;

    fn layer(&self, inner: S) -> Deadlines<S> {
        Deadlines { inner, limit: self.0 }
    }
}

/// Ends requests and answers that take too long, and their connection with them: HTTP/1.1 cannot use a connection again whose answer
/// was not read to its end.
#[derive(Clone, Debug)]
pub(super) struct Deadlines<S> {
    inner: S,
    limit: fn(&Method, &Uri) -> Limit,
}

type TimedFuture<B> = Pin<Box<dyn Future<Output = Result<Response<TimedBody<B>>, BoxError>> + Send>>;

impl<S, R, B> Service<Request<R>> for Deadlines<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<TimedBody<B>>;
    type Error = BoxError;
    type Future = TimedFuture<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<R>) -> TimedFuture<B> {
        let limit = (self.limit)(request.method(), request.uri());
        let end = Instant::now() + limit.whole;
        let answer = tokio::time::timeout(limit.head, self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await.map_err(|_| Silence::NoAnswer(limit.head))?.map_err(Into::into)?;
            Ok(answer.map(|body| TimedBody::new(body, end, limit.whole)))
        })
    }
}

/// A body that fails when it did not end in time.
pub(super) struct TimedBody<B> {
    inner: Option<Pin<Box<B>>>,
    end: Pin<Box<Sleep>>,
    limit: Duration,
}

impl<B> TimedBody<B> {
    fn new(inner: B, end: Instant, limit: Duration) -> Self {
        Self { inner: Some(Box::pin(inner)), end: Box::pin(tokio::time::sleep_until(end)), limit }
    }
}

impl<B: Body> Body for TimedBody<B>
where
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = inner.as_mut().poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if self.end.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        // Its connection is closed with it.
        self.inner = None;
        Poll::Ready(Some(Err(Silence::NoEnd(self.limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(|inner| inner.size_hint()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body as AnyBody;
    use futures::StreamExt as _;
    use tower::service_fn;

    use super::*;

    const SHORT: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(3600);

    /// The result of a request for `/version`, if this is the API server's answer.
    async fn ask<F>(limit: fn(&Method, &Uri) -> Limit, answer: fn() -> F) -> Result<String, kube::Error>
    where
        F: Future<Output = Result<Response<AnyBody>, Infallible>> + Send + 'static,
    {
        let service = DeadlineLayer(limit).layer(service_fn(move |_: Request<kube::client::Body>| answer()));
        let request = Request::get("/version").body(Vec::new()).unwrap();
        kube::Client::new(service, "default").request_text(request).await
    }

    #[tokio::test]
    async fn a_request_without_an_answer_ends() {
        let error = ask(|_, _| Limit { head: SHORT, whole: LONG }, std::future::pending).await.unwrap_err();
        assert!(error.to_string().contains("the API server did not answer within"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_without_an_end_ends() {
        let endless = || async {
            let begun = futures::stream::once(async { Ok::<_, Infallible>("{") });
            Ok(Response::new(AnyBody::from_stream(begun.chain(futures::stream::pending()))))
        };
        let error = ask(|_, _| Limit { head: LONG, whole: SHORT }, endless).await.unwrap_err();
        let causes = format!("{error:?}");
        assert!(causes.contains("NoEnd"), "{causes}");
    }

    #[tokio::test]
    async fn an_answer_in_time_is_whole() {
        let text = ask(limit, || async { Ok(Response::new(AnyBody::from("ok"))) }).await.unwrap();
        assert_eq!(text, "ok");
    }

    #[test]
    fn each_kind_of_request_has_its_limit() {
        let of = |method: Method, uri: &str| limit(&method, &uri.parse().unwrap());
        let (single, list) = (Limit { head: SINGLE, whole: SINGLE }, Limit { head: LIST_BEGINS, whole: LIST });
        let kinds = "/apis/managedredis.dev/v1alpha1";
        for (uri, wanted) in [
            (format!("{kinds}/redisclusterrefs?limit=200"), list),
            (format!("https://host/prefix{kinds}/namespaces/shop/redisclusterrefs?&limit=200&continue=x"), list),
            (format!("{kinds}/namespaces/shop/redisclusterrefs/carts"), single),
            (format!("{kinds}/namespaces/shop/redisclusterrefs/carts/status"), single),
            (kinds.to_owned(), single),
            ("/api/v1/namespaces/shop/secrets/ncp?".to_owned(), single),
            ("/api/v1/namespaces/shop/secrets".to_owned(), list),
            ("/api/v1/namespaces/shop".to_owned(), single),
            ("/api/v1/namespaces".to_owned(), list),
            ("/version".to_owned(), single),
        ] {
            assert_eq!(of(Method::GET, &uri), wanted, "{uri}");
            assert_eq!(of(Method::POST, &uri), single, "{uri}");
        }
        let watch =
            of(Method::GET, &format!("{kinds}/redisclusterrefs?watch=true&timeoutSeconds=20&resourceVersion=1"));
        assert_eq!(watch, Limit { head: SINGLE, whole: Duration::from_secs(30) });
        let endless = of(Method::GET, &format!("{kinds}/redisclusterrefs?watch=1&timeoutSeconds=x"));
        assert_eq!(endless, Limit { head: SINGLE, whole: Duration::from_secs(300) });
    }
}
