//! Which failure an NCP answer means, and whether a flush may have been executed. Two layers answer with codes of their
//! own, and their numbers overlap: (HTTP status, layer, code) decide together.

use super::super::error::{ErrorKind, Executed, TransportStage};

/// The layer that refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The API gateway: `{"error":{"errorCode":…}}`. The service never saw the request, unless the gateway lost it.
    Gateway,
    /// The Cloud DB service: `{"responseError":{"returnCode":…}}`, or a `returnCode` other than 0.
    Service,
    /// Neither can be recognised in the body.
    Unrecognised,
}

/// What a service's return code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CodeMeaning {
    NoSuchInstance,
    Busy,
    Authentication,
    /// 900, 1300: the service does not know itself.
    Internal,
    /// A code that no page explains.
    Unexplained,
}

impl CodeMeaning {
    fn of(code: Option<&str>) -> Self {
        match code {
            Some("5001017") => Self::NoSuchInstance,
            Some("25013" | "25033" | "23006" | "25017" | "23003" | "1007009") => Self::Busy,
            Some("800") => Self::Authentication,
            Some("900" | "1300") => Self::Internal,
            _ => Self::Unexplained,
        }
    }
}

/// What is known of a flush that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence<'a> {
    /// No whole answer came.
    Transport(TransportStage),
    /// An answer came that is not success.
    Response {
        /// Its HTTP status.
        http_status: u16,
        /// The layer that refused.
        layer: Layer,
        /// The layer's code.
        code: Option<&'a str>,
    },
}

/// Whether a flush may have been executed. "No" is said only of what is proven; anything else is unknown.
///
/// - No connection: no.
/// - The gateway: 400, 401, 403, 404, 413 and 429, each with a code that is documented for it: no. It forwards nothing of these.
/// - The service: a code that names a reason (no such instance, busy, authentication) is a refusal on every HTTP status
///   that the service has (2xx, 4xx, 500). A code that no page explains proves nothing, with any status.
/// - No layer in the body: unknown. Anything in between can make up a status.
/// - A redirect, a timeout, a reset, a 5xx without reason, a 2xx that cannot be read: unknown.
#[must_use]
pub fn flush_executed(evidence: Evidence<'_>) -> Executed {
    let refused = match evidence {
        Evidence::Transport(stage) => return stage.executed(),
        Evidence::Response { http_status, layer: Layer::Gateway, code } => matches!(
            (http_status, code.unwrap_or_default()),
            (400, "100")
                | (401, "200" | "210")
                | (403, "230")
                | (404, "300")
                | (413, "430")
                | (429, "400" | "410" | "420")
        ),
        Evidence::Response { http_status, layer: Layer::Service, code } => match CodeMeaning::of(code) {
            CodeMeaning::NoSuchInstance | CodeMeaning::Busy | CodeMeaning::Authentication => {
                matches!(http_status, 200..=299 | 400..=407 | 409..=500)
            }
            CodeMeaning::Internal | CodeMeaning::Unexplained => false,
        },
        Evidence::Response { layer: Layer::Unrecognised, .. } => false,
    };
    if refused { Executed::No } else { Executed::Unknown }
}

/// Which kind of failure an answer means.
#[must_use]
pub fn error_kind(http_status: u16, layer: Layer, code: Option<&str>) -> ErrorKind {
    match layer {
        Layer::Gateway => gateway_kind(http_status, code),
        Layer::Service => service_kind(http_status, code),
        Layer::Unrecognised => status_kind(http_status),
    }
}

fn gateway_kind(http_status: u16, code: Option<&str>) -> ErrorKind {
    match (http_status, code) {
        (401, Some("210")) => ErrorKind::PermissionDenied,
        // 404/300 is "no such API": about the endpoint, never about an instance.
        _ => status_kind(http_status),
    }
}

fn service_kind(http_status: u16, code: Option<&str>) -> ErrorKind {
    match (CodeMeaning::of(code), http_status) {
        (CodeMeaning::NoSuchInstance, _) => ErrorKind::NotFound,
        (CodeMeaning::Busy, _) => ErrorKind::Busy,
        (CodeMeaning::Authentication, _) => ErrorKind::CredentialsRejected,
        (CodeMeaning::Internal, _) => ErrorKind::Unavailable,
        // A refusal in the service's own words, though in words that no page explains.
        (CodeMeaning::Unexplained, 200..=299) => ErrorKind::BadRequest,
        (CodeMeaning::Unexplained, _) => status_kind(http_status),
    }
}

/// By the HTTP status alone. A 404 is not [`ErrorKind::NotFound`]: only 5001017 says that an instance does not exist.
fn status_kind(http_status: u16) -> ErrorKind {
    match http_status {
        401 => ErrorKind::CredentialsRejected,
        403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::UnexpectedResponse,
        408 | 500..=599 => ErrorKind::Unavailable,
        429 => ErrorKind::RateLimited,
        400..=499 => ErrorKind::BadRequest,
        _ => ErrorKind::UnexpectedResponse,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use Executed::{No, Unknown};
    use Layer::{Gateway, Service, Unrecognised};

    /// Every row of the documented tables, and the neighbours that differ in one of the three.
    const TABLE: &[(u16, Layer, Option<&str>, Executed, ErrorKind)] = &[
        (400, Gateway, Some("100"), No, ErrorKind::BadRequest),
        (400, Gateway, Some("900"), Unknown, ErrorKind::BadRequest),
        (400, Gateway, None, Unknown, ErrorKind::BadRequest),
        (401, Gateway, Some("200"), No, ErrorKind::CredentialsRejected),
        (401, Gateway, Some("210"), No, ErrorKind::PermissionDenied),
        (401, Gateway, Some("230"), Unknown, ErrorKind::CredentialsRejected),
        (401, Gateway, None, Unknown, ErrorKind::CredentialsRejected),
        (403, Gateway, Some("31337"), Unknown, ErrorKind::PermissionDenied),
        (404, Gateway, Some("31337"), Unknown, ErrorKind::UnexpectedResponse),
        (413, Gateway, None, Unknown, ErrorKind::BadRequest),
        (429, Gateway, Some("31337"), Unknown, ErrorKind::RateLimited),
        (429, Gateway, None, Unknown, ErrorKind::RateLimited),
        (403, Gateway, Some("230"), No, ErrorKind::PermissionDenied),
        (404, Gateway, Some("300"), No, ErrorKind::UnexpectedResponse),
        (405, Gateway, Some("100"), Unknown, ErrorKind::BadRequest),
        (413, Gateway, Some("430"), No, ErrorKind::BadRequest),
        (429, Gateway, Some("400"), No, ErrorKind::RateLimited),
        (429, Gateway, Some("410"), No, ErrorKind::RateLimited),
        (429, Gateway, Some("420"), No, ErrorKind::RateLimited),
        (500, Gateway, Some("900"), Unknown, ErrorKind::Unavailable),
        (500, Gateway, Some("100"), Unknown, ErrorKind::Unavailable),
        (503, Gateway, Some("500"), Unknown, ErrorKind::Unavailable),
        (504, Gateway, Some("510"), Unknown, ErrorKind::Unavailable),
        (200, Gateway, Some("100"), Unknown, ErrorKind::UnexpectedResponse),
        (200, Gateway, Some("25013"), Unknown, ErrorKind::UnexpectedResponse),
        (400, Service, Some("5001017"), No, ErrorKind::NotFound),
        (500, Service, Some("5001017"), No, ErrorKind::NotFound),
        (200, Service, Some("5001017"), No, ErrorKind::NotFound),
        (503, Service, Some("5001017"), Unknown, ErrorKind::NotFound),
        (400, Service, Some("25013"), No, ErrorKind::Busy),
        (500, Service, Some("25033"), No, ErrorKind::Busy),
        (400, Service, Some("23006"), No, ErrorKind::Busy),
        (400, Service, Some("25017"), No, ErrorKind::Busy),
        (400, Service, Some("23003"), No, ErrorKind::Busy),
        (500, Service, Some("1007009"), No, ErrorKind::Busy),
        (401, Service, Some("800"), No, ErrorKind::CredentialsRejected),
        (500, Service, Some("900"), Unknown, ErrorKind::Unavailable),
        (400, Service, Some("900"), Unknown, ErrorKind::Unavailable),
        (500, Service, Some("1300"), Unknown, ErrorKind::Unavailable),
        (400, Service, Some("31337"), Unknown, ErrorKind::BadRequest),
        (429, Service, Some("31337"), Unknown, ErrorKind::RateLimited),
        (500, Service, Some("31337"), Unknown, ErrorKind::Unavailable),
        (200, Service, Some("31337"), Unknown, ErrorKind::BadRequest),
        (400, Service, None, Unknown, ErrorKind::BadRequest),
        (302, Service, Some("25013"), Unknown, ErrorKind::Busy),
        (408, Service, Some("25013"), Unknown, ErrorKind::Busy),
        (429, Unrecognised, None, Unknown, ErrorKind::RateLimited),
        (200, Unrecognised, None, Unknown, ErrorKind::UnexpectedResponse),
        (302, Unrecognised, None, Unknown, ErrorKind::UnexpectedResponse),
        (400, Unrecognised, None, Unknown, ErrorKind::BadRequest),
        (401, Unrecognised, None, Unknown, ErrorKind::CredentialsRejected),
        (403, Unrecognised, None, Unknown, ErrorKind::PermissionDenied),
        (404, Unrecognised, None, Unknown, ErrorKind::UnexpectedResponse),
        (502, Unrecognised, None, Unknown, ErrorKind::Unavailable),
        (503, Unrecognised, None, Unknown, ErrorKind::Unavailable),
    ];

    #[test]
    fn the_table() {
        for &(http_status, layer, code, executed, kind) in TABLE {
            let row = format!("{http_status} {layer:?} {code:?}");
            assert_eq!(flush_executed(Evidence::Response { http_status, layer, code }), executed, "{row}");
            assert_eq!(error_kind(http_status, layer, code), kind, "{row}");
        }
    }

    /// Over every status and every code of both number spaces: "no" needs a refusal that a page documents.
    #[test]
    fn no_is_said_of_refusals_alone() {
        let known = TABLE.iter().filter_map(|(_, _, code, ..)| *code);
        let codes: BTreeSet<&str> = known.chain(["", "0", "1", "700", "80031"]).collect();
        let mut said = Vec::new();
        for code in codes.into_iter().map(Some).chain([None]) {
            for http_status in 100..=999 {
                for layer in [Gateway, Service, Unrecognised] {
                    if flush_executed(Evidence::Response { http_status, layer, code }) == No {
                        said.push((layer, code.unwrap(), http_status));
                    }
                }
            }
        }
        let gateway = said.iter().filter(|(layer, ..)| *layer == Gateway).map(|&(_, code, status)| (status, code));
        let documented = [
            (400, "100"),
            (401, "200"),
            (401, "210"),
            (403, "230"),
            (404, "300"),
            (413, "430"),
            (429, "400"),
            (429, "410"),
            (429, "420"),
        ];
        assert_eq!(gateway.collect::<BTreeSet<_>>(), BTreeSet::from(documented));
        let reasons = ["1007009", "23003", "23006", "25013", "25017", "25033", "5001017", "800"];
        let service = || said.iter().filter(|(layer, ..)| *layer == Service);
        assert_eq!(service().map(|(_, code, _)| *code).collect::<BTreeSet<_>>(), BTreeSet::from(reasons));
        assert!(service().all(|(.., status)| matches!(status, 200..=299 | 400..=407 | 409..=500)));
        assert!(said.iter().all(|(layer, ..)| *layer != Unrecognised));
    }

    #[test]
    fn transport_stages() {
        assert_eq!(flush_executed(Evidence::Transport(TransportStage::NotSent)), No);
        assert_eq!(flush_executed(Evidence::Transport(TransportStage::Connect)), No);
        assert_eq!(flush_executed(Evidence::Transport(TransportStage::Exchange)), Unknown);
    }
}
