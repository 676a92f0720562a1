//! What Node's packages sent, recorded from redis-adapter 8.3.0 and 7.2.0, socket.io-redis 5.4.0, redis-emitter 5.1.0 and
//! socket.io-emitter 3.2.0: it is read, and what is written here is the same to the byte, but for the ids. Beside it stand the messages of our own.

use std::time::Duration;

use bytes::Bytes;
use patio_adapter::{
    BroadcastOptions, LazyJson, NodeId, Payload, Room, SocketSnapshot,
    cluster::message::{Message, RequestId, Sender},
};
use patio_proto::value::{Object, Value};

use super::{
    classic::{self, Encoder, Request, via},
    legacy,
};
use crate::Dialect;

pub(super) fn hex(text: &str) -> Bytes {
    let digits: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn encoder(dialect: Dialect) -> Encoder {
    Encoder { node: NodeId::new("yQRy5y"), namespace: "/".into(), dialect }
}

pub(super) fn values(values: impl IntoIterator<Item = Value>) -> Payload {
    Payload::value_msgpack(&values.into_iter().collect())
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(Object::from(members))
}

/// A server that has sent none of these.
fn nobody() -> NodeId {
    NodeId::new("nobody")
}

fn to_asker() -> Sender {
    Sender { node: Some(NodeId::new("asker0")), via: via::USUAL }
}

/// A broadcast of 8.3.0, in its two forms of the same options.
const HEAD: &str = "93 a6 79 51 52 79 35 79 83 a4 74 79 70 65 02 a4 64 61 74 61";
const NSP: &str = "a3 6e 73 70 a1 2f";
const EVERYONE: &str = "83 a5 72 6f 6f 6d 73 90 a6 65 78 63 65 70 74 90 a5 66 6c 61 67 73 80";

#[test]
fn broadcasts() {
    let dated = [Value::Date(1_700_000_000_000), Value::Date(1_700_000_000_123)];
    let binary = |bytes: &'static [u8]| Value::Binary(Bytes::from_static(bytes));
    let hello = values([
        "hello".into(),
        Value::Int(1),
        "é".into(),
        object([("a", Value::Null), ("u", Value::Undefined)]),
        [Value::Undefined, Value::Float(1.5)].into_iter().collect(),
    ]);
    let bin = values(["bin".into(), binary(&[1, 2, 3]), binary(&[4, 5])].into_iter().chain(dated));
    let everyone = BroadcastOptions::everyone();
    let mut flags = BroadcastOptions::to("room1").timeout(Duration::from_millis(100));
    (flags.flags.volatile, flags.flags.compress) = (true, Some(true));
    let cases = [
        (
            Dialect::V8,
            &hello,
            &everyone,
            "95 a5 68 65 6c 6c 6f 01 a2 c3 a9 81 a1 61 c0 92 c0 cb 3f f8 00 00 00 00 00 00",
            EVERYONE,
        ),
        (
            Dialect::V7,
            &hello,
            &everyone,
            "95 a5 68 65 6c 6c 6f 01 a2 c3 a9 82 a1 61 c0 a1 75 d4 00 00 92 d4 00 00 cb 3f f8 00 00 00 00 00 00",
            EVERYONE,
        ),
        (
            Dialect::V8,
            &bin,
            &everyone,
            "95 a3 62 69 6e c4 03 01 02 03 c4 02 04 05 d6 ff 65 53 f1 00 d7 ff 1d 53 53 00 65 53 f1 00",
            EVERYONE,
        ),
        (
            Dialect::V6,
            &bin,
            &everyone,
            "95 a3 62 69 6e c4 03 01 02 03 c4 02 04 05 d7 00 00 00 01 8b cf e5 68 00 d7 00 00 00 01 8b cf e5 68 7b",
            EVERYONE,
        ),
        (
            Dialect::V8,
            &values(["r".into(), Value::Int(1)]),
            &BroadcastOptions::to("room1").except("x"),
            "92 a1 72 01",
            "83 a5 72 6f 6f 6d 73 91 a5 72 6f 6f 6d 31 a6 65 78 63 65 70 74 91 a1 78 a5 66 6c 61 67 73 80",
        ),
        (
            Dialect::V8,
            &values(["v".into()]),
            &flags,
            "91 a1 76",
            "83 a5 72 6f 6f 6d 73 91 a5 72 6f 6f 6d 31 a6 65 78 63 65 70 74 90 a5 66 6c 61 67 73 83 a8 63 6f 6d 70 72 65 73 73
             c3 a8 76 6f 6c 61 74 69 6c 65 c3 a7 74 69 6d 65 6f 75 74 64",
        ),
    ];
    for (dialect, payload, options, data, opts) in cases {
        let bytes = hex(&[HEAD, data, NSP, opts].join(" "));
        assert_eq!(encoder(dialect).broadcast(payload, options).unwrap(), bytes, "{payload:?}");
        let read = classic::read_broadcast(&bytes, "/", &nobody()).unwrap().unwrap();
        assert_eq!(read.node, Some(NodeId::new("yQRy5y")));
        assert_eq!(read.options, *options);
        // `undefined` is not kept by version 8.
        if (dialect, payload) != (Dialect::V8, &hello) {
            assert_eq!(read.payload, *payload);
        }
        assert!(classic::read_broadcast(&bytes, "/other", &nobody()).unwrap().is_none());
    }
}

#[test]
fn what_json_says_is_written_without_a_tree_to_the_same_bytes() {
    let payload = Payload::event("hello", &(1, "é", Some(1.5), None::<()>)).unwrap();
    let tree = Payload::value_msgpack(&payload.to_value().unwrap());
    let everyone = BroadcastOptions::everyone();
    let encoder = encoder(Dialect::V8);
    assert_eq!(encoder.broadcast(&payload, &everyone).unwrap(), encoder.broadcast(&tree, &everyone).unwrap());
}

/// An emitter's: other order of options, no uid that would be a server's.
#[test]
fn emitters() {
    let node = hex(
        "93 a7 65 6d 69 74 74 65 72 83 a4 74 79 70 65 02 a4 64 61 74 61 92 a2 68 69 c4 01 01 a3 6e 73 70 a1 2f
         83 a5 72 6f 6f 6d 73 91 a2 72 31 a5 66 6c 61 67 73 80 a6 65 78 63 65 70 74 90",
    );
    let read = classic::read_broadcast(&node, "/", &nobody()).unwrap().unwrap();
    assert_eq!(read.options, BroadcastOptions::to("r1"));
    assert_eq!(read.payload, values(["hi".into(), Value::Binary(Bytes::from_static(&[1]))]));
    // The legacy one of Node knows no `except`, and Python's says "" for nothing.
    for opts in
        ["82 a5 72 6f 6f 6d 73 90 a5 66 6c 61 67 73 80", "82 a5 72 6f 6f 6d 73 a0 a5 66 6c 61 67 73 a0"]
    {
        let legacy = hex(&format!(
            "93 a7 65 6d 69 74 74 65 72 83 a4 74 79 70 65 02 a4 64 61 74 61 91 a1 78 {NSP} {opts}"
        ));
        let read = classic::read_broadcast(&legacy, "/", &nobody()).unwrap().unwrap();
        assert_eq!(read.options, BroadcastOptions::everyone());
    }
    let join = Bytes::from_static(br#"{"type":2,"opts":{"rooms":[],"except":[]},"rooms":["r1"]}"#);
    assert!(matches!(
        classic::read_request(&join, "/").unwrap(),
        Request::Message(Sender { node: None, .. }, Message::Join { rooms, .. }) if rooms == ["r1"]
    ));
}

#[test]
fn requests() {
    let id = || RequestId::new("tW5rU2");
    let everyone = BroadcastOptions::everyone;
    let acks = values(["q".into(), "x".into()]);
    let cases = [
        (
            Message::Join {
                options: BroadcastOptions::to("s1"),
                rooms: vec!["room2".into(), "room3".into()],
            },
            r#"{"uid":"yQRy5y","type":2,"opts":{"rooms":["s1"],"except":[]},"rooms":["room2","room3"]}"#,
        ),
        (
            Message::Leave { options: everyone().except("room2"), rooms: vec!["room1".into()] },
            r#"{"uid":"yQRy5y","type":3,"opts":{"rooms":[],"except":["room2"]},"rooms":["room1"]}"#,
        ),
        (
            Message::Disconnect { options: everyone(), close: false },
            r#"{"uid":"yQRy5y","type":4,"opts":{"rooms":[],"except":[]},"close":false}"#,
        ),
        (
            Message::FetchSockets { request: id(), options: everyone() },
            r#"{"uid":"yQRy5y","requestId":"tW5rU2","type":5,"opts":{"rooms":[],"except":[]}}"#,
        ),
        (Message::AllRooms { request: id() }, r#"{"uid":"yQRy5y","requestId":"tW5rU2","type":1}"#),
        (
            Message::ServerSideEmit { payload: values(["sse".into(), Value::Int(1)]), request: None },
            r#"{"uid":"yQRy5y","type":6,"data":["sse",1]}"#,
        ),
        (
            Message::ServerSideEmit { payload: values(["sse".into(), "q".into()]), request: Some(id()) },
            r#"{"uid":"yQRy5y","requestId":"tW5rU2","type":6,"data":["sse","q"]}"#,
        ),
    ];
    let encoder = encoder(Dialect::V8);
    for (message, json) in cases {
        assert_eq!(encoder.request(&message).unwrap(), json);
        let Request::Message(sender, read) = classic::read_request(&Bytes::from(json), "/").unwrap() else {
            panic!("{json}");
        };
        assert_eq!(sender, Sender { node: Some(NodeId::new("yQRy5y")), via: via::USUAL });
        assert_eq!(encoder.request(&read).unwrap(), json);
    }
    let type_7 = hex(
        "85 a3 75 69 64 a6 79 51 52 79 35 79 a9 72 65 71 75 65 73 74 49 64 a6 7a 36 64 49 50 65 a4 74 79 70 65 07
         a6 70 61 63 6b 65 74 83 a4 74 79 70 65 02 a4 64 61 74 61 92 a1 71 a1 78 a3 6e 73 70 a1 2f
         a4 6f 70 74 73 83 a5 72 6f 6f 6d 73 90 a6 65 78 63 65 70 74 90 a5 66 6c 61 67 73 81 a7 74 69 6d 65 6f 75 74 cd 01 f4",
    );
    let message = Message::Broadcast {
        payload: acks,
        options: everyone().timeout(Duration::from_millis(500)),
        request: Some(RequestId::new("z6dIPe")),
    };
    assert_eq!(encoder.request(&message).unwrap(), type_7);
    let Request::Message(_, read) = classic::read_request(&type_7, "/").unwrap() else { panic!() };
    assert_eq!(encoder.request(&read).unwrap(), type_7);
}

#[test]
fn requests_of_older_versions() {
    let read = |json: &'static str| classic::read_request(&Bytes::from(json), "/");
    let Request::OfSocket(_, Message::Join { options, rooms }, socket, request) =
        read(r#"{"requestId":"abcdef","type":2,"sid":"s1","room":"r"}"#).unwrap()
    else {
        panic!();
    };
    assert_eq!((options, rooms, socket), (BroadcastOptions::to("s1"), vec!["r".into()], "s1".into()));
    assert_eq!(encoder(Dialect::V6).done(&request).unwrap(), r#"{"requestId":"abcdef"}"#);
    let Request::Message(sender, Message::FetchSockets { request, options }) =
        read(r#"{"requestId":"abcdef","type":0,"rooms":["r"]}"#).unwrap()
    else {
        panic!();
    };
    assert_eq!(options, BroadcastOptions::to("r"));
    let sockets = vec![snapshot()];
    let answer = encoder(Dialect::V6).response(&sender, &Message::Sockets { request, sockets }).unwrap();
    assert_eq!(answer, r#"{"requestId":"abcdef","sockets":["s1"]}"#);
    // 5.x: another protocol under the same name.
    assert!(read(r#"{"type":4,"requestid":"abcdef","sid":"s1","room":"r"}"#).is_err());
}

fn snapshot() -> SocketSnapshot {
    SocketSnapshot {
        id: "s1".into(),
        handshake: LazyJson::from_text(r#"{"headers":{},"auth":{}}"#.into()),
        rooms: vec!["s1".into(), "room1".into()],
        data: serde_json::json!({"u": "B"}),
    }
}

#[test]
fn responses() {
    let id = || RequestId::new("tW5rU2");
    let none = Payload::empty;
    let cases: [(Message, Bytes); 8] = [
        (
            Message::Sockets { request: id(), sockets: vec![snapshot()] },
            r#"{"requestId":"tW5rU2","sockets":[{"id":"s1","handshake":{"headers":{},"auth":{}},"rooms":["s1","room1"],"data":{"u":"B"}}]}"#.into(),
        ),
        (
            Message::Rooms { request: id(), rooms: vec!["s1".into(), "42".into()] },
            r#"{"requestId":"tW5rU2","rooms":["s1","42"]}"#.into(),
        ),
        (
            Message::ClientCount { request: id(), count: 1 },
            r#"{"type":8,"requestId":"tW5rU2","clientCount":1}"#.into(),
        ),
        (
            Message::ServerSideAnswer { request: id(), value: values(["respB".into()]) },
            r#"{"type":6,"requestId":"tW5rU2","data":"respB"}"#.into(),
        ),
        (
            Message::ServerSideAnswer { request: id(), value: none() },
            r#"{"type":6,"requestId":"tW5rU2"}"#.into(),
        ),
        (
            Message::Ack { request: id(), value: values(["cB".into()]) },
            hex("83 a4 74 79 70 65 09 a9 72 65 71 75 65 73 74 49 64 a6 74 57 35 72 55 32 a6 70 61 63 6b 65 74 a2 63 42"),
        ),
        (
            Message::Ack { request: id(), value: none() },
            hex("82 a4 74 79 70 65 09 a9 72 65 71 75 65 73 74 49 64 a6 74 57 35 72 55 32"),
        ),
        (Message::Count { request: id(), count: 3 }, r#"{"requestId":"tW5rU2","count":3}"#.into()),
    ];
    let encoder = encoder(Dialect::V8);
    for (message, bytes) in cases {
        assert_eq!(encoder.response(&to_asker(), &message).unwrap(), bytes);
        let read = classic::read_response(&bytes, |request| *request == id()).unwrap().unwrap();
        assert_eq!(encoder.response(&to_asker(), &read).unwrap(), bytes);
        // Most responses are for others: they are not read.
        assert!(classic::read_response(&bytes, |_| false).unwrap().is_none());
    }
    // Node's numeric rooms.
    let rooms = Bytes::from_static(br#"{"requestId":"uK_ewt","rooms":["s1",42]}"#);
    let Some(Message::Rooms { rooms, .. }) = classic::read_response(&rooms, |_| true).unwrap() else {
        panic!()
    };
    assert_eq!(rooms, [Room::from("s1"), Room::from("42")]);
}

#[test]
fn binary_for_servers_is_kept_where_they_can_read_it() {
    let payload = values(["sse".into(), Value::Binary(Bytes::from_static(&[1, 2]))]);
    let message = Message::ServerSideEmit { payload: payload.clone(), request: None };
    let bytes = encoder(Dialect::V8).request(&message).unwrap();
    assert_ne!(bytes[0], b'{');
    let Request::Message(_, Message::ServerSideEmit { payload: read, .. }) =
        classic::read_request(&bytes, "/").unwrap()
    else {
        panic!();
    };
    assert_eq!(read, payload);
    // As Node's JSON has it.
    let json = encoder(Dialect::V7_1).request(&message).unwrap();
    assert_eq!(json, r#"{"uid":"yQRy5y","type":6,"data":["sse",{"type":"Buffer","data":[1,2]}]}"#);
    assert!(encoder(Dialect::V6).request(&message).unwrap_err().is_unsupported());
}

/// A broadcast of `socket.io-redis` 5.4.0.
fn broadcast_of_5(packet: &str, nsp: &str, opts: &str) -> Bytes {
    hex(&["93 a6 79 51 52 79 35 79 83 a4 74 79 70 65", packet, nsp, opts].join(" "))
}

#[test]
fn broadcasts_of_version_5() {
    let except = || BroadcastOptions::everyone().except("KilU6PmX1A3fESqKAAAA");
    let mut flags = BroadcastOptions::everyone().timeout(Duration::from_millis(100));
    (flags.flags.volatile, flags.flags.compress) = (true, Some(false));
    let hello = values(["hello".into(), Value::Int(1), object([("a", Value::Undefined)])]);
    let bin = values(["bin".into(), Value::Binary(Bytes::from_static(&[1, 2]))]);
    let cases = [
        (
            &hello,
            BroadcastOptions::everyone(),
            "02 a4 64 61 74 61 93 a5 68 65 6c 6c 6f 01 81 a1 61 d4 00 00",
            "82 a5 72 6f 6f 6d 73 90 a5 66 6c 61 67 73 80",
        ),
        // Its servers send binary only if the packet says so.
        (
            &bin,
            BroadcastOptions::everyone(),
            "05 a4 64 61 74 61 92 a3 62 69 6e c4 02 01 02",
            "82 a5 72 6f 6f 6d 73 90 a5 66 6c 61 67 73 80",
        ),
        (
            &values(["r".into()]),
            BroadcastOptions::to(["room1", "room2"]),
            "02 a4 64 61 74 61 91 a1 72",
            "82 a5 72 6f 6f 6d 73 92 a5 72 6f 6f 6d 31 a5 72 6f 6f 6d 32 a5 66 6c 61 67 73 80",
        ),
        (
            &values(["b".into()]),
            BroadcastOptions { rooms: BroadcastOptions::to("room1").rooms, ..except() },
            "02 a4 64 61 74 61 91 a1 62",
            "83 a6 65 78 63 65 70 74 91 b4 4b 69 6c 55 36 50 6d 58 31 41 33 66 45 53 71 4b 41 41 41 41
             a5 72 6f 6f 6d 73 91 a5 72 6f 6f 6d 31 a5 66 6c 61 67 73 80",
        ),
        // A time to wait, which its servers do not know, is not written.
        (
            &values(["v".into()]),
            flags,
            "02 a4 64 61 74 61 91 a1 76",
            "82 a5 72 6f 6f 6d 73 90 a5 66 6c 61 67 73 82 a8 76 6f 6c 61 74 69 6c 65 c3 a8 63 6f 6d 70 72 65 73 73 c2",
        ),
    ];
    for (payload, mut options, packet, opts) in cases {
        let bytes = broadcast_of_5(packet, NSP, opts);
        assert_eq!(encoder(Dialect::V5).broadcast(payload, &options).unwrap(), bytes, "{payload:?}");
        options.flags.timeout = None;
        let read = classic::read_broadcast(&bytes, "/", &nobody()).unwrap().unwrap();
        assert_eq!((read.options, read.payload), (options, payload.clone()));
    }
    // `socket.broadcast` of its own servers has a flag more.
    let own = broadcast_of_5(
        "02 a4 64 61 74 61 91 a1 62",
        NSP,
        "83 a6 65 78 63 65 70 74 91 b4 4b 69 6c 55 36 50 6d 58 31 41 33 66 45 53 71 4b 41 41 41 41
         a5 72 6f 6f 6d 73 90 a5 66 6c 61 67 73 81 a9 62 72 6f 61 64 63 61 73 74 c3",
    );
    assert_eq!(classic::read_broadcast(&own, "/", &nobody()).unwrap().unwrap().options, except());
}

/// What stands in place of a random id.
fn without_id(bytes: &Bytes) -> String {
    let json = String::from_utf8(bytes.to_vec()).unwrap();
    let (begin, rest) = json.split_at(r#"{"requestid":""#.len());
    assert!(begin == r#"{"requestid":""# && rest.as_bytes()[6] == b'"', "{json}");
    format!("{begin}k21s40{}", &rest[6..])
}

#[test]
fn requests_of_version_5() {
    let id = || RequestId::new("k21s40");
    let sid = || BroadcastOptions::to("KilU6PmX1A3fESqKAAAA");
    let cases = [
        (
            Message::CountSockets { request: id(), options: BroadcastOptions::everyone() },
            r#"{"requestid":"k21s40","type":0,"rooms":[]}"#,
        ),
        (
            Message::CountSockets { request: id(), options: BroadcastOptions::to("room1") },
            r#"{"requestid":"k21s40","type":0,"rooms":["room1"]}"#,
        ),
        (Message::AllRooms { request: id() }, r#"{"requestid":"k21s40","type":2}"#),
        (
            Message::Join { options: sid(), rooms: vec!["room9".into()] },
            r#"{"requestid":"k21s40","type":3,"sid":"KilU6PmX1A3fESqKAAAA","room":"room9"}"#,
        ),
        (
            Message::Leave { options: sid(), rooms: vec!["room9".into()] },
            r#"{"requestid":"k21s40","type":4,"sid":"KilU6PmX1A3fESqKAAAA","room":"room9"}"#,
        ),
        (
            Message::Disconnect { options: sid(), close: true },
            r#"{"requestid":"k21s40","type":6,"sid":"KilU6PmX1A3fESqKAAAA","close":true}"#,
        ),
    ];
    for (message, json) in cases {
        let written = encoder(Dialect::V5).requests(&message, |_| false).unwrap();
        assert_eq!(written.iter().map(without_id).collect::<Vec<_>>(), [json]);
        let read = legacy::read_request(&Bytes::from(json), |_| false).unwrap();
        let of_socket = |socket: &Room, request: &RequestId| {
            socket.as_str() == "KilU6PmX1A3fESqKAAAA" && *request == id()
        };
        let is_as_said = match (&message, &read) {
            (Message::CountSockets { options: said, .. }, Request::Message(_, read)) => {
                matches!(read, Message::FetchSockets { options, request } if options == said && *request == id())
            }
            (Message::AllRooms { .. }, Request::Message(_, Message::AllRooms { request })) => {
                *request == id()
            }
            (
                Message::Join { rooms: said, .. },
                Request::OfSocket(_, Message::Join { rooms, options }, socket, request),
            )
            | (
                Message::Leave { rooms: said, .. },
                Request::OfSocket(_, Message::Leave { rooms, options }, socket, request),
            ) => rooms == said && *options == sid() && of_socket(socket, request),
            (
                Message::Disconnect { .. },
                Request::OfSocket(_, Message::Disconnect { close: true, options }, socket, request),
            ) => *options == sid() && of_socket(socket, request),
            _ => false,
        };
        assert!(is_as_said, "{json}: {read:?}");
    }
    let read = |json: &'static str| legacy::read_request(&Bytes::from(json), |_| false).unwrap();
    let Request::RoomsOf(socket, request) =
        read(r#"{"requestid":"JKHMjh","type":1,"sid":"KilU6PmX1A3fESqKAAAA"}"#)
    else {
        panic!();
    };
    assert_eq!(socket, Room::from("KilU6PmX1A3fESqKAAAA"));
    let rooms = legacy::rooms_response(&request, std::slice::from_ref(&socket)).unwrap();
    assert_eq!(rooms, r#"{"requestid":"JKHMjh","rooms":["KilU6PmX1A3fESqKAAAA"]}"#);
    let Request::Custom(request) = read(r#"{"requestid":"WVBF0W","type":5,"data":{"x":1}}"#) else {
        panic!()
    };
    assert_eq!(legacy::nothing(&request).unwrap(), r#"{"requestid":"WVBF0W","data":null}"#);
}

#[test]
fn responses_of_version_5() {
    let id = || RequestId::new("YbHCxb");
    let encoder = encoder(Dialect::V5);
    let clients = Message::Sockets { request: id(), sockets: vec![snapshot()] };
    let clients = encoder.response(&to_asker(), &clients).unwrap();
    assert_eq!(clients, r#"{"requestid":"YbHCxb","clients":["s1"]}"#);
    let rooms = Message::Rooms { request: id(), rooms: vec!["s1".into()] };
    let rooms = encoder.response(&to_asker(), &rooms).unwrap();
    assert_eq!(rooms, r#"{"requestid":"YbHCxb","rooms":["s1"]}"#);
    assert_eq!(encoder.done(&id()).unwrap(), r#"{"requestid":"YbHCxb"}"#);
    let read = |bytes: &Bytes| legacy::read_response(bytes, |request| *request == id()).unwrap();
    assert!(matches!(read(&clients), Some(Message::Count { count: 1, .. })));
    assert!(matches!(read(&rooms), Some(Message::Rooms { rooms, .. }) if rooms == ["s1"]));
    assert!(read(&Bytes::from_static(br#"{"requestid":"WVBF0W","data":"hookB"}"#)).is_none());
}
