//! Faults: which requests they meet, and how often.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exchange::Call;
use crate::model::NcpQuirks;
use crate::traffic::Operation;

const MOST_NESTED: u32 = 10_000_000;
const MOST_UNPACKED: u64 = 16 << 30;

/// Something that goes wrong with some requests.
///
/// As JSON: `{"operation": "ncp.flush", "target": "882701", "times": 1, "kind": "dropAfter"}` or
/// `{"operation": "*", "kind": {"status": {"code": 503, "retryAfter": "30"}}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The operation it meets; `*` is all of them.
    pub operation: Operation,
    /// Only requests about this cluster, instance or credential.
    #[serde(default)]
    pub target: Option<String>,
    /// How many requests it meets; absent or 0: all, until it is removed.
    #[serde(default)]
    pub times: Option<u32>,
    /// Whether the operation is carried out all the same. Each kind has a default of its own.
    #[serde(default)]
    pub execute: Option<bool>,
    /// What goes wrong.
    pub kind: FaultKind,
}

/// What goes wrong with a request.
///
/// `Delay` and `Quirks` let the request go on and meet other faults; of the others the first one added ends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FaultKind {
    /// Any answer at all. Not carried out by default.
    Status {
        /// HTTP status, 200 to 599.
        code: u16,
        /// The body; none by default.
        #[serde(default)]
        body: Option<String>,
        /// The content type; `text/plain` by default, "" for none.
        #[serde(default)]
        content_type: Option<String>,
        /// The Retry-After header: seconds, a date, or nonsense.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// Wait before anything is looked at.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// No answer until the client leaves. Not carried out by default.
    Hang,
    /// Close the connection without an answer and without having done anything.
    DropBefore,
    /// Carry it out, then close the connection without an answer.
    DropAfter,
    /// Announce the whole answer, send its first bytes, then close the connection. Carried out by default.
    Truncate {
        /// How many bytes of the body are sent, at most all but the last.
        bytes: usize,
    },
    /// The first half of the body as if it were all of it. Carried out by default.
    HalfJson,
    /// 200 with an HTML page, as a proxy in between would send it. Not carried out by default.
    Html,
    /// The right keys with values of wrong types. Carried out by default.
    WrongTypes,
    /// 200 with brackets in brackets. Not carried out by default.
    DeepNesting {
        /// How many brackets, at most 10,000,000.
        depth: u32,
    },
    /// 200 with a little gzip that unpacks to a lot of zeros. Not carried out by default.
    GzipBomb {
        /// How many bytes it unpacks to, at most 16 GiB.
        bytes: u64,
    },
    /// 429 in the cloud's own form. Not carried out by default.
    TooManyRequests {
        /// The Retry-After header.
        #[serde(default)]
        retry_after_seconds: Option<u32>,
        /// NCP's errorCode: 400 quota, 410 throttled (the default), 420 rate limited.
        #[serde(default)]
        error_code: Option<u16>,
    },
    /// A redirect. Not carried out by default.
    Redirect {
        /// Where to.
        location: String,
        /// HTTP status, 307 by default.
        #[serde(default)]
        code: Option<u16>,
    },
    /// The answer as XML, whatever was asked for. Carried out by default.
    Xml,
    /// An error of NCP's gateway. Not carried out by default.
    Gateway {
        /// HTTP status.
        status: u16,
        /// The errorCode.
        error_code: String,
        /// The message.
        #[serde(default)]
        message: Option<String>,
        /// As XML instead of JSON.
        #[serde(default)]
        xml: bool,
    },
    /// An error of NCP's service, in the format asked for. Not carried out by default.
    Service {
        /// The returnCode.
        return_code: String,
        /// The returnMessage.
        #[serde(default)]
        message: Option<String>,
        /// HTTP status, 400 by default.
        #[serde(default)]
        status: Option<u16>,
        /// As XML, whatever was asked for.
        #[serde(default)]
        xml: bool,
    },
    /// A good NCP answer that looks odd.
    Quirks(NcpQuirks),
}

/// Why a fault was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No HTTP status of an answer.
    #[error("{0} is not an HTTP status between 200 and 599")]
    Status(u16),
    /// The header cannot be sent.
    #[error("{0:?} cannot be sent as a header")]
    Header(String),
    /// Larger than the stand-in makes it.
    #[error("{value} is more than the most possible, {most}")]
    TooMuch {
        /// What was asked for.
        value: u64,
        /// The most there is.
        most: u64,
    },
    /// `execute` contradicts the kind.
    #[error("{0} says by itself whether the operation is carried out")]
    Execute(&'static str),
}

impl Fault {
    /// A fault that meets every request for `operation` until it is removed.
    pub fn new(operation: Operation, kind: FaultKind) -> Self {
        Self { operation, target: None, times: None, execute: None, kind }
    }

    /// Only the next `times` requests.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Only requests about one cluster, instance or credential.
    #[must_use]
    pub fn target(self, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..self }
    }

    /// Whether the operation is carried out all the same, instead of the kind's default.
    #[must_use]
    pub fn execute(self, execute: bool) -> Self {
        Self { execute: Some(execute), ..self }
    }

    fn check(&self) -> Result<(), FaultError> {
        let at_most = |value: u64, most: u64| {
            if value > most { Err(FaultError::TooMuch { value, most }) } else { Ok(()) }
        };
        let header = |text: &str| match axum::http::HeaderValue::from_str(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(FaultError::Header(text.to_owned())),
        };
        let status = |code: u16| if (200..600).contains(&code) { Ok(()) } else { Err(FaultError::Status(code)) };
        match &self.kind {
            FaultKind::Status { code, content_type, retry_after, .. } => {
                header(content_type.as_deref().unwrap_or_default())?;
                header(retry_after.as_deref().unwrap_or_default())?;
                status(*code)
            }
            FaultKind::Redirect { location, code } => {
                header(location)?;
                code.map_or(Ok(()), status)
            }
            FaultKind::Gateway { status: code, .. } => status(*code),
            FaultKind::Service { status: code, .. } => code.map_or(Ok(()), status),
            FaultKind::DeepNesting { depth } => at_most((*depth).into(), MOST_NESTED.into()),
            FaultKind::GzipBomb { bytes } => at_most(*bytes, MOST_UNPACKED),
            FaultKind::DropBefore | FaultKind::DropAfter | FaultKind::Delay { .. } | FaultKind::Quirks(_)
                if self.execute.is_some() =>
            {
                Err(FaultError::Execute(self.kind.name()))
            }
            _ => Ok(()),
        }
    }

    fn meets(&self, call: &Call) -> bool {
        self.operation.covers(call.operation) && self.target.as_ref().is_none_or(|target| call.targets.contains(target))
    }

    /// Whether a request that meets this fault is carried out.
    fn executes(&self) -> bool {
        let by_default = matches!(
            self.kind,
            FaultKind::DropAfter
                | FaultKind::Truncate { .. }
                | FaultKind::HalfJson
                | FaultKind::WrongTypes
                | FaultKind::Xml
        );
        self.execute.unwrap_or(by_default)
    }
}

impl FaultKind {
    /// The kind's name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Delay { .. } => "delay",
            Self::Hang => "hang",
            Self::DropBefore => "dropBefore",
            Self::DropAfter => "dropAfter",
            Self::Truncate { .. } => "truncate",
            Self::HalfJson => "halfJson",
            Self::Html => "html",
            Self::WrongTypes => "wrongTypes",
            Self::DeepNesting { .. } => "deepNesting",
            Self::GzipBomb { .. } => "gzipBomb",
            Self::TooManyRequests { .. } => "tooManyRequests",
            Self::Redirect { .. } => "redirect",
            Self::Xml => "xml",
            Self::Gateway { .. } => "gateway",
            Self::Service { .. } => "service",
            Self::Quirks(_) => "quirks",
        }
    }
}

/// A fault that waits for requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmedFault {
    /// By which it can be removed.
    pub id: u64,
    /// How many more requests it meets; none: all.
    pub left: Option<u32>,
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
}

/// What the faults have in store for one request.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    pub(crate) delay: Duration,
    pub(crate) quirks: NcpQuirks,
    /// What ends the request, if anything, and whether it is carried out all the same.
    pub(crate) ending: Option<(FaultKind, bool)>,
    /// The names of all faults that met it.
    pub(crate) names: Vec<String>,
}

/// All faults, in the order they were added.
#[derive(Default)]
pub(crate) struct Faults {
    armed: Vec<ArmedFault>,
    last_id: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) -> Result<u64, FaultError> {
        fault.check()?;
        self.last_id += 1;
        let left = fault.times.filter(|times| *times > 0);
        self.armed.push(ArmedFault { id: self.last_id, left, fault });
        Ok(self.last_id)
    }

    pub(crate) fn list(&self) -> &[ArmedFault] {
        &self.armed
    }

    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.armed.len();
        self.armed.retain(|armed| armed.id != id);
        self.armed.len() < before
    }

    /// Takes what meets a request; a fault behind one that ends the request is left for the next.
    pub(crate) fn take(&mut self, call: &Call) -> FaultPlan {
        let mut plan = FaultPlan::default();
        for armed in self.armed.iter_mut().filter(|armed| armed.fault.meets(call)) {
            match &armed.fault.kind {
                FaultKind::Delay { ms } => plan.delay += Duration::from_millis(*ms),
                FaultKind::Quirks(quirks) => plan.quirks = plan.quirks.and(*quirks),
                _ if plan.ending.is_some() => continue,
                kind => plan.ending = Some((kind.clone(), armed.fault.executes())),
            }
            plan.names.push(armed.fault.kind.name().to_owned());
            armed.left = armed.left.map(|left| left.saturating_sub(1));
        }
        self.armed.retain(|armed| armed.left != Some(0));
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_as_documented() {
        let parse = |text: &str| serde_json::from_str::<Fault>(text).unwrap().kind;
        assert_eq!(parse(r#"{"operation": "ncp.flush", "kind": "dropAfter"}"#), FaultKind::DropAfter);
        let status = FaultKind::Status { code: 503, body: None, content_type: None, retry_after: Some("30".into()) };
        assert_eq!(parse(r#"{"operation": "*", "kind": {"status": {"code": 503, "retryAfter": "30"}}}"#), status);
        assert!(serde_json::from_str::<Fault>(r#"{"operation": "*", "kind": {"delay": {"ms": 1, "s": 1}}}"#).is_err());
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let mut faults = Faults::default();
        let mut add = |kind| faults.add(Fault::new(Operation::Any, kind)).unwrap_err();
        let redirect = FaultKind::Redirect { location: "http://a\nb".into(), code: None };
        assert!(matches!(add(redirect), FaultError::Header(_)));
        let status = FaultKind::Status { code: 700, body: None, content_type: None, retry_after: None };
        assert_eq!(add(status), FaultError::Status(700));
        assert!(matches!(add(FaultKind::DeepNesting { depth: u32::MAX }), FaultError::TooMuch { .. }));
        let both = Fault::new(Operation::Any, FaultKind::DropAfter).execute(false);
        assert_eq!(faults.add(both), Err(FaultError::Execute("dropAfter")));
    }
}
