//! HTTP long-polling: a GET waits for packets, a POST brings them, several packets in one payload.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use patio_proto::{
    encode::{Encoded, Form},
    engine::{CloseReason, DecodeError, Packet, Protocol, Transport, jsonp, payload},
};
use tokio::time::timeout;

use crate::{
    engine::{
        Application,
        request::{Answer, Asked, answer, change_headers},
        session::{PollTurn, Session},
    },
    http::compression,
};

/// A request of a session that polls.
pub(in crate::engine) async fn request<A, B>(
    session: &Arc<Session<A>>,
    asked: &Asked,
    parts: &Parts,
    body: B,
    headers: HeaderMap,
) -> Answer
where
    A: Application,
    B: http_body::Body + Send,
    B::Data: Buf + Send,
{
    match parts.method {
        Method::GET => get(session, asked, parts, headers).await,
        Method::POST => post(session, asked, parts, body, headers).await,
        _ => answer(StatusCode::INTERNAL_SERVER_ERROR, headers, Bytes::new()),
    }
}

/// Ends a session whose request was given up by the client before it was answered.
struct Unanswered<'a, A: Application>(Option<&'a Arc<Session<A>>>);

impl<A: Application> Drop for Unanswered<'_, A> {
    fn drop(&mut self) {
        if let Some(session) = self.0 {
            broken(session);
        }
    }
}

/// A request that failed ends its session, unless that has gone on over a WebSocket meanwhile.
fn broken<A: Application>(session: &Arc<Session<A>>) {
    if session.transport() == Transport::Polling {
        session.close(CloseReason::TransportError);
    }
}

async fn get<A: Application>(
    session: &Arc<Session<A>>,
    asked: &Asked,
    parts: &Parts,
    headers: HeaderMap,
) -> Answer {
    let packets = match session.poll() {
        PollTurn::Now(packets) => packets,
        PollTurn::Later(later) => {
            let mut unanswered = Unanswered(Some(session));
            let packets = later.await;
            unanswered.0 = None;
            match packets {
                Ok(packets) => packets,
                // The session ended without a word.
                Err(_) => return answer(StatusCode::BAD_REQUEST, headers, Bytes::new()),
            }
        }
        PollTurn::Overlap => return answer(StatusCode::BAD_REQUEST, headers, Bytes::new()),
    };
    payload_answer(session, asked, parts, packets, headers)
}

/// Packets as the body of an answer.
pub(in crate::engine) fn payload_answer<A: Application>(
    session: &Arc<Session<A>>,
    asked: &Asked,
    parts: &Parts,
    packets: Vec<Arc<Encoded>>,
    mut headers: HeaderMap,
) -> Answer {
    let config = &session.engine().config;
    let takes_binary = session.takes_binary() && asked.jsonp.is_none();
    let (mut body, content_type) = encode(session.protocol(), takes_binary, &packets);
    if let Some(index) = &asked.jsonp {
        body = jsonp::response(index, &String::from_utf8_lossy(&body)).into();
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    calm_old_browsers(parts, &mut headers);
    if let Some(threshold) = config.http_compression
        && packets.iter().any(|packet| packet.may_compress())
        && let Some((encoding, small)) =
            compression::compress(&body, parts.headers.get(header::ACCEPT_ENCODING), threshold)
    {
        headers.insert(header::CONTENT_ENCODING, encoding.header_value());
        body = small;
    }
    change_headers(session.engine(), config.headers.as_ref(), &mut headers, parts);
    answer(StatusCode::OK, headers, session.body(body))
}

/// Old Internet Explorers take a payload for an attack.
fn calm_old_browsers(parts: &Parts, headers: &mut HeaderMap) {
    let agent = parts.headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    if contains(agent, b";MSIE") || contains(agent, b"Trident/") {
        headers.insert(header::X_XSS_PROTECTION, HeaderValue::from_static("0"));
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn encode(protocol: Protocol, takes_binary: bool, packets: &[Arc<Encoded>]) -> (Vec<u8>, &'static str) {
    const TEXT: &str = "text/plain; charset=UTF-8";
    match protocol {
        Protocol::V4 => {
            let mut body = Vec::new();
            for packet in packets {
                if !body.is_empty() {
                    body.push(payload::SEPARATOR);
                }
                body.extend_from_slice(&packet.wire(Form::PollV4));
            }
            (body, TEXT)
        }
        Protocol::V3 => {
            let binary = takes_binary && packets.iter().any(|packet| packet.is_binary());
            let (form, content_type) = if binary {
                (Form::PollV3Binary, "application/octet-stream")
            } else {
                (Form::PollV3Text, TEXT)
            };
            let mut body = Vec::new();
            for packet in packets {
                body.extend_from_slice(&packet.wire(form));
            }
            (body, content_type)
        }
    }
}

async fn post<A, B>(
    session: &Arc<Session<A>>,
    asked: &Asked,
    parts: &Parts,
    body: B,
    mut headers: HeaderMap,
) -> Answer
where
    A: Application,
    B: http_body::Body + Send,
    B::Data: Buf + Send,
{
    let config = &session.engine().config;
    let content_type = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let octets = content_type == b"application/octet-stream";
    if octets && session.protocol() == Protocol::V4 {
        session.close(CloseReason::TransportError);
        return answer(StatusCode::BAD_REQUEST, headers, Bytes::new());
    }
    let Some(mut posting) = session.begin_post() else {
        // Two POSTs at once: nobody could say which packets come first.
        session.close(CloseReason::TransportError);
        return answer(StatusCode::BAD_REQUEST, headers, Bytes::new());
    };
    let mut unanswered = Unanswered(Some(session));
    // A peer that sends a body byte by byte has as long as one that is silent.
    let time = config.timing.ping_interval + config.timing.ping_timeout;
    let body = tokio::select! {
        body = timeout(time, read(body, config.max_http_buffer_size)) => body.unwrap_or(Err(BodyError::Broken)),
        () = posting.unwanted() => Err(BodyError::Unwanted),
    };
    if body.is_err() {
        unanswered.0 = None;
    }
    let body = match body {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            session.engine().counters.large_bodies.add(1);
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            return answer(StatusCode::PAYLOAD_TOO_LARGE, headers, Bytes::new());
        }
        Err(error) => {
            if let BodyError::Broken = error {
                broken(session);
            }
            return answer(StatusCode::BAD_REQUEST, headers, Bytes::new());
        }
    };
    let mut packets = Vec::new();
    let limit = config.limits.packets_per_payload;
    let read = decode(session.protocol(), octets, asked.jsonp.is_some(), body, limit, &mut packets);
    if let Err(error) = read {
        session.engine().counters.bad_packets.add(1);
        tracing::debug!(sid = session.sid(), %error, "bad payload");
    }
    // The next packets are taken when these were. An error means that the session ended meanwhile.
    let _ = posting.finish(packets, read.is_err()).await;
    unanswered.0 = None;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    calm_old_browsers(parts, &mut headers);
    change_headers(session.engine(), config.headers.as_ref(), &mut headers, parts);
    answer(StatusCode::OK, headers, Bytes::from_static(b"ok"))
}

fn decode(
    protocol: Protocol,
    octets: bool,
    jsonp: bool,
    body: Bytes,
    limit: usize,
    packets: &mut Vec<Packet>,
) -> Result<(), DecodeError> {
    let mut each = |packet| packets.push(packet);
    if octets {
        return decode_octets(body, limit, each);
    }
    let body = match jsonp.then(|| jsonp::decode_form(&body)) {
        None => body,
        // As in Node, a form without the field is no payload, not a bad one.
        Some(Err(DecodeError::MissingField)) => return Ok(()),
        Some(form) => form?,
    };
    match payload::decode(protocol, body.clone(), limit, &mut each) {
        // Nothing was handed over yet. As in Node, what is no UTF-8 becomes U+FFFD.
        Err(DecodeError::InvalidUtf8) => {
            let text = String::from_utf8_lossy(&body).into_owned();
            payload::decode(protocol, text.into(), limit, each)
        }
        decoded => decoded,
    }
}

#[cfg(feature = "v3")]
fn decode_octets(body: Bytes, limit: usize, each: impl FnMut(Packet)) -> Result<(), DecodeError> {
    patio_proto::engine::v3::decode_binary(body, limit, each)
}

#[cfg(not(feature = "v3"))]
fn decode_octets(_: Bytes, _: usize, _: impl FnMut(Packet)) -> Result<(), DecodeError> {
    Err(DecodeError::Unsupported)
}

enum BodyError {
    TooLarge,
    Broken,
    Unwanted,
}

/// Reads a body of at most `limit` bytes; no more than that is ever held.
async fn read<B>(body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: http_body::Body + Send,
    B::Data: Buf + Send,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(BodyError::Broken) };
        let Ok(mut data) = frame.into_data() else { continue };
        if whole.len() + data.remaining() > limit {
            return Err(BodyError::TooLarge);
        }
        whole.put(&mut data);
    }
    Ok(whole.freeze())
}
