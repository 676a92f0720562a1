//! The messages of Node's `ClusterAdapter`, which its sharded and its streams adapter share: `{type, data, uid, nsp}`.
//!
//! Each message is described once, as a [`Part`], and written as JSON or as MessagePack; it is read from both through
//! [`Unread`]. What carries them differs: a channel takes a whole message, an entry of a stream takes its parts.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use patio_adapter::{
    AdapterError, BroadcastOptions, NodeId, Payload, Room, SocketSnapshot,
    cluster::message::{Message, RequestId},
};
use patio_proto::{
    msgpack::{self, Raw, write_value},
    value::Value,
};
use serde::{Deserialize, de::MapAccess};
use serde_json::value::RawValue;

use super::{
    EMITTER, Garbage, MAX_DEPTH, event, first, options, raw, read_json, socket, string, stringify, text,
    unreadable,
};

/// The numbers of messages.
mod number {
    pub(super) const INITIAL_HEARTBEAT: u8 = 1;
    pub(super) const HEARTBEAT: u8 = 2;
    pub(super) const BROADCAST: u8 = 3;
    pub(super) const SOCKETS_JOIN: u8 = 4;
    pub(super) const SOCKETS_LEAVE: u8 = 5;
    pub(super) const DISCONNECT_SOCKETS: u8 = 6;
    pub(super) const FETCH_SOCKETS: u8 = 7;
    pub(super) const FETCH_SOCKETS_RESPONSE: u8 = 8;
    pub(super) const SERVER_SIDE_EMIT: u8 = 9;
    pub(super) const SERVER_SIDE_EMIT_RESPONSE: u8 = 10;
    pub(super) const BROADCAST_CLIENT_COUNT: u8 = 11;
    pub(super) const BROADCAST_ACK: u8 = 12;
    pub(super) const ADAPTER_CLOSE: u8 = 13;
    // Our own, on channels where only servers like this one listen.
    pub(super) const COUNT_SOCKETS: u8 = 100;
    pub(super) const COUNT: u8 = 101;
    pub(super) const ALL_ROOMS: u8 = 102;
    pub(super) const ROOMS: u8 = 103;
}

/// Base-64 as Node writes it, and, as Node reads it, with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Writes messages of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub(crate) node: NodeId,
    pub(crate) namespace: String,
    pub(crate) msgpack: msgpack::Dialect,
    /// Whether packets name their namespace: those of emitters do.
    pub(crate) packets_have_nsp: bool,
}

/// A message as a stream takes it.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) kind: u8,
    pub(crate) data: Option<String>,
}

impl Encoder {
    /// That of emitters, whose packets name their namespace.
    pub(crate) fn of_emitter(namespace: &str, msgpack: msgpack::Dialect) -> Self {
        Self { node: NodeId::new(EMITTER), namespace: namespace.to_owned(), msgpack, packets_have_nsp: true }
    }

    /// The whole message: as JSON, or as MessagePack if it holds bytes.
    pub(crate) fn message(&self, message: &Message) -> Result<Bytes, AdapterError> {
        let (kind, data) = self.parts(message)?;
        match data.as_ref().is_some_and(Part::has_binary) {
            true => self.msgpack(kind, data),
            false => {
                let mut out = Vec::with_capacity(data.as_ref().map_or(0, Part::size) + 96);
                self.envelope(kind, data).write_json(&mut out)?;
                Ok(out.into())
            }
        }
    }

    /// The whole message as MessagePack.
    pub(crate) fn message_msgpack(&self, message: &Message) -> Result<Bytes, AdapterError> {
        let (kind, data) = self.parts(message)?;
        self.msgpack(kind, data)
    }

    /// The message for a stream: its data as JSON, or as MessagePack in base-64 if it holds bytes.
    pub(crate) fn fields(&self, message: &Message) -> Result<Fields, AdapterError> {
        let (kind, data) = self.parts(message)?;
        let data = data.map(|data| {
            let mut out = Vec::with_capacity(data.size() + 64);
            if data.has_binary() {
                data.write_msgpack(&mut out, self.msgpack)?;
                return Ok(BASE64.encode(out));
            }
            data.write_json(&mut out)?;
            String::from_utf8(out).map_err(|error| AdapterError::failed("writing a message", error))
        });
        Ok(Fields { kind, data: data.transpose()? })
    }

    fn msgpack(&self, kind: u8, data: Option<Part<'_>>) -> Result<Bytes, AdapterError> {
        let mut out = Vec::with_capacity(data.as_ref().map_or(0, Part::size) + 96);
        self.envelope(kind, data).write_msgpack(&mut out, self.msgpack)?;
        Ok(out.into())
    }

    fn envelope<'a>(&'a self, kind: u8, data: Option<Part<'a>>) -> Part<'a> {
        let mut members = vec![("type", Part::Number(kind.into()))];
        members.extend(data.map(|data| ("data", data)));
        members.push(("uid", Part::Text(self.node.as_str())));
        members.push(("nsp", Part::Text(&self.namespace)));
        Part::Map(members)
    }

    /// Number and data of a message, the members in Node's order.
    fn parts<'a>(&'a self, message: &'a Message) -> Result<(u8, Option<Part<'a>>), AdapterError> {
        let id = |request: &'a RequestId| ("requestId", Part::Text(request.as_str()));
        let opts = |options: &'a BroadcastOptions| ("opts", Part::Options(options));
        let (kind, members) = match message {
            Message::InitialHeartbeat => return Ok((number::INITIAL_HEARTBEAT, None)),
            Message::Heartbeat => return Ok((number::HEARTBEAT, None)),
            Message::AdapterClose => return Ok((number::ADAPTER_CLOSE, None)),
            Message::Broadcast { payload, options, request } => {
                let mut members = vec![("packet", self.packet(payload))];
                // Its mere presence asks for acks, so it must be absent and not null.
                members.extend(request.as_ref().map(id));
                members.push(opts(options));
                (number::BROADCAST, members)
            }
            Message::Join { options, rooms } => {
                (number::SOCKETS_JOIN, vec![opts(options), ("rooms", Part::Rooms(rooms))])
            }
            Message::Leave { options, rooms } => {
                (number::SOCKETS_LEAVE, vec![opts(options), ("rooms", Part::Rooms(rooms))])
            }
            Message::Disconnect { options, close } => {
                (number::DISCONNECT_SOCKETS, vec![opts(options), ("close", Part::Bool(*close))])
            }
            Message::FetchSockets { request, options } => {
                (number::FETCH_SOCKETS, vec![opts(options), id(request)])
            }
            Message::Sockets { request, sockets } => {
                (number::FETCH_SOCKETS_RESPONSE, vec![id(request), ("sockets", Part::Sockets(sockets))])
            }
            Message::ServerSideEmit { payload, request } => {
                let mut members: Vec<_> = request.as_ref().map(id).into_iter().collect();
                members.push(("packet", Part::Payload(payload)));
                (number::SERVER_SIDE_EMIT, members)
            }
            Message::ServerSideAnswer { request, value } => {
                (number::SERVER_SIDE_EMIT_RESPONSE, one(id(request), value)?)
            }
            Message::ClientCount { request, count } => {
                (number::BROADCAST_CLIENT_COUNT, vec![id(request), ("clientCount", Part::Number(*count))])
            }
            Message::Ack { request, value } => (number::BROADCAST_ACK, one(id(request), value)?),
            Message::CountSockets { request, options } => {
                (number::COUNT_SOCKETS, vec![opts(options), id(request)])
            }
            Message::Count { request, count } => {
                (number::COUNT, vec![id(request), ("count", Part::Number(*count))])
            }
            Message::AllRooms { request } => (number::ALL_ROOMS, vec![id(request)]),
            Message::Rooms { request, rooms } => {
                (number::ROOMS, vec![id(request), ("rooms", Part::Rooms(rooms))])
            }
        };
        Ok((kind, Some(Part::Map(members))))
    }

    fn packet<'a>(&'a self, payload: &'a Payload) -> Part<'a> {
        let mut packet = vec![("type", Part::Number(2)), ("data", Part::Payload(payload))];
        if self.packets_have_nsp {
            packet.push(("nsp", Part::Text(&self.namespace)));
        }
        Part::Map(packet)
    }
}

/// The members of an answer: its question, and the first argument, if there is one.
fn one<'a>(
    request: (&'static str, Part<'a>),
    value: &Payload,
) -> Result<Vec<(&'static str, Part<'a>)>, AdapterError> {
    let value = first(value)?.filter(|value| !matches!(value, Value::Undefined));
    Ok(std::iter::once(request).chain(value.map(|value| ("packet", Part::Value(value)))).collect())
}

/// A part of a message that can be written in both forms.
enum Part<'a> {
    Number(usize),
    Bool(bool),
    Text(&'a str),
    Value(Value),
    Payload(&'a Payload),
    Options(&'a BroadcastOptions),
    Rooms(&'a [Room]),
    Sockets(&'a [SocketSnapshot]),
    Map(Vec<(&'static str, Part<'a>)>),
}

impl Part<'_> {
    /// About how many bytes it takes, where that can be many.
    fn size(&self) -> usize {
        match self {
            Self::Payload(payload) => payload.size(),
            Self::Map(members) => members.iter().map(|(_, part)| part.size() + 24).sum(),
            _ => 0,
        }
    }

    fn has_binary(&self) -> bool {
        match self {
            Self::Value(value) => value.has_binary(),
            Self::Payload(payload) => match payload.json() {
                Some((_, attachments)) => !attachments.is_empty(),
                None => payload.to_value().is_ok_and(|value| value.has_binary()),
            },
            Self::Map(members) => members.iter().any(|(_, part)| part.has_binary()),
            _ => false,
        }
    }

    fn write_json(&self, out: &mut Vec<u8>) -> Result<(), AdapterError> {
        fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), AdapterError> {
            serde_json::to_writer(out, value)
                .map_err(|error| AdapterError::failed("writing a message", error))
        }
        match self {
            Self::Number(number) => json(out, number),
            Self::Bool(value) => json(out, value),
            Self::Text(text) => json(out, text),
            Self::Value(value) => json(out, &stringify(value).map_err(unreadable)?),
            Self::Payload(payload) => match payload.json() {
                Some((text, _)) => {
                    out.extend_from_slice(text.as_bytes());
                    Ok(())
                }
                None => json(out, &stringify(&payload.to_value().map_err(unreadable)?).map_err(unreadable)?),
            },
            Self::Options(options) => json(out, &options::Whole::from(*options)),
            Self::Rooms(rooms) => json(out, rooms),
            Self::Sockets(sockets) => {
                #[derive(serde::Serialize)]
                struct Socket<'a> {
                    id: &'a Room,
                    handshake: &'a RawValue,
                    rooms: &'a [Room],
                    data: &'a serde_json::Value,
                }
                let sockets = sockets.iter().map(|socket| Socket {
                    id: &socket.id,
                    handshake: raw(socket.handshake.text()),
                    rooms: &socket.rooms,
                    data: &socket.data,
                });
                json(out, &sockets.collect::<Vec<_>>())
            }
            Self::Map(members) => {
                out.push(b'{');
                for (n, (name, part)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    json(out, name)?;
                    out.push(b':');
                    part.write_json(out)?;
                }
                out.push(b'}');
                Ok(())
            }
        }
    }

    fn write_msgpack(&self, out: &mut Vec<u8>, dialect: msgpack::Dialect) -> Result<(), AdapterError> {
        match self {
            Self::Number(number) => write_value(out, &Value::Uint(*number as u64), dialect),
            Self::Bool(value) => write_value(out, &Value::Bool(*value), dialect),
            Self::Text(text) => string(out, text),
            Self::Value(value) => write_value(out, value, dialect),
            Self::Payload(payload) => payload.write_msgpack(out, dialect).map_err(unreadable)?,
            Self::Options(options) => options::write(out, options),
            Self::Rooms(rooms) => {
                let rooms = rooms.iter().map(Room::as_str).collect();
                write_value(out, &rooms, dialect);
            }
            Self::Sockets(_) => {
                let mut json = Vec::new();
                self.write_json(&mut json)?;
                let value = serde_json::from_slice(&json)
                    .map_err(|error| AdapterError::failed("writing a message", error))?;
                write_value(out, &value, dialect);
            }
            Self::Map(members) => {
                let len = u32::try_from(members.len()).unwrap_or(u32::MAX);
                rmp::encode::write_map_len(out, len).expect("memory takes everything");
                for (name, part) in members {
                    string(out, name);
                    part.write_msgpack(out, dialect)?;
                }
            }
        }
        Ok(())
    }
}

/// A part of a message that has not been read yet.
#[derive(Clone, Copy)]
enum Unread<'a> {
    Json(&'a RawValue),
    MsgPack(Raw<'a>),
}

/// The members of an object; of two with the same name the last counts.
enum Members<'a> {
    Json(RawMembers<'a>),
    MsgPack(Raw<'a>),
}

impl<'a> Unread<'a> {
    fn json(text: &'a str) -> Result<Self, Garbage> {
        Ok(Self::Json(serde_json::from_str(text)?))
    }

    fn msgpack(bytes: &'a Bytes) -> Result<Self, Garbage> {
        let raw = Raw::new(bytes, MAX_DEPTH);
        raw.check()?;
        Ok(Self::MsgPack(raw))
    }

    fn members(self) -> Result<Members<'a>, Garbage> {
        Ok(match self {
            Self::Json(json) => Members::Json(serde_json::from_str(json.get())?),
            Self::MsgPack(raw) if raw.members().is_some() => Members::MsgPack(raw),
            Self::MsgPack(_) => return Err(Garbage::Field("the map")),
        })
    }

    fn value(self) -> Result<Value, Garbage> {
        match self {
            Self::Json(json) => read_json(json.get()),
            Self::MsgPack(raw) => Ok(raw.to_value()?),
        }
    }

    fn payload(self) -> Result<Payload, Garbage> {
        Ok(match self {
            Self::Json(json) => Payload::from_json(json),
            Self::MsgPack(raw) => Payload::from_msgpack(raw.to_bytes())?,
        })
    }

    fn options(self) -> Result<BroadcastOptions, Garbage> {
        match self {
            Self::Json(_) => options::from_value(&self.value()?),
            Self::MsgPack(raw) => options::read(raw),
        }
    }
}

impl<'a> Members<'a> {
    fn get(&self, name: &'static str) -> Option<Unread<'a>> {
        match self {
            Self::Json(RawMembers(members)) => {
                members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| Unread::Json(value))
            }
            Self::MsgPack(raw) => {
                let value = raw.members()?.filter(|(key, _)| key == name).last();
                value.map(|(_, value)| Unread::MsgPack(value))
            }
        }
    }

    fn need(&self, name: &'static str) -> Result<Unread<'a>, Garbage> {
        self.get(name).ok_or(Garbage::Field(name))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, Garbage> {
        Ok(self.get(name).map(Unread::value).transpose()?.and_then(|value| value.as_str().map(str::to_owned)))
    }

    fn options(&self) -> Result<BroadcastOptions, Garbage> {
        self.need("opts")?.options()
    }

    fn rooms(&self) -> Result<Vec<Room>, Garbage> {
        options::rooms(&self.need("rooms")?.value()?).ok_or(Garbage::Field("rooms"))
    }

    /// The question that is asked or answered. `null` is no question, though Node takes it for one.
    fn asked(&self) -> Result<Option<RequestId>, Garbage> {
        match self.get("requestId").map(Unread::value).transpose()? {
            None | Some(Value::Null | Value::Undefined) => Ok(None),
            Some(Value::String(id)) => Ok(Some(RequestId::new(id))),
            Some(_) => Err(Garbage::Field("requestId")),
        }
    }

    fn request(&self) -> Result<RequestId, Garbage> {
        self.asked()?.ok_or(Garbage::Field("requestId"))
    }

    fn count(&self, name: &'static str) -> Result<usize, Garbage> {
        let count = self.need(name)?.value()?.as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or(Garbage::Field(name))
    }

    /// The one value of an answer, as an array; an empty one if there is none.
    fn one(&self) -> Result<Payload, Garbage> {
        let value = self.get("packet").map(Unread::value).transpose()?;
        let values = value.into_iter().filter(|value| !matches!(value, Value::Undefined));
        Ok(Payload::value_msgpack(&Value::Array(values.collect())))
    }

    /// The event in a packet.
    fn packet(&self) -> Result<Payload, Garbage> {
        let packet = self.need("packet")?.members()?;
        let kind = packet.get("type").map(Unread::value).transpose()?;
        if kind.is_some_and(|kind| kind.as_i64() != Some(2)) {
            return Err(Garbage::Field("packet.type"));
        }
        event(packet.get("data").ok_or(Garbage::Field("packet.data"))?.payload()?)
    }
}

/// An object whose values are still JSON.
struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// A message of another server, or of an emitter.
#[derive(Debug)]
pub(crate) struct Read {
    /// `None`: an emitter, or nobody says.
    pub(crate) node: Option<NodeId>,
    /// `None`: something that this version does not know, which is ignored as in Node; or an answer that nobody here
    /// `waits_for`.
    pub(crate) message: Option<Message>,
}

/// Reads a whole message. `None`: this server, `own`, sent it itself, or it is of another namespace.
pub(crate) fn read_message(
    bytes: &Bytes,
    namespace: &str,
    own: &NodeId,
    waits_for: impl FnOnce(&RequestId) -> bool,
) -> Result<Option<Read>, Garbage> {
    let text = text(bytes);
    let whole = match bytes.first() {
        Some(b'{') => Unread::json(&text)?,
        _ => Unread::msgpack(bytes)?,
    };
    let members = whole.members()?;
    let node = members.text("uid")?;
    if node.as_deref() == Some(own.as_str()) || members.text("nsp")?.as_deref() != Some(namespace) {
        return Ok(None);
    }
    let kind = members.need("type")?.value()?.as_u64().ok_or(Garbage::Field("type"))?;
    Ok(Some(Read { node: node_of(node.as_deref()), message: message(kind, members.get("data"), waits_for)? }))
}

/// Reads the message that a stream gives in parts.
pub(crate) fn read_fields(
    uid: Option<&str>,
    kind: &str,
    data: Option<&Bytes>,
    waits_for: impl FnOnce(&RequestId) -> bool,
) -> Result<Read, Garbage> {
    let kind = kind.parse().map_err(|_| Garbage::Field("type"))?;
    let text = data.map(text);
    let decoded: Bytes;
    let data = match (data.and_then(|data| data.first()), &text) {
        (None, _) | (_, None) => None,
        (Some(b'{'), Some(text)) => Some(Unread::json(text)?),
        (Some(_), Some(text)) => {
            decoded = from_base64(text)?;
            Some(Unread::msgpack(&decoded)?)
        }
    };
    Ok(Read { node: node_of(uid), message: message(kind, data, waits_for)? })
}

pub(crate) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Bytes of base-64 in either alphabet: Node reads both.
pub(crate) fn from_base64(text: &str) -> Result<Bytes, Garbage> {
    let standard = text.trim().replace('-', "+").replace('_', "/");
    BASE64.decode(standard).map(Bytes::from).map_err(|_| Garbage::Field("data"))
}

fn node_of(uid: Option<&str>) -> Option<NodeId> {
    uid.filter(|uid| *uid != EMITTER).map(NodeId::new)
}

fn message(
    kind: u64,
    data: Option<Unread<'_>>,
    waits_for: impl FnOnce(&RequestId) -> bool,
) -> Result<Option<Message>, Garbage> {
    let Ok(kind) = u8::try_from(kind) else { return Ok(None) };
    match kind {
        number::INITIAL_HEARTBEAT => return Ok(Some(Message::InitialHeartbeat)),
        number::HEARTBEAT => return Ok(Some(Message::Heartbeat)),
        number::ADAPTER_CLOSE => return Ok(Some(Message::AdapterClose)),
        number::BROADCAST..=number::BROADCAST_ACK | number::COUNT_SOCKETS..=number::ROOMS => {}
        _ => return Ok(None),
    }
    let data = data.ok_or(Garbage::Field("data"))?.members()?;
    let is_answer = matches!(
        kind,
        number::FETCH_SOCKETS_RESPONSE
            | number::SERVER_SIDE_EMIT_RESPONSE
            | number::BROADCAST_CLIENT_COUNT
            | number::BROADCAST_ACK
            | number::COUNT
            | number::ROOMS
    );
    if is_answer && !waits_for(&data.request()?) {
        return Ok(None);
    }
    Ok(Some(match kind {
        number::BROADCAST => {
            Message::Broadcast { payload: data.packet()?, options: data.options()?, request: data.asked()? }
        }
        number::SOCKETS_JOIN => Message::Join { options: data.options()?, rooms: data.rooms()? },
        number::SOCKETS_LEAVE => Message::Leave { options: data.options()?, rooms: data.rooms()? },
        number::DISCONNECT_SOCKETS => {
            let close = data.get("close").map(Unread::value).transpose()?;
            let close = close.and_then(|close| close.as_bool()).unwrap_or(false);
            Message::Disconnect { options: data.options()?, close }
        }
        number::FETCH_SOCKETS => Message::FetchSockets { request: data.request()?, options: data.options()? },
        number::FETCH_SOCKETS_RESPONSE => {
            let sockets = data.need("sockets")?.value()?;
            let sockets = sockets.as_array().ok_or(Garbage::Field("sockets"))?;
            let sockets: Option<_> = sockets.iter().map(socket).collect();
            Message::Sockets { request: data.request()?, sockets: sockets.ok_or(Garbage::Field("sockets"))? }
        }
        number::SERVER_SIDE_EMIT => Message::ServerSideEmit {
            payload: event(data.need("packet")?.payload()?)?,
            request: data.asked()?,
        },
        number::SERVER_SIDE_EMIT_RESPONSE => {
            Message::ServerSideAnswer { request: data.request()?, value: data.one()? }
        }
        number::BROADCAST_CLIENT_COUNT => {
            Message::ClientCount { request: data.request()?, count: data.count("clientCount")? }
        }
        number::BROADCAST_ACK => Message::Ack { request: data.request()?, value: data.one()? },
        number::COUNT_SOCKETS => Message::CountSockets { request: data.request()?, options: data.options()? },
        number::COUNT => Message::Count { request: data.request()?, count: data.count("count")? },
        number::ALL_ROOMS => Message::AllRooms { request: data.request()? },
        number::ROOMS => Message::Rooms { request: data.request()?, rooms: data.rooms()? },
        _ => return Ok(None),
    }))
}
