//! What a fault makes of an answer.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use flate2::{Compress, Compression, Crc, FlushCompress};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::exchange::{Call, CloudReply, JSON, XML};
use crate::faults::FaultKind;
use crate::{kakao, ncp};

/// What is sent to the client.
pub(crate) enum Delivery {
    /// With this answer.
    Send(Response<Body>),
    /// The connection is closed before the first byte of an answer.
    Close,
    /// Nothing more happens until the client leaves.
    Hang,
}

/// The answer of the cloud itself, or what a fault makes of it. `reply` is none if the request was not carried out.
pub(crate) fn faulty_delivery(kind: &FaultKind, reply: Option<CloudReply>, call: &Call) -> Delivery {
    match kind {
        FaultKind::Hang => Delivery::Hang,
        FaultKind::DropBefore | FaultKind::DropAfter => Delivery::Close,
        FaultKind::Truncate { bytes } => Delivery::Send(truncated(reply.unwrap_or_else(empty), *bytes)),
        FaultKind::GzipBomb { bytes } => Delivery::Send(gzip_bomb(*bytes)),
        FaultKind::HalfJson | FaultKind::WrongTypes | FaultKind::Xml => {
            Delivery::Send(whole(mangled(kind, reply.unwrap_or_else(empty))))
        }
        _ => Delivery::Send(whole(replacement(kind, call))),
    }
}

/// An answer that goes out as it is.
pub(crate) fn whole(mut reply: CloudReply) -> Response<Body> {
    let body = std::mem::take(&mut reply.body);
    reply.into_response(Body::from(body))
}

fn empty() -> CloudReply {
    CloudReply::json(StatusCode::OK, &json!({}))
}

/// An answer in place of the cloud's own.
fn replacement(kind: &FaultKind, call: &Call) -> CloudReply {
    let code = |code: u16| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match kind {
        FaultKind::Status { code: status, body, content_type, retry_after } => {
            let mut reply = CloudReply::new(code(*status), "text/plain", body.clone().unwrap_or_default());
            if let Some(content_type) = content_type {
                reply.content_type = content_type.clone().into();
            }
            with_header(reply, RETRY_AFTER, retry_after.as_deref())
        }
        FaultKind::Redirect { location, code: status } => {
            let reply = CloudReply::new(code(status.unwrap_or(307)), "text/plain", "");
            with_header(reply, LOCATION, Some(location))
        }
        FaultKind::TooManyRequests { retry_after_seconds, error_code } if call.operation.is_ncp() => {
            ncp::too_many_requests(&error_code.unwrap_or(410).to_string(), *retry_after_seconds)
        }
        FaultKind::TooManyRequests { retry_after_seconds, .. } => {
            let reply = kakao::error(StatusCode::TOO_MANY_REQUESTS, "too many requests");
            ncp::with_retry_after(reply, *retry_after_seconds)
        }
        FaultKind::Gateway { status, error_code, message, xml } => {
            let reply = ncp::gateway((code(*status), error_code), message.as_deref().unwrap_or("injected"));
            if *xml { as_xml(reply) } else { reply }
        }
        FaultKind::Service { return_code, message, status, xml } => {
            let format = if *xml { ncp::Format::Xml } else { ncp::format_asked(call) };
            let message = message.as_deref().unwrap_or("injected");
            ncp::service(code(status.unwrap_or(400)), return_code, message, format)
        }
        FaultKind::DeepNesting { depth } => {
            let depth = usize::try_from(*depth).unwrap_or(usize::MAX);
            CloudReply::new(StatusCode::OK, JSON, ["[".repeat(depth), "]".repeat(depth)].concat())
        }
        _ => {
            let page = "<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>Welcome</h1></body></html>";
            CloudReply::new(StatusCode::OK, "text/html; charset=utf-8", page)
        }
    }
}

fn with_header(reply: CloudReply, name: HeaderName, value: Option<&str>) -> CloudReply {
    match value.map(HeaderValue::from_str) {
        Some(Ok(value)) => reply.header(name, value),
        _ => reply,
    }
}

/// The cloud's own answer, spoiled.
fn mangled(kind: &FaultKind, mut reply: CloudReply) -> CloudReply {
    match kind {
        FaultKind::Xml => as_xml(reply),
        FaultKind::WrongTypes => {
            reply.body = match serde_json::from_slice::<Value>(&reply.body) {
                Ok(body) => Bytes::from(wrong_types(body).to_string()),
                Err(_) => Bytes::from_static(b"<unexpected/>"),
            };
            reply
        }
        _ => {
            reply.body = reply.body.slice(..reply.body.len() / 2);
            reply
        }
    }
}

/// The answer as XML; one that is XML already stays as it is.
fn as_xml(mut reply: CloudReply) -> CloudReply {
    if let Ok(body) = serde_json::from_slice::<Value>(&reply.body) {
        reply.body = Bytes::from(crate::xml::document(&body));
        reply.content_type = XML.into();
    }
    reply
}

/// The same keys, but no value that could be read as what it was.
fn wrong_types(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, wrong_types(value))).collect(),
        Value::Array(entries) => entries.into_iter().map(wrong_types).collect(),
        Value::String(_) => json!([true]),
        Value::Number(number) => json!({"unexpected": number}),
        Value::Bool(_) => json!("neither"),
        Value::Null => json!(0),
    }
}

/// Announces the whole body, sends its first `bytes` and breaks off.
fn truncated(mut reply: CloudReply, bytes: usize) -> Response<Body> {
    let body = std::mem::take(&mut reply.body);
    let first = body.slice(..bytes.min(body.len().saturating_sub(1)));
    let broken = async {
        // What was sent so far is written out while this waits.
        tokio::task::yield_now().await;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "broken off by a fault"))
    };
    let parts = stream::iter([Ok(first)]).chain(stream::once(broken));
    let mut response = reply.into_response(Body::from_stream(parts));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    response
}

const BLOCK: usize = 256 * 1024;

/// One gzip member of `bytes` zeros. One block is packed; it refers to nothing before it, so it can be sent repeatedly.
fn gzip_bomb(bytes: u64) -> Response<Body> {
    const HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    const LAST_BLOCK: &[u8] = &[0x03, 0x00];
    let times = usize::try_from(bytes / BLOCK as u64).unwrap_or(usize::MAX);
    let rest = usize::try_from(bytes % BLOCK as u64).unwrap_or_default();
    let (block, rest) = (vec![0; BLOCK], vec![0; rest]);
    let (mut sum, mut block_sum) = (Crc::new(), Crc::new());
    block_sum.update(&block);
    (0..times).for_each(|_| sum.combine(&block_sum));
    sum.update(&rest);

    let mut tail = packed(&rest);
    tail.extend_from_slice(LAST_BLOCK);
    tail.extend(sum.sum().to_le_bytes());
    tail.extend((bytes & 0xffff_ffff).to_le_bytes().into_iter().take(4));
    let parts = stream::iter([Bytes::from_static(HEADER)])
        .chain(stream::iter(std::iter::repeat_n(Bytes::from(packed(&block)), times)))
        .chain(stream::iter([Bytes::from(tail)]))
        .map(Ok::<_, io::Error>);
    let reply = CloudReply::new(StatusCode::OK, JSON, "").header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    reply.into_response(Body::from_stream(parts))
}

/// Deflated without a last block, ending at a byte and needing nothing before it.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(bytes.len() / 100 + 64);
    let mut deflate = Compress::new(Compression::best(), false);
    if !bytes.is_empty() && deflate.compress_vec(bytes, &mut output, FlushCompress::Full).is_err() {
        output.clear();
    }
    output
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn the_bomb_is_one_valid_gzip_member() {
        let bytes = 3 * BLOCK as u64 + 17;
        let sent = to_bytes(gzip_bomb(bytes).into_body(), usize::MAX).await.unwrap();
        assert!(sent.len() < 4096, "{} bytes are no bomb", sent.len());
        let mut unpacked = Vec::new();
        flate2::bufread::GzDecoder::new(&sent[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked.len() as u64, bytes);
        assert!(unpacked.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn wrong_types_leave_no_value_as_it_was() {
        let body = json!({"returnCode": "0", "totalRows": 1, "isHa": true, "list": [null]});
        let want = json!({"returnCode": [true], "totalRows": {"unexpected": 1}, "isHa": "neither", "list": [0]});
        assert_eq!(wrong_types(body), want);
    }
}
