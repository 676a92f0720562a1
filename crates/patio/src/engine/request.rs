//! One HTTP request to the engine's path: checked in Node's order, then given to the transport that it is for.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use patio_proto::{
    encode::Encoded,
    engine::{self, ErrorCode, Protocol, Transport, handshake::Open},
    ws,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Application, Engine, Handshake,
    deflate::{self, Agreed, Window},
    session::{Session, Sink},
    transport::{polling, websocket},
};
use crate::{
    config::HeadersHook,
    guard::Kept,
    http::{cors::Preflight, query, remote_addr::RemoteAddr},
};

/// The answer to a request: everything is known before it is sent.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A request that was refused: the event `connection_error` of Engine.IO's server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionError {
    /// Engine.IO's error code.
    pub code: ErrorCode,
    /// What the client was told.
    pub message: String,
    /// What was wrong in particular, in Node's words, such as `TRANSPORT_MISMATCH`; empty where the code says it all.
    pub context: &'static str,
    /// The request's path and query.
    pub url: String,
    /// The peer's address, where it is known.
    pub address: Option<SocketAddr>,
}

/// Why a request is refused, before it is put into words.
pub(super) struct Refused {
    code: ErrorCode,
    context: &'static str,
    message: Option<String>,
}

impl Refused {
    fn new(code: ErrorCode, context: &'static str) -> Self {
        Self { code, context, message: None }
    }
}

/// What the query of a request says, as far as the engine asks.
pub(super) struct Asked {
    protocol: Protocol,
    sid: Option<String>,
    pub(super) base64: bool,
    /// The index of JSONP.
    pub(super) jsonp: Option<String>,
}

/// Answers one request.
pub(crate) async fn handle<A, B>(engine: Arc<Engine<A>>, mut request: Request<B>) -> Answer
where
    A: Application,
    B: http_body::Body + Send,
    B::Data: Buf + Send,
{
    engine.start();
    let mut headers = HeaderMap::new();
    if let Some(cors) = &engine.config.cors
        // A predicate that panics allows nothing.
        && let Some(Preflight::Answer(status)) =
            engine.counters.guard(|| cors.apply(request.method(), request.headers(), &mut headers))
    {
        return answer(status, headers, Bytes::new());
    }
    if too_many_headers(&engine, request.headers()) {
        engine.counters.large_heads.add(1);
        return answer(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, headers, Bytes::new());
    }
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    // A server without WebSocket is asked nothing but requests.
    let wants_upgrade = engine.config.transports.contains(&Transport::WebSocket)
        && ws::handshake::is_upgrade(|name| values(request.headers(), name));
    let (parts, body) = request.into_parts();
    let done = match check(&engine, &parts, wants_upgrade) {
        Ok((asked, session)) => match (session, wants_upgrade) {
            (Some(session), true) => take_over(&parts, upgrade, &session, &mut headers),
            (Some(session), false) => {
                return polling::request(&session, &asked, &parts, body, headers).await;
            }
            (None, true) => open_websocket(&engine, &parts, upgrade, &asked, &mut headers).await,
            (None, false) => open_polling(&engine, &parts, &asked, &mut headers).await,
        },
        Err(refused) => Err(refused),
    };
    match done {
        Ok(answer) => answer,
        Err(refused) => refuse(&engine, &parts, refused, wants_upgrade, headers),
    }
}

/// What a request asks for, and the session that it belongs to.
type Checked<A> = (Asked, Option<Arc<Session<A>>>);

/// Everything that can be wrong with a request, in Node's order.
fn check<A: Application>(
    engine: &Engine<A>,
    parts: &Parts,
    wants_upgrade: bool,
) -> Result<Checked<A>, Refused> {
    let raw = parts.uri.query().unwrap_or_default();
    let transport = query::last(raw, "transport");
    let transport = Transport::from_query(transport.as_deref())
        .filter(|transport| engine.config.transports.contains(transport))
        .ok_or(Refused::new(ErrorCode::UnknownTransport, ""))?;
    if parts.headers.get(header::ORIGIN).is_some_and(|origin| !is_visible(origin)) {
        return Err(Refused::new(ErrorCode::BadRequest, "INVALID_ORIGIN"));
    }
    let protocol = Protocol::from_query(query::last(raw, "EIO").as_deref());
    let asked = Asked {
        protocol,
        sid: query::last(raw, "sid").filter(|sid| !sid.is_empty()).map(Into::into),
        base64: query::last(raw, "b64").is_some_and(|value| !value.is_empty()),
        jsonp: query::last(raw, "j").map(Into::into),
    };
    if let Some(sid) = &asked.sid {
        let session = engine.find(sid).ok_or(Refused::new(ErrorCode::UnknownSid, ""))?;
        if !wants_upgrade && transport != session.transport() {
            let mut refused = Refused::new(ErrorCode::BadRequest, "TRANSPORT_MISMATCH");
            if transport == Transport::WebSocket {
                refused.message = Some(no_upgrade(parts).into());
            }
            return Err(refused);
        }
        if protocol != session.protocol() {
            return Err(Refused::new(ErrorCode::BadRequest, "PROTOCOL_MISMATCH"));
        }
        if transport == Transport::Polling && wants_upgrade {
            return Err(Refused::new(ErrorCode::BadRequest, "TRANSPORT_HANDSHAKE_ERROR"));
        }
        return Ok((asked, Some(session)));
    }
    if parts.method != Method::GET {
        return Err(Refused::new(ErrorCode::BadHandshakeMethod, ""));
    }
    if transport == Transport::WebSocket && !wants_upgrade {
        let mut refused = Refused::new(ErrorCode::BadRequest, "TRANSPORT_HANDSHAKE_ERROR");
        refused.message = Some(no_upgrade(parts).into());
        return Err(refused);
    }
    if transport == Transport::Polling && wants_upgrade {
        return Err(Refused::new(ErrorCode::BadRequest, "TRANSPORT_HANDSHAKE_ERROR"));
    }
    if protocol == Protocol::V3 && !(cfg!(feature = "v3") && engine.config.allow_eio3) {
        return Err(Refused::new(ErrorCode::UnsupportedProtocol, ""));
    }
    Ok((asked, None))
}

/// What Node answers with a bare "Bad request": nearly always a proxy that is not set up for WebSocket.
fn no_upgrade(parts: &Parts) -> &'static str {
    if parts.headers.contains_key(header::UPGRADE) {
        "Bad request: the Connection header does not name upgrade (does a proxy change it?)"
    } else {
        "Bad request: the Upgrade header is missing (does a proxy remove it?)"
    }
}

/// The application's say about a new session, its id, and a place for it.
async fn admit<A: Application>(
    engine: &Arc<Engine<A>>,
    parts: &Parts,
) -> Result<(String, Place<A>), Refused> {
    if let Some(allow) = &engine.config.allow_request {
        let verdict = engine.counters.guard_async(async { Kept::new(allow(parts)).await }).await;
        if let Err(message) = verdict.unwrap_or_else(|| Err("Internal server error".into())) {
            return Err(Refused { code: ErrorCode::Forbidden, context: "", message: Some(message) });
        }
    }
    let place = Place::take(engine)?;
    let sid = match &engine.config.generate_id {
        None => engine.new_id(),
        Some(generate) => (engine.counters.guard(|| generate(parts)).flatten())
            .filter(|id| !id.is_empty() && engine.find(id).is_none())
            .ok_or(Refused::new(ErrorCode::BadRequest, "ID_GENERATION_ERROR"))?,
    };
    Ok((sid, place))
}

/// One of the connections that the server may have; given back unless a session keeps it.
struct Place<A: Application>(Option<Arc<Engine<A>>>);

impl<A: Application> Place<A> {
    fn take(engine: &Arc<Engine<A>>) -> Result<Self, Refused> {
        let taken = engine.open.fetch_add(1, Ordering::Relaxed);
        let place = Self(Some(Arc::clone(engine)));
        let (context, message) = if engine.is_closing() {
            ("SERVER_CLOSING", "The server is shutting down")
        } else if taken >= engine.config.limits.connections {
            ("TOO_MANY_CONNECTIONS", "Too many connections")
        } else {
            return Ok(place);
        };
        engine.counters.refused_connections.add(1);
        Err(Refused { code: ErrorCode::Forbidden, context, message: Some(message.into()) })
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl<A: Application> Drop for Place<A> {
    fn drop(&mut self) {
        if let Some(engine) = &self.0 {
            engine.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

async fn open_polling<A: Application>(
    engine: &Arc<Engine<A>>,
    parts: &Parts,
    asked: &Asked,
    headers: &mut HeaderMap,
) -> Result<Answer, Refused> {
    let (sid, place) = admit(engine, parts).await?;
    if let Some(cookie) = engine.config.cookie.as_ref().and_then(|cookie| cookie.header_value(&sid)) {
        headers.append(header::SET_COOKIE, cookie);
    }
    let upgrades: &[&str] =
        if engine.config.allow_upgrades && engine.config.transports.contains(&Transport::WebSocket) {
            &["websocket"]
        } else {
            &[]
        };
    let open = open_packet(engine, &sid, upgrades);
    let sink = (Sink::Polling(None), None);
    let session = Opening::new(engine, parts, asked, sid).open(engine, Transport::Polling, sink, None);
    if !engine.adopt(Arc::clone(&session), None) {
        return Err(Refused::new(ErrorCode::BadRequest, "ID_GENERATION_ERROR"));
    }
    place.keep();
    let mut headers = std::mem::take(headers);
    change_headers(engine, engine.config.initial_headers.as_ref(), &mut headers, parts);
    Ok(polling::payload_answer(&session, asked, parts, vec![Arc::new(open)], headers))
}

async fn open_websocket<A: Application>(
    engine: &Arc<Engine<A>>,
    parts: &Parts,
    upgrade: Option<OnUpgrade>,
    asked: &Asked,
    headers: &mut HeaderMap,
) -> Result<Answer, Refused> {
    let Accepted { answer, upgrade, deflate } = accept(engine, parts, upgrade, headers)?;
    let (sid, place) = admit(engine, parts).await?;
    let open = open_packet(engine, &sid, &[]);
    change_headers(engine, engine.config.initial_headers.as_ref(), headers, parts);
    change_headers(engine, engine.config.headers.as_ref(), headers, parts);
    let opening = Opening::new(engine, parts, asked, sid);
    let engine = Arc::clone(engine);
    engine.clone().tasks.spawn(async move {
        // A connection that never takes its 101 holds its place for no longer than an upgrade.
        let upgraded = websocket::upgraded(upgrade, engine.config.max_http_buffer_size);
        let Ok(Some(stream)) = timeout(engine.config.timing.upgrade_timeout, upgraded).await else { return };
        let stream = stream.deflated(deflate);
        let sink = (stream.sink(), deflate);
        let session = opening.open(&engine, Transport::WebSocket, sink, stream.peer());
        A::greet(&session, open);
        if engine.adopt(session, Some(Box::new(stream))) {
            place.keep();
        }
    });
    Ok(with_headers(answer, headers))
}

/// A WebSocket for a session that polls.
fn take_over<A: Application>(
    parts: &Parts,
    upgrade: Option<OnUpgrade>,
    session: &Arc<Session<A>>,
    headers: &mut HeaderMap,
) -> Result<Answer, Refused> {
    let engine = session.engine();
    let Accepted { answer, upgrade, deflate } = accept(engine, parts, upgrade, headers)?;
    change_headers(engine, engine.config.headers.as_ref(), headers, parts);
    let max_message = engine.config.max_http_buffer_size;
    let may = engine.config.allow_upgrades;
    let session = Arc::clone(session);
    engine.clone().tasks.spawn(async move {
        // The time of an upgrade begins with the request: a peer that never completes it holds nothing for longer.
        let until = if may { session.begin_upgrade() } else { None };
        let by = until.unwrap_or_else(|| Instant::now() + session.engine().config.timing.upgrade_timeout);
        let stream = timeout_at(by, websocket::upgraded(upgrade, max_message)).await;
        match (stream, until) {
            (Ok(Some(stream)), Some(until)) => {
                websocket::upgrade(session, stream.deflated(deflate), until).await;
            }
            (Ok(Some(stream)), None) => stream.close(None).await,
            (Ok(None) | Err(_), Some(_)) => session.abandon_upgrade(),
            (Ok(None) | Err(_), None) => {}
        }
    });
    Ok(with_headers(answer, headers))
}

/// What a session has of the request that opens it.
struct Opening<A: Application> {
    handshake: Handshake,
    app: A,
    protocol: Protocol,
    base64: bool,
    sid: String,
}

impl<A: Application> Opening<A> {
    fn new(engine: &Arc<Engine<A>>, parts: &Parts, asked: &Asked, sid: String) -> Self {
        Self {
            handshake: Handshake::new(parts, address(parts)),
            app: A::new(engine, &parts.extensions),
            protocol: asked.protocol,
            base64: asked.base64,
            sid,
        }
    }

    /// The session; `sink` says, too, for which window its messages are compressed, if they are. `peer` is whom the
    /// stream itself knows.
    fn open(
        mut self,
        engine: &Arc<Engine<A>>,
        transport: Transport,
        sink: (Sink, Option<Window>),
        peer: Option<SocketAddr>,
    ) -> Arc<Session<A>> {
        if let Some(peer) = peer {
            self.handshake.set_address(peer);
        }
        let now = Instant::now().into_std();
        let machine = engine::Session::open(self.protocol, transport, &engine.config.timing, now);
        Session::open(engine, self.handshake, self.app, self.sid, self.base64, machine, sink)
    }
}

fn open_packet<A: Application>(engine: &Engine<A>, sid: &str, upgrades: &[&str]) -> Encoded {
    let timing = &engine.config.timing;
    let open = Open {
        sid,
        upgrades,
        ping_interval: timing.ping_interval,
        ping_timeout: timing.ping_timeout,
        max_payload: engine.config.max_http_buffer_size,
    };
    Encoded::engine(&format!("0{}", open.to_json()))
}

/// A request for a WebSocket that is granted.
struct Accepted {
    /// 101.
    answer: Answer,
    upgrade: OnUpgrade,
    /// Whether messages will be compressed, and for which window.
    deflate: Option<Window>,
}

/// Checks the WebSocket part of a request.
fn accept<A: Application>(
    engine: &Engine<A>,
    parts: &Parts,
    upgrade: Option<OnUpgrade>,
    headers: &mut HeaderMap,
) -> Result<Accepted, Refused> {
    let values = |name| values(&parts.headers, name);
    let checked = ws::handshake::accept(parts.method.as_str(), values)
        .and_then(|key| Ok((key, ws::handshake::subprotocol(values)?)));
    let (key, subprotocol) = match checked {
        Ok(checked) => checked,
        Err(error) => {
            let mut refused = Refused::new(ErrorCode::BadRequest, "TRANSPORT_HANDSHAKE_ERROR");
            if error == ws::handshake::Error::Version {
                headers
                    .insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(ws::handshake::VERSIONS));
            }
            refused.message = Some(error.to_string());
            return Err(refused);
        }
    };
    let Some(upgrade) = upgrade else {
        let mut refused = Refused::new(ErrorCode::BadRequest, "TRANSPORT_HANDSHAKE_ERROR");
        refused.message = Some("Bad request: this connection cannot be upgraded".into());
        return Err(refused);
    };
    let mut response = answer(StatusCode::SWITCHING_PROTOCOLS, HeaderMap::new(), Bytes::new());
    let fields = response.headers_mut();
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(key) = HeaderValue::from_str(key.as_str()) {
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    if let Some(Ok(subprotocol)) = subprotocol.map(HeaderValue::from_bytes) {
        fields.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    let agreed = match engine.config.per_message_deflate {
        None => None,
        Some(_) => deflate::negotiate(&parts.headers).map_err(|error| Refused {
            code: ErrorCode::BadRequest,
            context: "TRANSPORT_HANDSHAKE_ERROR",
            message: Some(error.to_string()),
        })?,
    };
    if let Some(Agreed { answer, .. }) = agreed {
        fields.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(answer));
    }
    Ok(Accepted { answer: response, upgrade, deflate: agreed.map(|agreed| agreed.window) })
}

fn refuse<A: Application>(
    engine: &Engine<A>,
    parts: &Parts,
    refused: Refused,
    wants_upgrade: bool,
    mut headers: HeaderMap,
) -> Answer {
    let Refused { code, context, message } = refused;
    engine.counters.refused_requests.add(1);
    let message = message.unwrap_or_else(|| code.message().to_owned());
    tracing::debug!(code = code.number(), context, message, "request refused");
    if let Some(hook) = &engine.config.connection_error {
        let error = ConnectionError {
            code,
            message: message.clone(),
            context,
            url: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            address: address(parts),
        };
        engine.counters.guard(|| hook(&error));
    }
    if wants_upgrade {
        // Node writes this answer by hand: plain text that calls itself HTML, 400 whatever the code is, no CORS.
        let versions = headers.remove(header::SEC_WEBSOCKET_VERSION);
        let mut headers: HeaderMap =
            versions.map(|versions| (header::SEC_WEBSOCKET_VERSION, versions)).into_iter().collect();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        return answer(StatusCode::BAD_REQUEST, headers, message.into());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    answer(status, headers, code.body_with(&message).into())
}

pub(super) fn answer(status: StatusCode, headers: HeaderMap, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Lets the application change the headers of an answer. What a hook did before it panicked stays.
pub(super) fn change_headers<A: Application>(
    engine: &Engine<A>,
    hook: Option<&HeadersHook>,
    headers: &mut HeaderMap,
    parts: &Parts,
) {
    if let Some(hook) = hook {
        engine.counters.guard(|| hook(headers, parts));
    }
}

/// All values of a header.
fn values<'h>(headers: &'h HeaderMap, name: &'static str) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes)
}

fn with_headers(mut response: Answer, headers: &mut HeaderMap) -> Answer {
    response.headers_mut().extend(std::mem::take(headers));
    response
}

fn address(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<RemoteAddr>().map(|&RemoteAddr(address)| address)
}

/// Whether a header's value holds nothing that Node refuses: control characters.
fn is_visible(value: &HeaderValue) -> bool {
    value.as_bytes().iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f))
}

fn too_many_headers<A: Application>(engine: &Engine<A>, headers: &HeaderMap) -> bool {
    let limits = &engine.config.limits;
    headers.len() > limits.headers
        || headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
            > limits.header_bytes
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectionError {}
