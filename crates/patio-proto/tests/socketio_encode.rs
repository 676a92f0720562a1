//! What is sent: arguments to JSON and attachments, packets to every form of the wire.

use std::collections::BTreeMap;

use bytes::Bytes;
use patio_proto::{
    Text,
    encode::{Encoded, Form},
    engine,
    packet::{Kind, Packet, PacketType, UNKNOWN_ID},
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

/// wire-formats 2.1: the capture of a Node server.
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

/// wire-formats 2.2.
#[test]
fn binary_at_any_depth() {
    let [a, b, c] = [&[9][..], &[7, 8], &[1, 0, 2, 0]].map(Bytes::copy_from_slice);
    let keyed = BTreeMap::from([("k", [b.clone()])]);
    let packet =
        Packet::main(Kind::Event { id: None, payload: Payload::event("b", &(&a, keyed, &c)).unwrap() });
    let json = r#"453-["b",{"_placeholder":true,"num":0},{"k":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":2}]"#;
    assert_eq!(packet.packet_type(), PacketType::BinaryEvent);
    let encoded = Encoded::packet(&packet);
    assert_eq!(encoded.attachments(), 3);
    assert_eq!(packet.payload().unwrap().attachments(), [a, b, c]);

    let header = [0x81, json.len() as u8];
    let ws = [&header[..], json.as_bytes(), b"\x82\x01\x09\x82\x02\x07\x08\x82\x04\x01\x00\x02\x00"].concat();
    assert_eq!(encoded.bytes(Form::WsV4), ws);
    assert_eq!(encoded.len(), ws.len());
    let v3 =
        [&header[..], json.as_bytes(), b"\x82\x02\x04\x09\x82\x03\x04\x07\x08\x82\x05\x04\x01\x00\x02\x00"]
            .concat();
    assert_eq!(encoded.bytes(Form::WsV3), v3);
    let base64 = [&header[..], json.as_bytes(), b"\x81\x06b4CQ==\x81\x06b4Bwg=\x81\x0ab4AQACAA=="].concat();
    assert_eq!(encoded.bytes(Form::WsV3Base64), base64);

    let ack = Payload::args(&(Bytes::from_static(b"a"), Bytes::from_static(b"b"))).unwrap();
    let ack = Encoded::packet(&Packet::main(Kind::Ack { id: 1, payload: ack }));
    let json = r#"462-1[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(ack.bytes(Form::PollV4), format!("{json}\u{1e}bYQ==\u{1e}bYg==").as_bytes());
}

/// wire-formats 1.5 and 2.2.
#[test]
fn polling_forms() {
    let event = Encoded::packet(&event(&serde_bytes::Bytes::new(&[1, 2, 3])));
    let json = r#"451-["e",{"_placeholder":true,"num":0}]"#;
    assert_eq!(event.bytes(Form::PollV4), format!("{json}\u{1e}bAQID").as_bytes());
    assert_eq!(event.bytes(Form::PollV3Text), format!("{}:{json}6:b4AQID", json.len()).as_bytes());
    let binary = [&[0, 3, 9, 0xff], json.as_bytes(), &[1, 4, 0xff, 4, 1, 2, 3]].concat();
    assert_eq!(event.bytes(Form::PollV3Binary), binary);

    let text = Encoded::message(&engine::Message::Text(Text::from_static("héé€")));
    assert_eq!(text.bytes(Form::PollV3Text), "5:4héé€".as_bytes());
    assert_eq!(text.bytes(Form::PollV3Binary), b"\x00\x09\xff4h\xc3\xa9\xc3\xa9\xe2\x82\xac");
    let bytes = Encoded::message(&engine::Message::Binary(Bytes::from_static(&[1, 2, 3, 0xff])));
    assert_eq!(bytes.bytes(Form::PollV3Binary), b"\x01\x05\xff\x04\x01\x02\x03\xff");
    assert_eq!(bytes.bytes(Form::PollV3Text), b"10:b4AQID/w==");
    assert_eq!(bytes.bytes(Form::PollV4), b"bAQID/w==");
    assert_eq!(bytes.bytes(Form::WsV4), b"\x82\x04\x01\x02\x03\xff");
    assert_eq!(bytes.bytes(Form::WsV3), b"\x82\x05\x04\x01\x02\x03\xff");
    let emoji = Encoded::message(&engine::Message::Text(Text::from_static("\u{1f600}")));
    assert_eq!(emoji.bytes(Form::PollV3Text), "3:4\u{1f600}".as_bytes());
}

#[test]
fn text_shares_one_buffer() {
    for length in [1, 124, 125, 126, 65_533, 65_535, 70_000] {
        let encoded = Encoded::packet(&event("x".repeat(length).as_str()));
        let frame = encoded.wire(Form::WsV4);
        let text = encoded.wire(Form::PollV4);
        assert_eq!(frame[frame.len() - text.len()..].as_ptr(), text.as_ptr());
        assert_eq!(encoded.wire(Form::WsV3).as_ptr(), frame.as_ptr());
        assert_eq!(encoded.wire(Form::WsV3Base64).as_ptr(), frame.as_ptr());
        let expected = patio_proto::ws::text_frame(std::str::from_utf8(&text).unwrap());
        assert_eq!(frame, expected);
        assert_eq!(encoded.wire(Form::PollV3Text).as_ptr(), encoded.wire(Form::PollV3Text).as_ptr());
    }
    assert_eq!(Encoded::engine("3probe").bytes(Form::WsV4), b"\x81\x063probe");
    assert_eq!(Encoded::engine("6").bytes(Form::PollV3Text), b"1:6");
}

/// wire-formats 2.7.
#[test]
fn offset_is_appended() {
    let appended = |payload: Payload| format!("{:?}", payload.with_appended_str("Q82e\"bh"));
    assert_eq!(appended(Payload::event("all", "x").unwrap()), r#"["all","x","Q82e\"bh"]"#);
    assert_eq!(appended(Payload::empty()), r#"["Q82e\"bh"]"#);
    let binary = Payload::event("all", &Bytes::from_static(b"b")).unwrap();
    assert_eq!(binary.with_appended_str("o").attachments(), [Bytes::from_static(b"b")]);
}
