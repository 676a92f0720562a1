//! The messages of `@socket.io/redis-adapter` 7 and 8 and of `socket.io-redis` 6, and the broadcasts of `socket.io-redis` 5.
//!
//! A broadcast is MessagePack, `[uid, packet, opts]`. Requests and responses are JSON, except those that carry what an
//! application sent and JSON has not: they are MessagePack.

use std::borrow::Cow;

use bytes::Bytes;
use patio_adapter::{
    AdapterError, BroadcastOptions, NodeId, Payload, Room,
    cluster::message::{Message, RequestId, Sender},
};
use patio_proto::{
    msgpack::{Raw, write_value},
    value::{Object, Value},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Garbage, MAX_DEPTH, event, first, legacy, options, raw, read, socket, string, stringify, text, unreadable,
};
use crate::Dialect;

/// The numbers of requests and responses.
mod number {
    pub(super) const SOCKETS: i64 = 0;
    pub(super) const ALL_ROOMS: i64 = 1;
    pub(super) const REMOTE_JOIN: i64 = 2;
    pub(super) const REMOTE_LEAVE: i64 = 3;
    pub(super) const REMOTE_DISCONNECT: i64 = 4;
    pub(super) const REMOTE_FETCH: i64 = 5;
    pub(super) const SERVER_SIDE_EMIT: i64 = 6;
    pub(super) const BROADCAST: i64 = 7;
    pub(super) const BROADCAST_CLIENT_COUNT: i64 = 8;
    pub(super) const BROADCAST_ACK: i64 = 9;
}

/// The type of packets that are events.
const EVENT: i64 = 2;
/// The type of such with binary in `socket.io-redis` 5, whose servers would make JSON of it without. Later ones break at it.
const BINARY_EVENT: i64 = 5;

/// How a [`Sender`] wants its question answered.
pub(crate) mod via {
    /// As it is usual.
    pub(crate) const USUAL: u8 = 0;
    /// With the ids of the sockets only: type 0, which version 8 sends no more.
    pub(crate) const IDS: u8 = 1;
    /// With a number: a question of our own.
    pub(crate) const COUNT: u8 = 2;
}

/// Writes messages of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub(crate) node: NodeId,
    pub(crate) namespace: String,
    pub(crate) dialect: Dialect,
}

/// A request or response, in the order of Node's keys.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    /// Of responses, whose type stands before the request.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    response: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    request: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opts: Option<options::Lists<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [Room]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<Vec<SocketJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_count: Option<usize>,
    /// A question or answer of our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

/// An element of `sockets`.
#[derive(Serialize)]
#[serde(untagged)]
enum SocketJson<'a> {
    Id(&'a Room),
    Socket { id: &'a Room, handshake: &'a RawValue, rooms: &'a [Room], data: &'a serde_json::Value },
}

impl Json<'_> {
    fn write(&self) -> Result<Bytes, AdapterError> {
        let json =
            serde_json::to_vec(self).map_err(|error| AdapterError::failed("writing a message", error))?;
        Ok(json.into())
    }
}

impl Encoder {
    /// A broadcast without acks.
    pub(crate) fn broadcast(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> Result<Bytes, AdapterError> {
        let mut out = Vec::with_capacity(payload.size() + self.namespace.len() + 96);
        rmp::encode::write_array_len(&mut out, 3).expect("memory takes everything");
        string(&mut out, self.node.as_str());
        self.packet(&mut out, payload)?;
        match self.dialect {
            Dialect::V5 => self.value(&mut out, &legacy::options(options)),
            _ => options::write(&mut out, options),
        }
        Ok(out.into())
    }

    /// Error: servers of this dialect would not leave out whom these options leave out. `is_here` says whether this server
    /// has a socket of that id.
    pub(crate) fn check_except(
        &self,
        options: &BroadcastOptions,
        is_here: impl Fn(&Room) -> bool,
    ) -> Result<(), AdapterError> {
        match self.dialect {
            Dialect::V5 => legacy::check_except(options, &self.namespace, is_here),
            _ => Ok(()),
        }
    }

    /// Any other message that is no answer, as so many requests. Errors: servers of this dialect do not know it.
    pub(crate) fn requests(
        &self,
        message: &Message,
        is_here: impl Fn(&Room) -> bool,
    ) -> Result<Vec<Bytes>, AdapterError> {
        match self.dialect {
            Dialect::V5 => legacy::requests(message, &self.namespace, is_here),
            _ => Ok(vec![self.request(message)?]),
        }
    }

    pub(super) fn request(&self, message: &Message) -> Result<Bytes, AdapterError> {
        let request = |kind| Json { uid: Some(self.node.as_str()), request: Some(kind), ..Json::default() };
        let json = match message {
            Message::Broadcast { payload, options, request: Some(id) } => {
                if !self.dialect.has_msgpack_requests() {
                    return Err(AdapterError::unsupported("broadcasts with acks"));
                }
                return self.broadcast_with_ack(payload, options, id);
            }
            Message::Join { options, rooms } => {
                Json { opts: Some(options.into()), rooms: Some(rooms), ..request(number::REMOTE_JOIN) }
            }
            Message::Leave { options, rooms } => {
                Json { opts: Some(options.into()), rooms: Some(rooms), ..request(number::REMOTE_LEAVE) }
            }
            Message::Disconnect { options, close } => {
                Json { opts: Some(options.into()), close: Some(*close), ..request(number::REMOTE_DISCONNECT) }
            }
            Message::FetchSockets { request: id, options } => Json {
                request_id: Some(id.as_str()),
                opts: Some(options.into()),
                ..request(number::REMOTE_FETCH)
            },
            Message::AllRooms { request: id } => {
                Json { request_id: Some(id.as_str()), ..request(number::ALL_ROOMS) }
            }
            // On a channel of our own, where types are not needed.
            Message::CountSockets { request: id, options } => Json {
                uid: Some(self.node.as_str()),
                request_id: Some(id.as_str()),
                opts: Some(options.into()),
                ..Json::default()
            },
            Message::ServerSideEmit { payload, request: id } => {
                if !self.dialect.has_server_side_emit() {
                    return Err(AdapterError::unsupported("serverSideEmit"));
                }
                let id = id.as_ref().map(RequestId::as_str);
                if self.needs_msgpack(payload)? {
                    return self.server_side_emit_msgpack(payload, id);
                }
                Json { request_id: id, data: Some(self.json(payload)?), ..request(number::SERVER_SIDE_EMIT) }
            }
            _ => return Err(AdapterError::unsupported("a message of newer adapters")),
        };
        json.write()
    }

    /// An answer to a question that came from `to`.
    pub(crate) fn response(&self, to: &Sender, message: &Message) -> Result<Bytes, AdapterError> {
        if let Dialect::V5 = self.dialect {
            return legacy::response(message);
        }
        match message {
            Message::Sockets { request, sockets } => {
                let handshakes: Vec<_> = sockets.iter().map(|socket| raw(socket.handshake.text())).collect();
                let sockets = sockets.iter().zip(&handshakes).map(|(socket, handshake)| match to.via {
                    via::IDS => SocketJson::Id(&socket.id),
                    _ => SocketJson::Socket {
                        id: &socket.id,
                        handshake,
                        rooms: &socket.rooms,
                        data: &socket.data,
                    },
                });
                Json {
                    request_id: Some(request.as_str()),
                    sockets: Some(sockets.collect()),
                    ..Json::default()
                }
                .write()
            }
            Message::Rooms { request, rooms } => {
                Json { request_id: Some(request.as_str()), rooms: Some(rooms), ..Json::default() }.write()
            }
            Message::Count { request, count } => {
                Json { request_id: Some(request.as_str()), count: Some(*count), ..Json::default() }.write()
            }
            Message::ClientCount { request, count } => Json {
                response: Some(number::BROADCAST_CLIENT_COUNT),
                request_id: Some(request.as_str()),
                client_count: Some(*count),
                ..Json::default()
            }
            .write(),
            Message::Ack { request, value } => {
                let mut members = vec![
                    ("type".to_owned(), Value::Int(number::BROADCAST_ACK)),
                    ("requestId".to_owned(), request.as_str().into()),
                ];
                members.extend(first(value)?.map(|value| ("packet".to_owned(), value)));
                Ok(self.msgpack(members))
            }
            Message::ServerSideAnswer { request, value } => {
                let first = first(value)?;
                if first.as_ref().is_some_and(Value::has_binary) && self.dialect.has_msgpack_requests() {
                    let mut members = vec![
                        ("type".to_owned(), Value::Int(number::SERVER_SIDE_EMIT)),
                        ("requestId".to_owned(), request.as_str().into()),
                    ];
                    members.extend(first.map(|value| ("data".to_owned(), value)));
                    return Ok(self.msgpack(members));
                }
                let data = first.as_ref().filter(|value| !matches!(value, Value::Undefined));
                Json {
                    response: Some(number::SERVER_SIDE_EMIT),
                    request_id: Some(request.as_str()),
                    data: data.map(stringify).transpose().map_err(unreadable)?,
                    ..Json::default()
                }
                .write()
            }
            _ => Err(AdapterError::unsupported("a message of newer adapters")),
        }
    }

    /// That one socket was changed for a server that asked by its id: what version 7 and older wait for.
    pub(crate) fn done(&self, request: &RequestId) -> Result<Bytes, AdapterError> {
        if let Dialect::V5 = self.dialect {
            return legacy::done(request);
        }
        Json { request_id: Some(request.as_str()), ..Json::default() }.write()
    }

    fn broadcast_with_ack(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
        request: &RequestId,
    ) -> Result<Bytes, AdapterError> {
        let mut out = Vec::with_capacity(payload.size() + self.namespace.len() + 128);
        rmp::encode::write_map_len(&mut out, 5).expect("memory takes everything");
        string(&mut out, "uid");
        string(&mut out, self.node.as_str());
        string(&mut out, "requestId");
        string(&mut out, request.as_str());
        string(&mut out, "type");
        self.value(&mut out, &Value::Int(number::BROADCAST));
        string(&mut out, "packet");
        self.packet(&mut out, payload)?;
        string(&mut out, "opts");
        options::write(&mut out, options);
        Ok(out.into())
    }

    /// `{type, data, nsp}`. An `id` would be taken for an ack's by Node.
    fn packet(&self, out: &mut Vec<u8>, payload: &Payload) -> Result<(), AdapterError> {
        rmp::encode::write_map_len(out, 3).expect("memory takes everything");
        string(out, "type");
        let kind = match self.dialect {
            Dialect::V5 if has_binary(payload)? => BINARY_EVENT,
            _ => EVENT,
        };
        self.value(out, &Value::Int(kind));
        string(out, "data");
        payload.write_msgpack(out, self.dialect.msgpack()).map_err(unreadable)?;
        string(out, "nsp");
        string(out, &self.namespace);
        Ok(())
    }

    fn server_side_emit_msgpack(
        &self,
        payload: &Payload,
        request: Option<&str>,
    ) -> Result<Bytes, AdapterError> {
        let mut members = vec![("uid".to_owned(), self.node.as_str().into())];
        members.extend(request.map(|request| ("requestId".to_owned(), request.into())));
        members.push(("type".to_owned(), Value::Int(number::SERVER_SIDE_EMIT)));
        members.push(("data".to_owned(), payload.to_value().map_err(unreadable)?));
        Ok(self.msgpack(members))
    }

    /// JSON would mutilate binary. Where peers read requests in MessagePack, they get such a one.
    fn needs_msgpack(&self, payload: &Payload) -> Result<bool, AdapterError> {
        Ok(self.dialect.has_msgpack_requests() && has_binary(payload)?)
    }

    fn json(&self, payload: &Payload) -> Result<Box<RawValue>, AdapterError> {
        match payload.json() {
            Some((text, [])) => RawValue::from_string(text.to_string())
                .map_err(|error| AdapterError::failed("writing a message", error)),
            _ => stringify(&payload.to_value().map_err(unreadable)?).map_err(unreadable),
        }
    }

    fn msgpack(&self, members: Vec<(String, Value)>) -> Bytes {
        let mut out = Vec::new();
        self.value(&mut out, &Value::Object(members.into_iter().collect::<Object>()));
        out.into()
    }

    fn value(&self, out: &mut Vec<u8>, value: &Value) {
        write_value(out, value, self.dialect.msgpack());
    }
}

fn has_binary(payload: &Payload) -> Result<bool, AdapterError> {
    match payload.json() {
        Some((_, attachments)) => Ok(!attachments.is_empty()),
        None => Ok(payload.to_value().map_err(unreadable)?.has_binary()),
    }
}

/// A broadcast without acks.
#[derive(Debug)]
pub(crate) struct Broadcast {
    pub(crate) node: Option<NodeId>,
    pub(crate) payload: Payload,
    pub(crate) options: BroadcastOptions,
}

/// Reads a broadcast. `None`: this server, `own`, sent it itself, or it is of another namespace, whose name the pattern fits
/// too.
pub(crate) fn read_broadcast(
    bytes: &Bytes,
    namespace: &str,
    own: &NodeId,
) -> Result<Option<Broadcast>, Garbage> {
    let message = Raw::new(bytes, MAX_DEPTH);
    let mut elements = message.elements().ok_or(Garbage::Field("the array"))?;
    let uid = elements.next().and_then(Raw::as_str);
    // Half of what comes in a cluster of two: nothing more is looked at.
    if uid.as_deref() == Some(own.as_str()) {
        return Ok(None);
    }
    message.check()?;
    let (Some(packet), Some(opts)) = (elements.next(), elements.next()) else {
        return Err(Garbage::Field("the array"));
    };
    let Some(payload) = read_packet(packet, namespace)? else { return Ok(None) };
    Ok(Some(Broadcast { node: uid.map(NodeId::new), payload, options: options::read(opts)? }))
}

/// Reads `{type, data, nsp}`.
fn read_packet(packet: Raw<'_>, namespace: &str) -> Result<Option<Payload>, Garbage> {
    let (mut kind, mut data, mut nsp) = (None, None, None);
    for (name, value) in packet.members().ok_or(Garbage::Field("packet"))? {
        match &*name {
            "type" => kind = Some(value),
            "data" => data = Some(value),
            "nsp" => nsp = Some(value),
            _ => {}
        }
    }
    // Without a name it is the main namespace, as in Node.
    let is_own = match nsp {
        Some(nsp) => nsp.as_str().is_some_and(|nsp| nsp == namespace),
        None => namespace == "/",
    };
    if !is_own {
        return Ok(None);
    }
    let kind = kind.ok_or(Garbage::Field("packet.type"))?.to_value()?.as_i64();
    if !kind.is_some_and(|kind| matches!(kind, EVENT | BINARY_EVENT)) {
        return Err(Garbage::Field("packet.type"));
    }
    event(Payload::from_msgpack(data.ok_or(Garbage::Field("packet.data"))?.to_bytes())?).map(Some)
}

/// A request of another server.
#[derive(Debug)]
pub(crate) enum Request {
    /// What it says.
    Message(Sender, Message),
    /// What it says, and a question that is answered only by the server that has this socket.
    OfSocket(Sender, Message, Room, RequestId),
    /// Version 5: the rooms of this socket are asked for, of the server that has it.
    RoomsOf(Room, RequestId),
    /// Version 5: something between applications. Every server must answer.
    Custom(RequestId),
    /// Something that this version does not know, or that this server said itself: ignored, as in Node.
    Ignored,
}

/// Reads a request.
pub(crate) fn read_request(bytes: &Bytes, namespace: &str) -> Result<Request, Garbage> {
    let value = read(bytes)?;
    let kind = value["type"].as_i64().ok_or(Garbage::Field("type"))?;
    // What 5.x calls so has other numbers: its joins would disconnect.
    if value.get("requestid").is_some() {
        return Err(Garbage::Field("requestId"));
    }
    let node = value["uid"].as_str().map(NodeId::new);
    let sender = Sender { node, via: if kind == number::SOCKETS { via::IDS } else { via::USUAL } };
    let id = value["requestId"].as_str().map(RequestId::new);
    let asked = || id.clone().ok_or(Garbage::Field("requestId"));
    let opts = || options::from_value(&value["opts"]);
    let rooms = || options::rooms(&value["rooms"]).ok_or(Garbage::Field("rooms"));
    let close = || value["close"].as_bool().unwrap_or(false);
    let message = match kind {
        number::SOCKETS => {
            // Its rooms stand where others have their options.
            Message::FetchSockets { request: asked()?, options: options::from_value(&value)? }
        }
        number::ALL_ROOMS => Message::AllRooms { request: asked()? },
        number::REMOTE_JOIN..=number::REMOTE_DISCONNECT if value.get("opts").is_none() => {
            let sid = options::room(&value["sid"]).ok_or(Garbage::Field("opts"))?;
            let options = BroadcastOptions::to(&sid);
            let room = || options::room(&value["room"]).ok_or(Garbage::Field("room"));
            let message = match kind {
                number::REMOTE_JOIN => Message::Join { options, rooms: vec![room()?] },
                number::REMOTE_LEAVE => Message::Leave { options, rooms: vec![room()?] },
                _ => Message::Disconnect { options, close: close() },
            };
            return Ok(Request::OfSocket(sender, message, sid, asked()?));
        }
        number::REMOTE_JOIN => Message::Join { options: opts()?, rooms: rooms()? },
        number::REMOTE_LEAVE => Message::Leave { options: opts()?, rooms: rooms()? },
        number::REMOTE_DISCONNECT => Message::Disconnect { options: opts()?, close: close() },
        number::REMOTE_FETCH => Message::FetchSockets { request: asked()?, options: opts()? },
        number::SERVER_SIDE_EMIT => {
            let data = value["data"].as_array().ok_or(Garbage::Field("data"))?;
            let payload = event(Payload::value_msgpack(&Value::Array(data.to_vec())))?;
            Message::ServerSideEmit { payload, request: id }
        }
        number::BROADCAST => {
            let packet = &value["packet"];
            if packet.get("nsp").is_some_and(|nsp| nsp.as_str() != Some(namespace)) {
                return Err(Garbage::Field("packet.nsp"));
            }
            let data = packet["data"].as_array().ok_or(Garbage::Field("packet.data"))?;
            let payload = event(Payload::value_msgpack(&Value::Array(data.to_vec())))?;
            Message::Broadcast { payload, options: opts()?, request: Some(asked()?) }
        }
        _ => return Ok(Request::Ignored),
    };
    Ok(Request::Message(sender, message))
}

/// Reads a question on our own channel.
pub(crate) fn read_patio_request(bytes: &Bytes) -> Result<(Sender, Message), Garbage> {
    let value = read(bytes)?;
    let node = value["uid"].as_str().map(NodeId::new).ok_or(Garbage::Field("uid"))?;
    let request = value["requestId"].as_str().map(RequestId::new).ok_or(Garbage::Field("requestId"))?;
    let options = options::from_value(&value["opts"])?;
    Ok((Sender { node: Some(node), via: via::COUNT }, Message::CountSockets { request, options }))
}

/// Reads a response, if it is to a question that somebody `waits_for`: all servers hear the responses to all.
pub(crate) fn read_response(
    bytes: &Bytes,
    waits_for: impl FnOnce(&RequestId) -> bool,
) -> Result<Option<Message>, Garbage> {
    let request = RequestId::new(request_of(bytes)?.ok_or(Garbage::Field("requestId"))?);
    if !waits_for(&request) {
        return Ok(None);
    }
    let value = read(bytes)?;
    let count = |name: &'static str| {
        let count = value[name].as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or(Garbage::Field(name))
    };
    let one = |name: &str| {
        let values = value.get(name).filter(|value| !matches!(value, Value::Undefined)).cloned();
        Payload::value_msgpack(&Value::Array(values.into_iter().collect()))
    };
    Ok(Some(match value["type"].as_i64() {
        Some(number::SERVER_SIDE_EMIT) => Message::ServerSideAnswer { request, value: one("data") },
        Some(number::BROADCAST_CLIENT_COUNT) => {
            Message::ClientCount { request, count: count("clientCount")? }
        }
        Some(number::BROADCAST_ACK) => Message::Ack { request, value: one("packet") },
        _ if value.get("count").is_some() => Message::Count { request, count: count("count")? },
        _ if value.get("rooms").is_some() => {
            let rooms = options::rooms(&value["rooms"]).ok_or(Garbage::Field("rooms"))?;
            Message::Rooms { request, rooms }
        }
        _ => {
            let sockets = value["sockets"].as_array().ok_or(Garbage::Field("sockets"))?;
            let sockets = sockets.iter().map(socket).collect::<Option<_>>();
            Message::Sockets { request, sockets: sockets.ok_or(Garbage::Field("sockets"))? }
        }
    }))
}

/// The question that a response answers, found without reading the rest.
fn request_of(bytes: &Bytes) -> Result<Option<String>, Garbage> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        request_id: Option<String>,
    }

    if let Some(b'{') = bytes.first() {
        return Ok(serde_json::from_str::<Head>(&text(bytes))?.request_id);
    }
    let members = Raw::new(bytes, MAX_DEPTH).members().ok_or(Garbage::Field("the map"))?;
    let id = members.filter(|(name, _)| name == "requestId").last().and_then(|(_, id)| id.as_str());
    Ok(id.map(Cow::into_owned))
}
