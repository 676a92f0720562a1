//! What is sent: arguments to JSON and attachments, packets to text.

use std::collections::BTreeMap;

use bytes::Bytes;
use patio_proto::{
    encode::{Encoded, Form},
    packet::{Kind, Packet, UNKNOWN_ID},
    payload::Payload,
    value::{Object, Value},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

fn event<T: Serialize + ?Sized>(args: &T) -> Packet {
    Packet::main(Kind::Event { id: None, payload: Payload::event("e", args).unwrap() })
}

fn text(packet: &Packet) -> String {
    String::from_utf8(Encoded::packet(packet).bytes(Form::PollV4).to_vec()).unwrap()
}

fn args<T: Serialize + ?Sized>(args: &T) -> String {
    text(&event(args)).strip_prefix("42[\"e\"").unwrap().to_owned()
}

#[test]
fn tuples_are_several_arguments() {
    #[derive(Serialize)]
    struct Point {
        x: u8,
        y: u8,
    }
    #[derive(Serialize)]
    struct Pair(u8, u8);
    assert_eq!(args(&()), "]");
    assert_eq!(args(&(1,)), ",1]");
    assert_eq!(args(&(1, "two", [3, 4])), r#",1,"two",[3,4]]"#);
    assert_eq!(args(&&(1, 2)), ",1,2]");
    assert_eq!(args(&((1, 2), 3)), ",[1,2],3]");
    assert_eq!(args(&[1, 2]), ",[1,2]]");
    assert_eq!(args(&vec![(1, 2)]), ",[[1,2]]]");
    assert_eq!(args(&[1, 2][..]), ",[1,2]]");
    assert_eq!(args("text"), r#","text"]"#);
    assert_eq!(args(&String::from("text")), r#","text"]"#);
    assert_eq!(args(&Point { x: 1, y: 2 }), r#",{"x":1,"y":2}]"#);
    assert_eq!(args(&Pair(1, 2)), ",[1,2]]");
    assert_eq!(args(&Some((1, 2))), ",[1,2]]");
    assert_eq!(args(&None::<u8>), ",null]");
    assert_eq!(args(&Box::new((1, 2))), ",[1,2]]");
    assert_eq!(format!("{:?}", Payload::args(&()).unwrap()), "[]");
    assert_eq!(format!("{:?}", Payload::args(&(1, 2)).unwrap()), "[1,2]");
    assert_eq!(format!("{:?}", Payload::args(&[1, 2]).unwrap()), "[[1,2]]");
    assert_eq!(format!("{:?}", Payload::value(&(1, 2)).unwrap()), "[1,2]");
    assert_eq!(format!("{:?}", Payload::value("x").unwrap()), r#""x""#);
    assert_eq!(format!("{:?}", Payload::default()), "[]");
}

#[test]
fn numbers_as_javascript_writes_them() {
    assert_eq!(args(&(f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f32::NAN)), ",null,null,null,null]");
    assert_eq!(args(&(1.0, -0.0, 1.5, -2.0f32, 0.1f32)), ",1,0,1.5,-2,0.1]");
    assert_eq!(
        args(&(1e20, 1e21, 9_007_199_254_740_993.0)),
        ",100000000000000000000,1e+21,9007199254740992]"
    );
    assert_eq!(args(&(u64::MAX, i64::MIN)), ",18446744073709551615,-9223372036854775808]");
}

/// Captured from a Node server.
#[test]
fn what_json_cannot_say() {
    let mut object = Object::new();
    object.insert("a", Value::Undefined);
    let values = Value::Array(vec![
        "u".into(),
        Value::Undefined,
        Value::Null,
        f64::NAN.into(),
        f64::INFINITY.into(),
        Value::Date(0),
        true.into(),
        object.into(),
        Value::Array(vec![Value::Undefined]),
    ]);
    let packet = Packet::event("/", Payload::value(&values).unwrap());
    assert_eq!(text(&packet), r#"42["u",null,null,null,null,"1970-01-01T00:00:00.000Z",true,{},[null]]"#);
}

#[test]
fn names_and_text_are_escaped() {
    let payload = Payload::event("a\"b\n\u{1e}\u{2028}é", "\u{0}\\").unwrap();
    assert_eq!(text(&Packet::event("/", payload)), "42[\"a\\\"b\\n\\u001e\u{2028}é\",\"\\u0000\\\\\"]");
}

#[test]
fn failing_values_are_errors() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    struct BadKey;
    impl Serialize for BadKey {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry(&[1], &1)?;
            map.end()
        }
    }
    assert!(Payload::event("e", &Fails).unwrap_err().to_string().contains("no"));
    assert!(Payload::event("e", &BadKey).is_err());
}

#[test]
fn types_namespaces_and_ids() {
    let auth = Payload::value(&BTreeMap::from([("sid", "x3")])).unwrap();
    let packet = |nsp: &str, kind| text(&Packet::new(nsp, kind));
    assert_eq!(packet("/", Kind::Connect(None)), "40");
    assert_eq!(packet("/", Kind::Connect(Some(auth.clone()))), r#"40{"sid":"x3"}"#);
    assert_eq!(packet("/a", Kind::Connect(Some(auth))), r#"40/a,{"sid":"x3"}"#);
    assert_eq!(packet("/a", Kind::Connect(None)), "40/a,");
    assert_eq!(packet("/", Kind::Disconnect), "41");
    assert_eq!(packet("/a", Kind::Disconnect), "41/a,");
    let payload = Payload::event("q", &(1,)).unwrap();
    assert_eq!(packet("/", Kind::Event { id: Some(0), payload: payload.clone() }), r#"420["q",1]"#);
    assert_eq!(packet("/a", Kind::Event { id: Some(1234), payload }), r#"42/a,1234["q",1]"#);
    assert_eq!(packet("/", Kind::Ack { id: 0, payload: Payload::empty() }), "430[]");
    assert_eq!(packet("/", Kind::Ack { id: UNKNOWN_ID, payload: Payload::empty() }), "43[]");
    assert_eq!(packet("/", Kind::Ack { id: 7, payload: Payload::args(&("x", 1)).unwrap() }), r#"437["x",1]"#);
    let error = Payload::value(&BTreeMap::from([("message", "Invalid namespace")])).unwrap();
    assert_eq!(
        packet("/unknown", Kind::ConnectError(error)),
        r#"44/unknown,{"message":"Invalid namespace"}"#
    );
    let v4 = Payload::value("message").unwrap();
    assert_eq!(packet("/rej2", Kind::ConnectError(v4)), r#"44/rej2,"message""#);
}

/// Bytes captured from Node.
#[test]
fn offset_is_appended() {
    let appended = |payload: Payload| format!("{:?}", payload.with_appended_str("Q82e\"bh"));
    assert_eq!(appended(Payload::event("all", "x").unwrap()), r#"["all","x","Q82e\"bh"]"#);
    assert_eq!(appended(Payload::empty()), r#"["Q82e\"bh"]"#);
    let binary = Payload::event("all", &Bytes::from_static(b"b")).unwrap();
    assert_eq!(binary.with_appended_str("o").attachments(), [Bytes::from_static(b"b")]);
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_once() {
    use patio_proto::ws::{Decoder, Message, Role, deflate::Compressor};
    let text = "x".repeat(5000);
    let encoded = Encoded::packet(&event(&(&text, Bytes::from(vec![7; 3000]), Bytes::from_static(b"small"))));
    let mut compressor = Compressor::new(6);
    let frames = encoded.compressed(1024, &mut compressor).clone();
    assert_eq!(encoded.compressed(0, &mut compressor).as_ptr(), frames.as_ptr());
    assert!(frames.len() < 300);
    let decode = |frames: &[u8]| {
        let mut frames = frames.to_vec();
        let mut input = &mut frames[..];
        let mut decoder = Decoder::new(Role::Client, 10_000).with_deflate();
        let mut messages = Vec::new();
        while !input.is_empty() {
            messages.extend(decoder.decode(&mut input).unwrap());
        }
        messages
    };
    let messages = decode(&frames);
    assert_eq!(messages, decode(encoded.bytes(Form::WsV4)));
    assert!(matches!(&messages[..], [Message::Text(_), Message::Binary(_), Message::Binary(_)]));
}
