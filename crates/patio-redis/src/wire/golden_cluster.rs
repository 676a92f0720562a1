//! What Node's newer adapters sent, recorded from redis-adapter 8.3.0 (sharded) and redis-streams-adapter 0.3.1: it is read,
//! and what is written here is the same to the byte, but for the ids.

use std::time::Duration;

use bytes::Bytes;
use patio_adapter::{
    BroadcastOptions, LazyJson, NodeId, Payload, SocketSnapshot,
    cluster::message::{Message, RequestId},
};
use patio_proto::{msgpack, value::Value};

use super::{
    classic,
    cluster::{Encoder, Fields, read_fields, read_message},
    golden::{hex, values},
    legacy,
};
use crate::Dialect;

fn encoder(msgpack: msgpack::Dialect) -> Encoder {
    Encoder { node: NodeId::new("c9e7c3d6ea1db0df"), namespace: "/".into(), msgpack, packets_have_nsp: false }
}

fn sharded() -> Encoder {
    encoder(msgpack::Dialect::Notepack3)
}

fn streams() -> Encoder {
    encoder(msgpack::Dialect::MsgpackJs)
}

/// A server that has sent none of these.
fn nobody() -> NodeId {
    NodeId::new("nobody")
}

fn id() -> RequestId {
    RequestId::new("661e5e5e22b7007f")
}

fn event<const N: usize>(elements: [Value; N]) -> Payload {
    values(elements)
}

/// A message for everyone but for what it says.
fn broadcast(payload: Payload, options: BroadcastOptions) -> Message {
    Message::Broadcast { payload, options, request: None }
}

/// The message as it is read, and written again.
fn rewritten(encoder: &Encoder, bytes: &Bytes, write: impl Fn(&Encoder, &Message) -> Bytes) -> Bytes {
    let read = read_message(bytes, "/", &nobody(), |_| true).unwrap().unwrap();
    assert_eq!(read.node.unwrap().as_str(), "c9e7c3d6ea1db0df");
    write(encoder, &read.message.unwrap())
}

#[test]
fn messages_in_json() {
    let hello = event([
        "hello".into(),
        Value::Int(1),
        "é".into(),
        serde_json::from_str(r#"{"a":null}"#).unwrap(),
        serde_json::from_str("[null,1.5]").unwrap(),
    ]);
    let everyone = BroadcastOptions::everyone;
    let mut volatile = BroadcastOptions::to("room1").except("x");
    volatile.flags.volatile = true;
    let timeout = |ms| BroadcastOptions::to("room1").timeout(Duration::from_millis(ms));
    let socket = SocketSnapshot {
        id: "KilU6PmX1A3fESqKAAAA".into(),
        handshake: LazyJson::from_text(r#"{"headers":{},"auth":{}}"#.into()),
        rooms: vec!["KilU6PmX1A3fESqKAAAA".into(), "room1".into()],
        data: serde_json::json!({ "u": "B" }),
    };
    let cases = [
        (
            broadcast(hello, everyone()),
            r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1,"é",{"a":null},[null,1.5]]},"opts":{"rooms":[],"except":[],"flags":{}}},"#,
        ),
        (
            broadcast(event(["r".into(), Value::Int(1)]), volatile),
            r#"{"type":3,"data":{"packet":{"type":2,"data":["r",1]},"opts":{"rooms":["room1"],"except":["x"],"flags":{"volatile":true}}},"#,
        ),
        (
            Message::Broadcast {
                payload: event(["q".into(), "x".into()]),
                options: everyone().timeout(Duration::from_millis(500)),
                request: Some(id()),
            },
            r#"{"type":3,"data":{"packet":{"type":2,"data":["q","x"]},"requestId":"661e5e5e22b7007f","opts":{"rooms":[],"except":[],"flags":{"timeout":500}}},"#,
        ),
        (
            Message::Join { options: everyone(), rooms: vec!["room9".into()] },
            r#"{"type":4,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":["room9"]},"#,
        ),
        (
            Message::Leave { options: everyone(), rooms: vec!["room9".into()] },
            r#"{"type":5,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":["room9"]},"#,
        ),
        (
            Message::Disconnect { options: everyone(), close: true },
            r#"{"type":6,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"close":true},"#,
        ),
        (
            Message::FetchSockets { request: id(), options: timeout(77) },
            r#"{"type":7,"data":{"opts":{"rooms":["room1"],"except":[],"flags":{"timeout":77}},"requestId":"661e5e5e22b7007f"},"#,
        ),
        (
            Message::Sockets { request: id(), sockets: vec![socket] },
            r#"{"type":8,"data":{"requestId":"661e5e5e22b7007f","sockets":[{"id":"KilU6PmX1A3fESqKAAAA","handshake":{"headers":{},"auth":{}},"rooms":["KilU6PmX1A3fESqKAAAA","room1"],"data":{"u":"B"}}]},"#,
        ),
        (
            Message::ServerSideEmit { payload: event(["sse".into(), "q".into()]), request: Some(id()) },
            r#"{"type":9,"data":{"requestId":"661e5e5e22b7007f","packet":["sse","q"]},"#,
        ),
        (
            Message::ServerSideEmit { payload: event(["sse".into()]), request: None },
            r#"{"type":9,"data":{"packet":["sse"]},"#,
        ),
        (
            Message::ServerSideAnswer { request: id(), value: event(["respB".into()]) },
            r#"{"type":10,"data":{"requestId":"661e5e5e22b7007f","packet":"respB"},"#,
        ),
        (
            Message::ServerSideAnswer { request: id(), value: event([]) },
            r#"{"type":10,"data":{"requestId":"661e5e5e22b7007f"},"#,
        ),
        (
            Message::ClientCount { request: id(), count: 1 },
            r#"{"type":11,"data":{"requestId":"661e5e5e22b7007f","clientCount":1},"#,
        ),
        (
            Message::Ack { request: id(), value: event(["cB".into()]) },
            r#"{"type":12,"data":{"requestId":"661e5e5e22b7007f","packet":"cB"},"#,
        ),
    ];
    let write = |encoder: &Encoder, message: &Message| encoder.message(message).unwrap();
    for (message, json) in cases {
        let expected = Bytes::from(format!(r#"{json}"uid":"c9e7c3d6ea1db0df","nsp":"/"}}"#));
        assert_eq!(sharded().message(&message).unwrap(), expected, "{message:?}");
        assert_eq!(rewritten(&sharded(), &expected, write), expected);
        // Of a stream, the same in parts; and as MessagePack it says the same.
        let Fields { kind, data } = streams().fields(&message).unwrap();
        assert!(json.starts_with(&format!(r#"{{"type":{kind},"data":{},"#, data.as_ref().unwrap())));
        let read = read_fields(None, &kind.to_string(), data.map(Bytes::from).as_ref(), |_| true).unwrap();
        assert_eq!(sharded().message(&read.message.unwrap()).unwrap(), expected);
        let packed = streams().message_msgpack(&message).unwrap();
        assert_eq!(rewritten(&sharded(), &packed, write), expected);
    }
}

#[test]
fn messages_with_bytes() {
    let binary = || Value::Binary(Bytes::from_static(&[1]));
    let to_room = broadcast(event(["r".into(), binary()]), BroadcastOptions::to("room1"));
    let uid = "a3 75 69 64 b0 63 39 65 37 63 33 64 36 65 61 31 64 62 30 64 66 a3 6e 73 70 a1 2f";
    let data = "82 a6 70 61 63 6b 65 74 82 a4 74 79 70 65 02 a4 64 61 74 61 92 a1 72 c4 01 01 a4 6f 70 74 73
                83 a5 72 6f 6f 6d 73 91 a5 72 6f 6f 6d 31 a6 65 78 63 65 70 74 90 a5 66 6c 61 67 73 80";
    let expected = hex(&format!("84 a4 74 79 70 65 03 a4 64 61 74 61 {data} {uid}"));
    assert_eq!(sharded().message(&to_room).unwrap(), expected);
    let write = |encoder: &Encoder, message: &Message| encoder.message(message).unwrap();
    assert_eq!(rewritten(&sharded(), &expected, write), expected);
    // An entry of a stream has it in base-64.
    let entry = "gqZwYWNrZXSCpHR5cGUCpGRhdGGSoXLEAQGkb3B0c4Olcm9vbXORpXJvb20xpmV4Y2VwdJClZmxhZ3OA";
    assert_eq!(streams().fields(&to_room).unwrap().data.as_deref(), Some(entry));
    for entry in [entry.to_owned(), entry.replace('+', "-"), entry.trim_end_matches('=').to_owned()] {
        let read = read_fields(Some("emitter"), "3", Some(&entry.into()), |_| true).unwrap();
        assert!(read.node.is_none(), "an emitter is no server");
        assert_eq!(sharded().message(&read.message.unwrap()).unwrap(), expected);
    }
    // Dates are dates where there are bytes, and text where there are none.
    let dated = |more| event(["d".into(), Value::Date(1_700_000_000_123), more]);
    let packed = sharded().message(&broadcast(dated(binary()), BroadcastOptions::everyone())).unwrap();
    assert!(packed.windows(10).any(|bytes| bytes == [0xd7, 0xff, 0x1d, 0x53, 0x53, 0, 0x65, 0x53, 0xf1, 0]));
    let json = sharded().message(&broadcast(dated(Value::Undefined), BroadcastOptions::everyone())).unwrap();
    assert!(json.starts_with(
        br#"{"type":3,"data":{"packet":{"type":2,"data":["d","2023-11-14T22:13:20.123Z",null]}"#
    ));
}

/// Whatever becomes of the bytes under way: they are understood, or garbage, and what is understood can be said again.
#[test]
fn bytes_that_have_changed_hurt_nobody() {
    let mut random = fastrand::Rng::with_seed(1);
    let packed = streams().message_msgpack(&broadcast(
        event([
            "r".into(),
            Value::Binary(Bytes::from_static(&[1])),
            serde_json::from_str(r#"{"a":[1.5]}"#).unwrap(),
        ]),
        BroadcastOptions::to(["room1", "2"]).except("x"),
    ));
    let json =
        sharded().message(&Message::FetchSockets { request: id(), options: BroadcastOptions::to("room1") });
    let classic =
        classic::Encoder { node: NodeId::new("yQRy5y"), namespace: "/".into(), dialect: Dialect::V8 };
    let old = classic.broadcast(&event(["r".into(), Value::Date(1)]), &BroadcastOptions::to("a")).unwrap();
    for original in [packed.unwrap(), json.unwrap(), old] {
        for _ in 0..20_000 {
            let mut bytes = original.to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.u8(..)),
                }
            }
            let bytes = Bytes::from(bytes);
            if let Ok(Some(read)) = read_message(&bytes, "/", &nobody(), |_| true)
                && let Some(message) = read.message
            {
                let _ = (sharded().message(&message), streams().message_msgpack(&message));
            }
            let _ = read_fields(None, "3", Some(&bytes), |_| true);
            let _ = classic::read_broadcast(&bytes, "/", &nobody());
            let _ = classic::read_request(&bytes, "/");
            let _ = classic::read_response(&bytes, |_| true);
            let _ = legacy::read_request(&bytes, |_| true);
        }
    }
}

#[test]
fn an_emitter_names_the_namespace_in_its_packets() {
    let encoder = Encoder::of_emitter("/", msgpack::Dialect::MsgpackJs);
    let hi = broadcast(event(["hi".into(), Value::Int(1)]), BroadcastOptions::to("r1"));
    let data =
        r#"{"packet":{"type":2,"data":["hi",1],"nsp":"/"},"opts":{"rooms":["r1"],"except":[],"flags":{}}}"#;
    assert_eq!(encoder.fields(&hi).unwrap().data.as_deref(), Some(data));
}
