//! Engine.IO packets as they come in WebSocket frames, the names in the query, the handshake and the error answers:
//! the examples of both revisions of the specification, and Node's behaviour beyond them.

use std::time::Duration;

use bytes::Bytes;
use patio_proto::{
    Text,
    engine::{
        DecodeError, ErrorCode, Message, Packet,
        Protocol::{self, V3, V4},
        Transport,
        handshake::{Open, Opened},
    },
};
use proptest::prelude::*;

fn text(protocol: Protocol, frame: &'static str) -> Result<Packet, DecodeError> {
    Packet::decode_text(protocol, Text::from_static(frame))
}

fn binary(protocol: Protocol, frame: &'static [u8]) -> Result<Packet, DecodeError> {
    Packet::decode_binary(protocol, Bytes::from_static(frame))
}

fn message(text: &'static str) -> Packet {
    Packet::Message(Message::Text(Text::from_static(text)))
}

fn bytes(bytes: &'static [u8]) -> Packet {
    Packet::Message(Message::Binary(Bytes::from_static(bytes)))
}

#[test]
fn text_frames_of_both_revisions() {
    for protocol in [V3, V4] {
        let cases = [
            (r#"0{"sid":"lv_VI97HAXpY6yYWAAAC"}"#, Packet::Open(r#"{"sid":"lv_VI97HAXpY6yYWAAAC"}"#.into())),
            ("0", Packet::Open("".into())),
            ("1", Packet::Close),
            ("2", Packet::Ping("".into())),
            ("2probe", Packet::Ping("probe".into())),
            ("3", Packet::Pong("".into())),
            ("3probe", Packet::Pong("probe".into())),
            ("4", message("")),
            ("4hello", message("hello")),
            ("4HelloWorld", message("HelloWorld")),
            ("4€", message("€")),
            ("4😀\u{1e}b", message("😀\u{1e}b")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
            ("6ignored", Packet::Noop),
        ];
        for (frame, packet) in cases {
            assert_eq!(text(protocol, frame), Ok(packet), "{protocol:?} {frame:?}");
        }
    }
}

#[test]
fn garbage_is_no_packet() {
    for protocol in [V3, V4] {
        assert_eq!(text(protocol, ""), Err(DecodeError::Empty));
        for frame in ["7", "9", "abc", "x", "é", "\u{4}", " 4hello", "-1", "B", "\0"] {
            assert_eq!(text(protocol, frame), Err(DecodeError::UnknownType), "{frame:?}");
        }
    }
    assert_eq!(text(V3, "b"), Err(DecodeError::Empty));
    for frame in ["b7AQID", "bAQID", "b\u{4}AQID", "bé"] {
        assert_eq!(text(V3, frame), Err(DecodeError::UnknownType), "{frame:?}");
    }
    assert_eq!(binary(V3, b""), Err(DecodeError::Empty));
    assert_eq!(binary(V3, b"4hello"), Err(DecodeError::UnknownType));
    assert_eq!(binary(V3, &[7]), Err(DecodeError::UnknownType));
    assert_eq!(binary(V3, &[255, 1]), Err(DecodeError::UnknownType));
}

#[test]
fn base64_in_text_frames() {
    assert_eq!(text(V4, "bAQIDBA=="), Ok(bytes(&[1, 2, 3, 4])));
    assert_eq!(text(V4, "bAQID"), Ok(bytes(&[1, 2, 3])));
    assert_eq!(text(V4, "bAQID/w=="), Ok(bytes(&[1, 2, 3, 0xff])));
    assert_eq!(text(V4, "b"), Ok(bytes(b"")));
    assert_eq!(text(V4, "bé"), Ok(bytes(b"")), "what is no base64 is skipped, as Node's Buffer does");
    assert_eq!(text(V3, "b4AQIDBA=="), Ok(bytes(&[1, 2, 3, 4])));
    assert_eq!(text(V3, "b4"), Ok(bytes(b"")));
}

#[test]
fn binary_frames() {
    assert_eq!(binary(V4, &[1, 2, 3, 4]), Ok(bytes(&[1, 2, 3, 4])));
    assert_eq!(binary(V4, b""), Ok(bytes(b"")));
    assert_eq!(binary(V3, &[4, 0, 1, 2, 3, 4, 5]), Ok(bytes(&[0, 1, 2, 3, 4, 5])));
    assert_eq!(binary(V3, &[4]), Ok(bytes(b"")));
}

#[test]
fn binary_data_of_other_types_is_dropped() {
    assert_eq!(binary(V3, b"\x02probe"), Ok(Packet::Ping("".into())));
    assert_eq!(text(V3, "b3cHJvYmU="), Ok(Packet::Pong("".into())));
    assert_eq!(binary(V3, b"\x00{}"), Ok(Packet::Open("".into())));
    assert_eq!(binary(V3, &[1]), Ok(Packet::Close));
    assert_eq!(binary(V3, &[5]), Ok(Packet::Upgrade));
    assert_eq!(binary(V3, &[6]), Ok(Packet::Noop));
}

#[test]
fn data_shares_the_frame() {
    let frame = Bytes::from(vec![4; 100]);
    let Ok(Packet::Message(Message::Binary(data))) = Packet::decode_binary(V3, frame.clone()) else {
        panic!("no message");
    };
    assert_eq!(data.as_ptr(), frame[1..].as_ptr());
}

#[test]
fn only_4_is_revision_4() {
    assert_eq!(Protocol::from_query(Some("4")), V4);
    for eio in [None, Some(""), Some("3"), Some("5"), Some("abc"), Some("04"), Some("4 "), Some("4.0")] {
        assert_eq!(Protocol::from_query(eio), V3, "{eio:?}");
    }
    assert_eq!((V3.number(), V4.number()), (3, 4));
}

#[test]
fn transports_by_name() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        assert_eq!(Transport::from_query(Some(transport.as_str())), Some(transport));
    }
    for name in [None, Some(""), Some("abc"), Some("webtransport"), Some("Polling"), Some("__proto__")] {
        assert_eq!(Transport::from_query(name), None, "{name:?}");
    }
}

#[test]
fn handshake_has_the_keys_of_node_in_their_order() {
    let open = Open {
        sid: "lv_VI97HAXpY6yYWAAAC",
        upgrades: &["websocket"],
        ping_interval: Duration::from_millis(25_000),
        ping_timeout: Duration::from_millis(20_000),
        max_payload: 1_000_000,
    };
    let json = r#"{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(open.to_json(), json);
    assert_eq!(json.len() + 1, 118, "the Content-Length that Node sends");

    let opened = Opened::from_json(json).expect("a handshake");
    assert_eq!((&*opened.sid, &*opened.upgrades), (open.sid, &["websocket".to_owned()][..]));
    assert_eq!((opened.ping_interval, opened.ping_timeout), (open.ping_interval, open.ping_timeout));
    assert_eq!(opened.max_payload, Some(open.max_payload));

    let websocket = Open { upgrades: &[], ..open };
    assert!(websocket.to_json().contains(r#""upgrades":[],"#));
}

#[test]
fn handshakes_of_old_servers_and_none_at_all() {
    let opened = Opened::from_json(
        r#"{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}"#,
    );
    assert_eq!(opened.expect("a handshake").max_payload, None);
    for json in ["", "null", "[]", "{}", r#"{"sid":1}"#, r#"{"code":1,"message":"Session ID unknown"}"#] {
        assert_eq!(Opened::from_json(json), None, "{json:?}");
    }
}

#[test]
fn error_answers() {
    let bodies = [
        r#"{"code":0,"message":"Transport unknown"}"#,
        r#"{"code":1,"message":"Session ID unknown"}"#,
        r#"{"code":2,"message":"Bad handshake method"}"#,
        r#"{"code":3,"message":"Bad request"}"#,
        r#"{"code":4,"message":"Forbidden"}"#,
        r#"{"code":5,"message":"Unsupported protocol version"}"#,
    ];
    for (code, body) in ErrorCode::ALL.into_iter().zip(bodies) {
        assert_eq!(code.body(), body);
        assert_eq!(code.status(), if code == ErrorCode::Forbidden { 403 } else { 400 });
    }
    assert_eq!(ErrorCode::UnknownSid.message().len(), 18, "the Content-Length of a refused upgrade");
    assert_eq!(ErrorCode::Forbidden.body_with("no \"entry\"\n"), r#"{"code":4,"message":"no \"entry\"\n"}"#,);
}

proptest! {
    #[test]
    fn random_frames_never_panic(frame in ".*", bytes in any::<Vec<u8>>(), digit in 0..8_u8) {
        for protocol in [V3, V4] {
            let _ = Packet::decode_text(protocol, frame.as_str().into());
            let _ = Packet::decode_text(protocol, format!("b{digit}{frame}").into());
            let _ = Packet::decode_binary(protocol, bytes.clone().into());
        }
        let _ = Opened::from_json(&frame);
    }
}
