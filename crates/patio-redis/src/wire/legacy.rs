//! The requests and responses of `socket.io-redis` 5, and what can be said in them.
//!
//! They are JSON with a `requestid`, in numbers of their own: what is a join here makes sockets leave in later versions.
//! Servers are told of single sockets, by their ids, where later ones are told of rooms. Every server answers its own
//! questions too; one of Patio need not, as it only waits for the others.

use bytes::Bytes;
use patio_adapter::{
    AdapterError, BroadcastOptions, Room,
    cluster::message::{Message, RequestId, Sender},
};
use patio_proto::value::{Object, Value};
use serde::{Deserialize, Serialize};

use super::{
    Garbage,
    classic::{Request, via},
    id, options, read, text,
};

/// The numbers of requests.
mod number {
    pub(super) const CLIENTS: i64 = 0;
    pub(super) const CLIENT_ROOMS: i64 = 1;
    pub(super) const ALL_ROOMS: i64 = 2;
    pub(super) const REMOTE_JOIN: i64 = 3;
    pub(super) const REMOTE_LEAVE: i64 = 4;
    pub(super) const CUSTOM_REQUEST: i64 = 5;
    pub(super) const REMOTE_DISCONNECT: i64 = 6;
}

/// A request or response, in the order of Node's keys.
#[derive(Default, Serialize)]
struct Json<'a> {
    requestid: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    request: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a Room>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a Room>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rooms: Option<&'a [Room]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Vec<&'a Room>>,
    /// Of an answer that says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<()>,
}

impl Json<'_> {
    fn write(&self) -> Result<Bytes, AdapterError> {
        let json =
            serde_json::to_vec(self).map_err(|error| AdapterError::failed("writing a message", error))?;
        Ok(json.into())
    }
}

/// Whether a room is a socket's own, by its look: an id of 20 characters, which in clients of that time stands behind the
/// name of the namespace.
fn is_id(namespace: &str, room: &str) -> bool {
    let id = room.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('#')).unwrap_or(room);
    id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether servers can leave out whom these options leave out: sockets, not the members of rooms.
pub(super) fn check_except(
    options: &BroadcastOptions,
    namespace: &str,
    is_here: impl Fn(&Room) -> bool,
) -> Result<(), AdapterError> {
    if options.except.iter().all(|room| is_id(namespace, room) || is_here(room)) {
        return Ok(());
    }
    Err(AdapterError::unsupported("leaving out the members of a room"))
}

/// Whom a broadcast is for.
pub(super) fn options(options: &BroadcastOptions) -> Value {
    let list = |rooms: &[Room]| rooms.iter().map(Room::as_str).collect::<Value>();
    let except = (!options.except.is_empty()).then(|| ("except", list(&options.except)));
    let volatile = options.flags.volatile.then_some(("volatile", Value::Bool(true)));
    let compress = options.flags.compress.map(|compress| ("compress", Value::Bool(compress)));
    let flags: Object =
        volatile.into_iter().chain(compress).map(|(name, flag)| (name.to_owned(), flag)).collect();
    let rooms = ("rooms", list(options.rooms.as_deref().unwrap_or_default()));
    let members = except.into_iter().chain([rooms, ("flags", Value::Object(flags))]);
    Value::Object(members.map(|(name, member)| (name.to_owned(), member)).collect())
}

/// The requests that say this: a change needs one for each socket, except those that `is_here`, and each room.
pub(super) fn requests(
    message: &Message,
    namespace: &str,
    is_here: impl Fn(&Room) -> bool,
) -> Result<Vec<Bytes>, AdapterError> {
    match message {
        Message::Join { options, rooms } => {
            let sockets = sockets(options, namespace, is_here)?;
            moves(number::REMOTE_JOIN, &sockets, rooms)
        }
        Message::Leave { options, rooms } => {
            let sockets = sockets(options, namespace, is_here)?;
            moves(number::REMOTE_LEAVE, &sockets, rooms)
        }
        Message::Disconnect { options, close } => {
            let request = |sid| {
                let requestid = id();
                let (request, close) = (Some(number::REMOTE_DISCONNECT), Some(*close));
                Json { requestid: &requestid, request, sid: Some(sid), close, ..Json::default() }.write()
            };
            sockets(options, namespace, is_here)?.into_iter().map(request).collect()
        }
        Message::CountSockets { request, options } if options.except.is_empty() => {
            let rooms = options.rooms.as_deref().unwrap_or_default();
            let (requestid, request) = (request.as_str(), Some(number::CLIENTS));
            Ok(vec![Json { requestid, request, rooms: Some(rooms), ..Json::default() }.write()?])
        }
        Message::AllRooms { request } => {
            let (requestid, request) = (request.as_str(), Some(number::ALL_ROOMS));
            Ok(vec![Json { requestid, request, ..Json::default() }.write()?])
        }
        Message::CountSockets { .. } => Err(AdapterError::unsupported("leaving out the members of a room")),
        Message::Broadcast { .. } => Err(AdapterError::unsupported("broadcasts with acks")),
        Message::FetchSockets { .. } => Err(AdapterError::unsupported("fetchSockets")),
        Message::ServerSideEmit { .. } => Err(AdapterError::unsupported("serverSideEmit")),
        _ => Err(AdapterError::unsupported("a message of newer adapters")),
    }
}

fn moves(kind: i64, sockets: &[&Room], rooms: &[Room]) -> Result<Vec<Bytes>, AdapterError> {
    let pairs = sockets.iter().flat_map(|&sid| rooms.iter().map(move |room| (sid, room)));
    let request = |(sid, room)| {
        let requestid = id();
        let (sid, room) = (Some(sid), Some(room));
        Json { requestid: &requestid, request: Some(kind), sid, room, ..Json::default() }.write()
    };
    pairs.map(request).collect()
}

/// The sockets of other servers that are meant, if all are named by their ids.
fn sockets<'a>(
    options: &'a BroadcastOptions,
    namespace: &str,
    is_here: impl Fn(&Room) -> bool,
) -> Result<Vec<&'a Room>, AdapterError> {
    let unsupported = || AdapterError::unsupported("changing sockets that are not named by their ids");
    let rooms = options.rooms.as_deref().filter(|_| options.except.is_empty()).ok_or_else(unsupported)?;
    let elsewhere: Vec<_> = rooms.iter().filter(|room| !is_here(room)).collect();
    if elsewhere.iter().all(|room| is_id(namespace, room)) { Ok(elsewhere) } else { Err(unsupported()) }
}

/// An answer to a question.
pub(super) fn response(message: &Message) -> Result<Bytes, AdapterError> {
    match message {
        Message::Sockets { request, sockets } => {
            let clients = Some(sockets.iter().map(|socket| &socket.id).collect());
            Json { requestid: request.as_str(), clients, ..Json::default() }.write()
        }
        Message::Rooms { request, rooms } => rooms_response(request, rooms),
        _ => Err(AdapterError::unsupported("a message of newer adapters")),
    }
}

/// These rooms: all of this server's, or those of one socket.
pub(crate) fn rooms_response(request: &RequestId, rooms: &[Room]) -> Result<Bytes, AdapterError> {
    Json { requestid: request.as_str(), rooms: Some(rooms), ..Json::default() }.write()
}

/// That one socket was changed.
pub(super) fn done(request: &RequestId) -> Result<Bytes, AdapterError> {
    Json { requestid: request.as_str(), ..Json::default() }.write()
}

/// What a server of Node says to a question of an application's own that its application does not know.
pub(crate) fn nothing(request: &RequestId) -> Result<Bytes, AdapterError> {
    Json { requestid: request.as_str(), data: Some(()), ..Json::default() }.write()
}

/// Reads a request; those of this server come back to it, and `is_own` tells which they are.
pub(crate) fn read_request(
    bytes: &Bytes,
    is_own: impl FnOnce(&RequestId) -> bool,
) -> Result<Request, Garbage> {
    let value = read(bytes)?;
    // Also how those of other versions are told apart, whose numbers mean something else.
    let request = value["requestid"].as_str().map(RequestId::new).ok_or(Garbage::Field("requestid"))?;
    if is_own(&request) {
        return Ok(Request::Ignored);
    }
    let sender = Sender { node: None, via: via::USUAL };
    let sid = || options::room(&value["sid"]).ok_or(Garbage::Field("sid"));
    let room = || options::room(&value["room"]).ok_or(Garbage::Field("room"));
    Ok(match value["type"].as_i64().ok_or(Garbage::Field("type"))? {
        // Its rooms stand where others have their options.
        number::CLIENTS => {
            let options = options::from_value(&value)?;
            Request::Message(sender, Message::FetchSockets { request, options })
        }
        number::CLIENT_ROOMS => Request::RoomsOf(sid()?, request),
        number::ALL_ROOMS => Request::Message(sender, Message::AllRooms { request }),
        number::REMOTE_JOIN => {
            let (sid, rooms) = (sid()?, vec![room()?]);
            let message = Message::Join { options: BroadcastOptions::to(&sid), rooms };
            Request::OfSocket(sender, message, sid, request)
        }
        number::REMOTE_LEAVE => {
            let (sid, rooms) = (sid()?, vec![room()?]);
            let message = Message::Leave { options: BroadcastOptions::to(&sid), rooms };
            Request::OfSocket(sender, message, sid, request)
        }
        number::CUSTOM_REQUEST => Request::Custom(request),
        number::REMOTE_DISCONNECT => {
            let (sid, close) = (sid()?, value["close"].as_bool().unwrap_or(false));
            let message = Message::Disconnect { options: BroadcastOptions::to(&sid), close };
            Request::OfSocket(sender, message, sid, request)
        }
        _ => Request::Ignored,
    })
}

/// Reads a response, if it is to a question that somebody `waits_for`: all servers hear the responses to all.
pub(crate) fn read_response(
    bytes: &Bytes,
    waits_for: impl FnOnce(&RequestId) -> bool,
) -> Result<Option<Message>, Garbage> {
    #[derive(Deserialize)]
    struct Head {
        requestid: Option<String>,
    }

    let head: Head = serde_json::from_str(&text(bytes))?;
    let request = RequestId::new(head.requestid.ok_or(Garbage::Field("requestid"))?);
    if !waits_for(&request) {
        return Ok(None);
    }
    let value = read(bytes)?;
    if value.get("rooms").is_some() {
        let rooms = options::rooms(&value["rooms"]).ok_or(Garbage::Field("rooms"))?;
        return Ok(Some(Message::Rooms { request, rooms }));
    }
    let clients = value["clients"].as_array().ok_or(Garbage::Field("clients"))?;
    Ok(Some(Message::Count { request, count: clients.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "KilU6PmX1A3fESqKAAAA";

    fn nobody_is_here(_: &Room) -> bool {
        false
    }

    #[test]
    fn an_id_is_told_from_a_room_by_its_look() {
        for room in [ID, "/chat#é#KilU6PmX1A3fESqKAAAA", "--------____________"] {
            assert!(is_id("/chat#é", room), "{room}");
        }
        for room in ["", "room1", "KilU6PmX1A3fESqKAAA", "KilU6PmX1A3fESqKAAA#", "/chat#KilU6PmX1A3fESqKAAAA"]
        {
            assert!(!is_id("/chat#é", room), "{room}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let join = |options| Message::Join { options, rooms: vec!["r".into()] };
        let to_say = |message| requests(&message, "/", nobody_is_here);
        for options in [
            BroadcastOptions::everyone(),
            BroadcastOptions::to("room1"),
            BroadcastOptions::to([ID, "room1"]),
            BroadcastOptions::to(ID).except("room1"),
        ] {
            assert!(to_say(join(options.clone())).unwrap_err().is_unsupported(), "{options:?}");
            assert!(to_say(Message::Disconnect { options, close: true }).unwrap_err().is_unsupported());
        }
        let request = || RequestId::new("abcdef");
        let count =
            Message::CountSockets { request: request(), options: BroadcastOptions::everyone().except("a") };
        let fetch = Message::FetchSockets { request: request(), options: BroadcastOptions::everyone() };
        for message in [count, fetch] {
            assert!(to_say(message).unwrap_err().is_unsupported());
        }
        let except = |room: &str, is_here: bool| {
            check_except(&BroadcastOptions::everyone().except(room), "/", |_| is_here)
        };
        assert!(except(ID, false).is_ok() && except("an-own-id", true).is_ok());
        assert!(except("room1", false).unwrap_err().is_unsupported());
    }

    #[test]
    fn a_change_is_asked_for_each_socket_elsewhere_and_each_room() {
        let other = "AAAAAAAAAAAAAAAAAAAA";
        let options = BroadcastOptions::to([ID, other, "own-id"]);
        let is_here = |room: &Room| room.as_str() == "own-id";
        let join = Message::Join { options: options.clone(), rooms: vec!["a".into(), "b".into()] };
        let said = requests(&join, "/", is_here).unwrap();
        let mut seen = Vec::new();
        for bytes in &said {
            let read = read_request(bytes, |_| false).unwrap();
            let Request::OfSocket(_, Message::Join { rooms, .. }, socket, _) = read else {
                panic!("{read:?}")
            };
            seen.push((socket.to_string(), rooms[0].to_string()));
        }
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(seen, [pair(ID, "a"), pair(ID, "b"), pair(other, "a"), pair(other, "b")]);
        let leave = Message::Leave { options: BroadcastOptions::to("own-id"), rooms: vec!["a".into()] };
        assert!(requests(&leave, "/", is_here).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_request_of_this_version_is_garbage() {
        let read = |json: &'static str| read_request(&Bytes::from(json), |_| false);
        for json in [
            r#"{"uid":"yQRy5y","type":4,"opts":{"rooms":[],"except":[]},"close":true}"#,
            r#"{"uid":"yQRy5y","requestId":"abcdef","type":5,"opts":{"rooms":[],"except":[]}}"#,
            r#"{"requestId":"abcdef","type":2,"sid":"KilU6PmX1A3fESqKAAAA","room":"r"}"#,
            r#"{"requestid":7,"type":2}"#,
            r#"{"requestid":"abcdef"}"#,
            r#"{"requestid":"abcdef","type":"2"}"#,
            r#"{"requestid":"abcdef","type":1}"#,
            r#"{"requestid":"abcdef","type":3,"sid":"KilU6PmX1A3fESqKAAAA"}"#,
            r#"{"requestid":"abcdef","type":4,"room":"r"}"#,
            r#"{"requestid":"abcdef","type":6,"sid":{}}"#,
            r#"{"requestid":"abcdef","type":0,"rooms":"r"}"#,
            "[]",
            "",
        ] {
            assert!(read(json).is_err(), "{json}");
        }
        assert!(matches!(read(r#"{"requestid":"abcdef","type":7}"#).unwrap(), Request::Ignored));
        let own = Bytes::from(r#"{"requestid":"abcdef","type":2}"#);
        assert!(matches!(read_request(&own, |_| true).unwrap(), Request::Ignored));
        for json in [r#"{"requestId":"abcdef","rooms":[]}"#, r#"{"requestid":"abcdef"}"#, "{}", "\u{85}", ""]
        {
            assert!(read_response(&Bytes::from(json), |_| true).is_err(), "{json}");
        }
    }
}
