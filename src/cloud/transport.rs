//! The HTTP core: sends one operation over one connection, within its limits, and reads the response with bounds.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable as _};
use jiff::Timestamp;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, Url};
use secrecy::SecretString;
use tokio::time::Instant;

use super::RequestObserver;
use super::body::{Body, BodyError, Kept, Shape, TakeEntry};
use super::endpoint::is_loopback;
use super::error::{CloudError, ErrorKind, Executed, Failure, SetupError};
use super::exchange_error::{ExchangeError, describe};
use super::limits::{Gate, Lane, MemoryBudget, parse_retry_after};
use super::redact::{Masker, Redactor};
use super::response::{Response, trace_id};
use super::settings::{CloudSettings, RetrySettings};
use super::split::RawEntry;
use crate::api::Provider;

/// The time now; replaced in tests.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Memory for large bodies of all connections. Lists are cut as they arrive and take none of it, so this is only for responses that no
/// honest cloud sends: a single cluster, a catalog or XML beyond 64 KiB.
const BODY_BUDGET_BYTES: usize = 16 << 20;

/// What all connections of the process share: settings, HTTP clients, the observer.
#[derive(Clone)]
pub struct HttpCore {
    pub(crate) settings: Arc<CloudSettings>,
    clients: Arc<Clients>,
    observer: Arc<dyn RequestObserver>,
    /// What large bodies of all connections may take together.
    budget: Arc<MemoryBudget>,
    pub(crate) clock: Clock,
}

struct Clients {
    through_proxy: ClientPair,
    /// For endpoints on this machine, which no proxy can reach.
    direct: ClientPair,
}

#[derive(Clone)]
struct ClientPair {
    pooled: Client,
    /// Never reuses a connection: what it sends is not sent again when an idle connection turns out to be dead.
    fresh: Client,
}

impl HttpCore {
    /// Builds the HTTP clients.
    ///
    /// # Errors
    /// [`SetupError::Settings`] for a rate that makes no sense, [`SetupError::Http`] without usable TLS roots.
    pub fn new(settings: CloudSettings, observer: Arc<dyn RequestObserver>) -> Result<Self, SetupError> {
        settings.validate()?;
        let endpoints = || settings.kakao.urls().chain(settings.kakao_iam.urls()).chain(settings.ncp.urls());
        let (local, remote) = (endpoints().any(is_loopback), endpoints().any(|url| !is_loopback(url)));
        // Building a client reads the TLS roots, so there are two pairs only where both are of use.
        let through_proxy = ClientPair::new(&settings, !remote)?;
        let direct = if local && remote { ClientPair::new(&settings, true)? } else { through_proxy.clone() };
        Ok(Self {
            settings: Arc::new(settings),
            clients: Arc::new(Clients { through_proxy, direct }),
            observer,
            budget: Arc::new(MemoryBudget::new(BODY_BUDGET_BYTES)),
            clock: Arc::new(Timestamp::now),
        })
    }

    /// The settings, e.g. to look up the endpoint that is part of a connection's identity.
    #[must_use]
    pub fn settings(&self) -> &CloudSettings {
        &self.settings
    }

    /// The same core with another clock: for signatures, token expiry and the age of a Retry-After date.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// A new connection to `base`, with limits of its own.
    pub(crate) fn connection(&self, provider: Provider, base: Url) -> Transport {
        let clients = if is_loopback(&base) { &self.clients.direct } else { &self.clients.through_proxy };
        Transport {
            provider,
            clients: clients.clone(),
            base,
            gate: Gate::new(self.settings.qps, self.settings.burst),
            core: self.clone(),
        }
    }
}

impl ClientPair {
    fn new(settings: &CloudSettings, direct: bool) -> Result<Self, SetupError> {
        let build = |idle_connections: usize| {
            let builder = Client::builder()
                .user_agent(&settings.user_agent)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(settings.connect_timeout)
                .timeout(settings.request_timeout)
                .pool_max_idle_per_host(idle_connections)
                .pool_idle_timeout(Duration::from_secs(30))
                // Decompressed here, where what comes over the wire can be counted.
                .no_gzip()
                .referer(false);
            let builder = if direct { builder.no_proxy() } else { builder };
            builder.build().map_err(|error| SetupError::Http(describe(&error)))
        };
        Ok(Self { pooled: build(4)?, fresh: build(0)? })
    }
}

/// How often a read is tried before it has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempts {
    /// As often as [`RetrySettings`] says.
    Retried,
    /// Once, because the cloud is known to fail.
    Single,
}

/// One API operation: how it is requested and how its response is read.
pub(crate) trait Operation: Sync {
    /// The result of a successful response.
    type Output;
    /// What is collected from the entries of a list while they arrive.
    type Entries: Default + Send;
    /// The API's name of the operation, as in metrics and messages.
    const NAME: &'static str;
    /// Whether it may be repeated.
    const LANE: Lane;
    /// The list in a successful answer whose entries are taken in one by one as they come: its key, and how many objects deep
    /// that is at most.
    const LIST: Option<(&'static str, usize)> = None;
    /// Whether the body of a successful response does not matter, so that its beginning is enough.
    const HEAD_IS_ENOUGH: bool = false;

    /// The request, without what authorises it.
    fn request(&self) -> Request;

    /// Largest body that its answer may have.
    fn max_body(&self, settings: &CloudSettings) -> usize {
        settings.max_body_bytes
    }

    /// Takes in one entry of [`Operation::LIST`]. `refuse` makes an error of what cannot be read; a failure ends the answer.
    fn entry(&self, _: &mut Self::Entries, _: RawEntry<'_>, _: Refuse<'_>) -> Result<(), Failure> {
        Ok(())
    }

    /// Reads a response of any HTTP status except a redirect.
    fn decode(&self, response: &Response, entries: Self::Entries, refuse: Refuse<'_>) -> Result<Self::Output, Failure>;

    /// Removes secrets from the texts of the cloud in a success, if it has any.
    fn redact<'r>(_output: &mut Self::Output, _redactor: impl FnOnce() -> &'r Redactor) {}
}

/// Makes the public error of a failure in a part of a response: with its operation and without secrets.
pub(crate) type Refuse<'a> = &'a (dyn Fn(Failure) -> CloudError + Send + Sync);

/// A request without host and without authorisation.
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path segments below the endpoint; escaped when the URL is made.
    pub(crate) path: Vec<String>,
    pub(crate) payload: RequestPayload,
}

pub(crate) enum RequestPayload {
    Empty,
    /// Built from a secret, so neither shown nor logged.
    Json(serde_json::Value),
    Form(Vec<(String, String)>),
}

/// Adds what authorises one attempt.
pub(crate) trait Authorize: Sync {
    /// The headers for one attempt; called afresh for each.
    fn headers(&self, method: &Method, path_and_query: &str) -> Result<HeaderMap, Failure>;
    /// Texts that no error may show.
    fn secrets(&self) -> Vec<&SecretString>;
}

/// One connection: an endpoint and its limits. The credential comes with each call.
pub(crate) struct Transport {
    provider: Provider,
    base: Url,
    clients: ClientPair,
    gate: Gate,
    core: HttpCore,
}

impl Transport {
    /// Limits of the process.
    pub(crate) fn settings(&self) -> &CloudSettings {
        &self.core.settings
    }

    /// The time between two requests in the long run.
    pub(crate) fn pace(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.core.settings.qps).unwrap_or_default()
    }

    /// Runs an operation: a read as often as `attempts` says while that can help and the budget lasts, a mutation once.
    pub(crate) async fn run<O: Operation>(
        &self,
        operation: &O,
        auth: &dyn Authorize,
        attempts: Attempts,
    ) -> Result<O::Output, CloudError> {
        let outcome = match O::LANE {
            Lane::Mutation => self.attempt(operation, auth, Duration::ZERO).await,
            Lane::Read => self.read(operation, auth, attempts).await,
        };
        outcome.map_err(|failure| {
            let executed = if O::LANE == Lane::Read { Executed::No } else { failure.executed };
            failure.executed(executed).into_error(self.provider, O::NAME, &auth.secrets())
        })
    }

    async fn read<O: Operation>(
        &self,
        operation: &O,
        auth: &dyn Authorize,
        attempts: Attempts,
    ) -> Result<O::Output, Failure> {
        let RetrySettings { max_attempts, base_delay, max_delay, budget } = self.core.settings.retry;
        let max_attempts = match attempts {
            Attempts::Retried => max_attempts,
            Attempts::Single => 1,
        };
        let started = Instant::now();
        let backoff = ExponentialBuilder::default()
            .with_min_delay(base_delay)
            .with_max_delay(max_delay)
            .with_max_times(max_attempts.saturating_sub(1))
            .with_jitter();
        (|| async { self.attempt(operation, auth, budget.saturating_sub(started.elapsed())).await })
            .retry(backoff)
            .when(Failure::is_transient)
            .adjust(|failure, delay| {
                let delay = delay?.max(failure.retry_after.unwrap_or_default());
                (started.elapsed() + delay < budget).then_some(delay)
            })
            .notify(|failure, delay| {
                tracing::debug!(provider = %self.provider, operation = O::NAME, status = failure.http_status,
                    delay_ms = delay.as_millis(), "cloud request failed; retrying");
            })
            .await
    }

    async fn attempt<O: Operation>(
        &self,
        operation: &O,
        auth: &dyn Authorize,
        patience: Duration,
    ) -> Result<O::Output, Failure> {
        let _permit = self.gate.enter(O::LANE, patience).await.map_err(|paused| {
            Failure::not_sent(ErrorKind::RateLimited, "nothing was sent, for the cloud asked to wait")
                .retry_after(Some(paused.remaining))
        })?;
        let (request, sent) = self.build(O::LANE, operation.request(), auth)?;
        let secrets: Vec<&SecretString> = auth.secrets().into_iter().chain(&sent).collect();
        let masker = Masker::new(secrets.iter().copied());
        // Most answers need none.
        let redactor = LazyLock::new(|| Redactor::new(secrets.iter().copied()));
        let refuse = |failure: Failure| {
            let failure = Failure { http_status: failure.http_status.or(Some(200)), ..failure };
            failure.executed(Executed::No).redacted(&redactor).into_error(self.provider, O::NAME, &[])
        };
        let started = Instant::now();
        let exchanged = self.exchange(request, operation, &masker, &refuse).await;
        let seconds = started.elapsed().as_secs_f64();
        let code = match &exchanged {
            Ok((response, _)) => response.status.to_string(),
            Err(lost) => lost.code.to_owned(),
        };
        self.core.observer.observe(self.provider, O::NAME, &code, seconds);
        tracing::debug!(provider = %self.provider, operation = O::NAME, code, seconds, "cloud request");
        let (response, entries) = exchanged.map_err(|lost| lost.failure.redacted(&redactor))?;
        if (300..400).contains(&response.status) {
            // Not even for a mutation is a redirect proof that nothing happened, so `executed` stays unknown.
            let message = "it answered with a redirect, which is never followed; check the configured endpoint";
            return Err(response.failure(ErrorKind::UnexpectedResponse, message).redacted(&redactor));
        }
        let decoded = operation.decode(&response, entries, &refuse);
        let mut output = decoded.map_err(|failure| failure.redacted(&redactor))?;
        O::redact(&mut output, || &redactor);
        Ok(output)
    }

    /// The request, and the secrets that only this attempt has: signatures and tokens in its headers.
    fn build(
        &self,
        lane: Lane,
        request: Request,
        auth: &dyn Authorize,
    ) -> Result<(reqwest::RequestBuilder, Vec<SecretString>), Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::not_sent(ErrorKind::BadRequest, "the endpoint cannot be a base URL"))?
            .pop_if_empty()
            .extend(&request.path);
        let headers = auth.headers(&request.method, url.path())?;
        let sent = headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
        let sent = sent.map(SecretString::from).collect();
        let client = match lane {
            Lane::Read => &self.clients.pooled,
            Lane::Mutation => &self.clients.fresh,
        };
        let builder = client
            .request(request.method, url)
            .headers(headers)
            .header("accept", "application/json")
            .header("accept-encoding", "gzip");
        let request = match request.payload {
            RequestPayload::Empty => builder,
            RequestPayload::Json(body) => builder.json(&body),
            RequestPayload::Form(fields) => builder.form(&fields),
        };
        Ok((request, sent))
    }

    /// Sends, and reads the whole answer.
    async fn exchange<O: Operation>(
        &self,
        request: reqwest::RequestBuilder,
        operation: &O,
        masker: &Masker,
        refuse: Refuse<'_>,
    ) -> Result<(Response, O::Entries), ExchangeError> {
        let deadline = Instant::now() + self.core.settings.request_timeout;
        let mut response = request.send().await.map_err(|error| ExchangeError::from_reqwest(&error, None))?;
        let status = response.status().as_u16();
        let received_at = (self.core.clock)();
        let retry_after = self.obey_retry_after(status, response.headers(), received_at);
        let trace = trace_id(response.headers());
        let shape = shape_of(operation, status, &self.core.settings);
        let mut entries = O::Entries::default();
        let mut take = |entry: RawEntry<'_>| {
            operation.entry(&mut entries, RawEntry { json: &masker.masked(entry.json), ..entry }, refuse)
        };
        let kept = self.read_body(&mut response, shape, deadline, &mut take).await;
        let Kept { bytes: mut body, is_envelope } = kept.map_err(|lost| lost.in_answer(status, trace, retry_after))?;
        masker.mask(&mut body);
        let headers = std::mem::take(response.headers_mut());
        Ok((Response { status, headers, body, is_envelope, received_at, retry_after }, entries))
    }

    /// Reads a body to its end, or as far as it is wanted.
    async fn read_body(
        &self,
        response: &mut reqwest::Response,
        shape: Shape,
        deadline: Instant,
        take: TakeEntry<'_>,
    ) -> Result<Kept, ExchangeError> {
        let length = response.content_length().unwrap_or_default();
        if !shape.head_is_enough && usize::try_from(length).map_or(true, |length| length > shape.max) {
            return Err(BodyError::TooLarge(shape.max).into());
        }
        let status = response.status().as_u16();
        let mut body = Body::new(shape, is_gzip(response.headers()), take);
        let mut share = None;
        while let Some(piece) =
            response.chunk().await.map_err(|error| ExchangeError::from_reqwest(&error, Some(status)))?
        {
            body.count(&piece)?;
            for part in body.parts(&piece) {
                if !body.take_in(part)? {
                    return Ok(body.into_kept());
                }
                if share.is_none() && body.needs_budget() {
                    // Growing step by step it takes up to twice its length.
                    let waited = tokio::time::timeout_at(deadline, self.core.budget.share(2 * shape.max)).await;
                    share = Some(waited.map_err(|_| ExchangeError::timeout("no memory for a large answer was free"))?);
                }
            }
        }
        Ok(body.finish()?)
    }

    /// Pauses the whole connection when a 429 or 503 says for how long.
    fn obey_retry_after(&self, status: u16, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
        if !matches!(status, 429 | 503) {
            return None;
        }
        let wait = parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, SystemTime::from(now))?;
        self.gate.pause(wait);
        Some(wait)
    }
}

/// How the body of an answer is read: of what is no success only the beginning is looked at.
fn shape_of<O: Operation>(operation: &O, status: u16, settings: &CloudSettings) -> Shape {
    let is_success = (200..300).contains(&status);
    Shape {
        max: operation.max_body(settings),
        head_is_enough: O::HEAD_IS_ENOUGH || !is_success,
        list: O::LIST.filter(|_| is_success),
    }
}

fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip")
}

/// Reads bytes as an operation reads the answer that has them as its body, in one piece.
pub(crate) fn decode_bytes<O: Operation>(
    operation: &O,
    mut response: Response,
    refuse: Refuse<'_>,
) -> Result<O::Output, Failure> {
    let shape = shape_of(operation, response.status, &CloudSettings::default());
    let bytes = std::mem::take(&mut response.body);
    let mut entries = O::Entries::default();
    let read = {
        let mut take = |entry: RawEntry<'_>| operation.entry(&mut entries, entry, refuse);
        let mut body = Body::new(shape, false, &mut take);
        match body.take_in(&bytes) {
            Ok(true) => body.finish(),
            Ok(false) => Ok(body.into_kept()),
            Err(error) => Err(error),
        }
    };
    let lost = |error| ExchangeError::from(error).in_answer(response.status, response.trace_id(), None).failure;
    let kept = read.map_err(lost)?;
    (response.body, response.is_envelope) = (kept.bytes, kept.is_envelope);
    operation.decode(&response, entries, refuse)
}
