//! Packets of socket.io-msgpack-parser, and the dialects of Node's encoders, byte for byte.
#![cfg(feature = "msgpack")]

use std::collections::BTreeMap;

use bytes::Bytes;
use patio_proto::{
    decode::{DecodeError, Limits},
    encode::{Encoded, Form, Parser},
    msgpack::{self, Dialect, read_value, write_value},
    packet::{Kind, Packet, UNKNOWN_ID},
    payload::Payload,
    value::{Object, Value},
};

/// Bytes of text such as `82 a4 "type" 00`.
fn hex(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
            Some(text) => bytes.extend_from_slice(text.as_bytes()),
            None => bytes.push(u8::from_str_radix(word, 16).unwrap()),
        }
    }
    bytes.into()
}

fn decode(text: &str) -> Result<Packet, DecodeError> {
    msgpack::decode(hex(text), &Limits::default())
}

fn read(text: &str) -> Result<Value, DecodeError> {
    read_value(&hex(text), 127)
}

fn written(value: &Value, dialect: Dialect) -> Bytes {
    let mut out = Vec::new();
    write_value(&mut out, value, dialect);
    out.into()
}

/// Bytes captured from Node.
#[test]
fn captures() {
    let id = "x3KdwMf84JelwjkpAAAA";
    let reply = Object::from([("sid", id.into()), ("pid", Value::Undefined)]);
    for (wire, packet) in [
        (r#"82 a4 "type" 00 a3 "nsp" a1 "/""#.to_owned(), Packet::main(Kind::Connect(None))),
        (r#"82 a4 "type" 01 a3 "nsp" a1 "/""#.to_owned(), Packet::main(Kind::Disconnect)),
        (
            format!(r#"83 a4 "type" 00 a4 "data" 82 a3 "sid" b4 "{id}" a3 "pid" d4 00 00 a3 "nsp" a1 "/""#),
            Packet::main(Kind::Connect(Some(Payload::value_msgpack(&reply.into())))),
        ),
        (
            r#"83 a4 "type" 02 a4 "data" 92 a2 "bc" 01 a3 "nsp" a1 "/""#.to_owned(),
            Packet::event("/", Payload::event("bc", &1).unwrap()),
        ),
        (
            r#"84 a4 "type" 02 a4 "data" 91 a1 "q" a2 "id" 00 a3 "nsp" a1 "/""#.to_owned(),
            Packet::main(Kind::Event { id: Some(0), payload: Payload::event("q", &()).unwrap() }),
        ),
        (
            r#"84 a2 "id" 05 a4 "type" 03 a4 "data" 93 01 a1 "x" c4 01 01 a3 "nsp" a1 "/""#.to_owned(),
            Packet::main(Kind::Ack {
                id: 5,
                payload: Payload::args(&(1, "x", Bytes::from_static(b"\x01"))).unwrap(),
            }),
        ),
        (
            r#"83 a4 "type" 04 a4 "data" 81 a7 "message" a2 "no" a3 "nsp" a2 "/a""#.to_owned(),
            Packet::new(
                "/a",
                Kind::ConnectError(Payload::value(&BTreeMap::from([("message", "no")])).unwrap()),
            ),
        ),
    ] {
        let wire = hex(&wire);
        let encoded = Encoded::packet_with(Parser::MsgPack, &packet);
        assert_eq!(encoded.bytes(Form::WsV4)[2..], wire);
        assert_eq!(encoded.attachments(), 1);
        let decoded = msgpack::decode(wire.clone(), &Limits::default()).unwrap();
        assert_eq!(msgpack::encode(&decoded), wire);
        // to a client of the default parser it is the same as from one
        assert_eq!(
            Encoded::packet(&decoded).bytes(Form::PollV4),
            Encoded::packet(&packet).bytes(Form::PollV4)
        );
    }
}

#[test]
fn payloads_are_read_like_json() {
    let packet = decode(
        r#"83 a4 "type" 02 a4 "data" 94 a1 "e" 01 c4 02 07 08 d7 00 00 00 00 00 00 00 00 07 a3 "nsp" a1 "/""#,
    );
    let Ok(Packet { kind: Kind::Event { id: None, payload }, .. }) = packet else { panic!() };
    assert_eq!(payload.event_name().unwrap(), "e");
    let (one, bytes, date, missing): (u8, Bytes, String, Option<u8>) = payload.read_args(1).unwrap();
    assert_eq!((one, &*bytes, &*date, missing), (1, &[7, 8][..], "1970-01-01T00:00:00.007Z", None));
    assert_eq!(payload.values().unwrap()[3], Value::Date(7));
    assert_eq!(payload.read_args::<(String,)>(1).unwrap_err().index(), Some(0));
    assert_eq!(payload.with_appended_str("o").values().unwrap()[4], "o".into());
    let many = Payload::value_msgpack(&(0..15).map(Value::Int).collect());
    assert_eq!(many.with_appended_str("o").msgpack().unwrap()[..3], [0xdc, 0, 16]);
}

#[test]
fn absent_data_and_extra_keys() {
    let undefined = decode(r#"83 a4 "type" 00 a4 "data" d4 00 00 a3 "nsp" a1 "/""#).unwrap();
    assert_eq!(undefined.kind, Kind::Connect(None));
    let undefined = decode(r#"84 a4 "type" 01 a4 "data" d4 00 00 a2 "id" d4 00 00 a3 "nsp" a1 "/""#).unwrap();
    assert_eq!(undefined.kind, Kind::Disconnect);
    let extra = decode(
        r#"86 a7 "options" 81 a8 "compress" c3 01 91 90 a3 "nsp" a2 "/a" 92 01 02 80 a4 "type" 01 c0 c0"#,
    );
    assert_eq!(extra.unwrap(), Packet::new("/a", Kind::Disconnect));
    let ack = decode(r#"83 a4 "type" 03 a4 "data" 90 a3 "nsp" a1 "/""#).unwrap();
    assert!(matches!(ack.kind, Kind::Ack { id: UNKNOWN_ID, .. }));
    let double = decode(
        r#"84 a4 "type" cb 40 08 00 00 00 00 00 00 a2 "id" cb 40 1c 00 00 00 00 00 00 a4 "data" 90 a3 "nsp" a1 "/""#,
    );
    assert!(matches!(double.unwrap().kind, Kind::Ack { id: 7, .. }));
}

#[test]
fn refused() {
    use DecodeError::*;
    let of =
        |kind: &str, data: &str| decode(&format!(r#"83 a4 "type" {kind} a4 "data" {data} a3 "nsp" a1 "/""#));
    for (text, error) in [
        ("", MsgPack),
        ("90", MsgPack),
        ("80", MsgPack),
        (r#"81 a4 "type" 00"#, MsgPack),
        (r#"82 a4 "type" 00 a3 "nsp" 01"#, MsgPack),
        (r#"82 a4 "type" 00 a3 "nsp" a1 "/" 00"#, MsgPack),
        (r#"82 a4 "type" 00 a3 "nsp" a1"#, MsgPack),
        (r#"82 a4 "type" 05 a3 "nsp" a1 "/""#, UnknownType),
        (r#"82 a4 "type" ff a3 "nsp" a1 "/""#, UnknownType),
        (r#"82 a4 "type" a1 "0" a3 "nsp" a1 "/""#, UnknownType),
        (r#"82 a4 "type" cb 3f f8 00 00 00 00 00 00 a3 "nsp" a1 "/""#, UnknownType),
        (r#"81 a3 "nsp" a1 "/""#, UnknownType),
        (r#"82 a4 "type" 02 a3 "nsp" a1 "/""#, Data),
        (r#"83 a4 "type" 00 a2 "id" a1 "x" a3 "nsp" a1 "/""#, MsgPack),
        (r#"83 a4 "type" 00 a2 "id" c0 a3 "nsp" a1 "/""#, MsgPack),
        ("c1", MsgPack),
        ("df ff ff ff ff", MsgPack),
        ("df ff ff ff ff 00", MsgPack),
    ] {
        assert_eq!(decode(text), Err(error), "{text}");
    }
    assert_eq!(of("00", "c0"), Err(Data));
    assert_eq!(of("00", "90"), Err(Data));
    assert_eq!(of("01", "80"), Err(Data));
    assert_eq!(of("02", "80"), Err(Data));
    assert_eq!(of("02", "90"), Err(Data));
    assert_eq!(of("02", "91 c0"), Err(Data));
    assert_eq!(of("02", r#"91 aa "disconnect""#), Err(ReservedEvent));
    assert_eq!(of("02", "91 a1 e9"), of("02", "91 a1 e9"));
    assert_eq!(of("03", r#"a1 "x""#), Err(Data));
    assert_eq!(of("04", "01"), Err(Data));
    assert!(of("04", r#"a1 "x""#).is_ok());
    assert_eq!(of("03", "dd ff ff ff ff"), Err(MsgPack));
    let deep =
        [&hex(r#"83 a4 "type" 03 a4 "data""#)[..], &[0x91; 100_000], &hex(r#"90 a3 "nsp" a1 "/""#)].concat();
    assert_eq!(msgpack::decode(deep.into(), &Limits::default()), Err(TooDeep));
}

/// Lengths are not believed: no memory for elements that are not there.
#[test]
fn claims_are_not_believed() {
    for text in [
        "dd ff ff ff ff 00",
        "df ff ff ff ff a0 00",
        "c6 ff ff ff ff 00",
        "db ff ff ff ff 00",
        "c9 ff ff ff ff 00 00",
    ] {
        assert_eq!(read(text), Err(DecodeError::MsgPack), "{text}");
    }
    let nested = [0xdd, 0xff, 0xff, 0xff, 0xff].repeat(126);
    assert_eq!(read_value(&nested.into(), 127), Err(DecodeError::MsgPack));
    assert_eq!(read_value(&vec![0x91; 1_000_000].into(), 127), Err(DecodeError::TooDeep));
    assert_eq!(read_value(&vec![0x81; 1_000_000].into(), 127), Err(DecodeError::MsgPack));
}

/// Bytes captured from Node.
#[test]
fn dialects() {
    use Dialect::*;
    let undefined = Value::Object(Object::from([("a", Value::Undefined)]));
    for (value, wire) in [
        (Value::Undefined, ["d4 00 00", "c0", "c0"]),
        (undefined, [r#"81 a1 "a" d4 00 00"#, "80", r#"81 a1 "a" c0"#]),
        (
            Value::Date(1_700_000_000_000),
            ["d7 00 00 00 01 8b cf e5 68 00", "d6 ff 65 53 f1 00", "d6 ff 65 53 f1 00"],
        ),
        (
            Value::Date(1_700_000_000_123),
            [
                "d7 00 00 00 01 8b cf e5 68 7b",
                "d7 ff 1d 53 53 00 65 53 f1 00",
                "d7 ff 1d 53 53 00 65 53 f1 00",
            ],
        ),
        (
            Value::Date(-1),
            [
                "d7 00 ff ff ff ff ff ff ff ff",
                "c7 0c ff 3b 8b 87 c0 ff ff ff ff ff ff ff ff",
                "c7 0c ff 3b 8b 87 c0 ff ff ff ff ff ff ff ff",
            ],
        ),
    ] {
        for (dialect, wire) in [Notepack2, Notepack3, MsgpackJs].into_iter().zip(wire) {
            assert_eq!(written(&value, dialect), hex(wire));
            let back = read(wire).unwrap();
            assert!(back == value || !matches!(value, Value::Date(_)), "{wire}");
        }
    }
    for (value, wire) in [
        (Value::Null, "c0"),
        (true.into(), "c3"),
        (false.into(), "c2"),
        (Value::Int(127), "7f"),
        (Value::Int(128), "cc 80"),
        (Value::Int(255), "cc ff"),
        (Value::Int(256), "cd 01 00"),
        (Value::Int(65_535), "cd ff ff"),
        (Value::Int(65_536), "ce 00 01 00 00"),
        (Value::Int(0xffff_ffff), "ce ff ff ff ff"),
        (Value::Int(1 << 32), "cf 00 00 00 01 00 00 00 00"),
        (Value::Int((1 << 53) - 1), "cf 00 1f ff ff ff ff ff ff"),
        (Value::Int(-1), "ff"),
        (Value::Int(-32), "e0"),
        (Value::Int(-33), "d0 df"),
        (Value::Int(-128), "d0 80"),
        (Value::Int(-129), "d1 ff 7f"),
        (Value::Int(-32_769), "d2 ff ff 7f ff"),
        (Value::Int(-(1 << 31)), "d2 80 00 00 00"),
        (Value::Int(-(1 << 31) - 1), "d3 ff ff ff ff 7f ff ff ff"),
        (Value::Float(1.5), "cb 3f f8 00 00 00 00 00 00"),
        (Value::Float(f64::INFINITY), "cb 7f f0 00 00 00 00 00 00"),
        (Value::from("é"), "a2 c3 a9"),
        (Value::Binary(Bytes::from_static(&[4, 5])), "c4 02 04 05"),
    ] {
        for dialect in [Notepack2, Notepack3, MsgpackJs] {
            assert_eq!(written(&value, dialect), hex(wire));
        }
        assert_eq!(read(wire).unwrap(), value);
    }
    assert_eq!(written(&Value::Float(f64::NAN), Notepack2), hex("cb 7f f8 00 00 00 00 00 00"));
    assert_eq!(written(&Value::Float(-0.0), Notepack2), hex("00"));
    assert_eq!(written(&Value::Uint(u64::MAX), Notepack2), hex("cb 43 f0 00 00 00 00 00 00"));
    assert_eq!(written(&Value::Int(i64::MIN), Notepack2), hex("cb c3 e0 00 00 00 00 00 00"));
    for (len, head) in
        [(31, vec![0xbf]), (32, vec![0xd9, 32]), (256, vec![0xda, 1, 0]), (65_536, vec![0xdb, 0, 1, 0, 0])]
    {
        let text = "x".repeat(len);
        let wire = [&head[..], text.as_bytes()].concat();
        assert_eq!(written(&text.into(), Notepack2), wire);
    }
    assert_eq!(written(&(0..16).map(Value::Int).collect(), Notepack2)[..3], [0xdc, 0, 16]);
}

/// Typed arrays, unknown extensions and forms that are longer than needed.
#[test]
fn read_from_any_encoder() {
    let binary = |bytes: &'static [u8]| Value::Binary(Bytes::from_static(bytes));
    for (wire, value) in [
        ("c7 02 00 04 05", binary(&[4, 5])),
        ("c7 08 00 01 02 03 04 05 06 07 08", binary(&[1, 2, 3, 4, 5, 6, 7, 8])),
        ("c7 01 00 09", binary(&[9])),
        ("c8 00 00 00", binary(&[])),
        ("d5 00 01 02", binary(&[1, 2])),
        ("d4 05 01", Value::Array(vec![Value::Int(5), binary(&[1])])),
        ("d6 ff 00 00 00 01", Value::Date(1000)),
        ("d5 ff 00 00", Value::Array(vec![Value::Int(-1), binary(&[0, 0])])),
        ("c7 0c ff 00 00 00 00 00 00 00 00 00 00 00 00", Value::Date(0)),
        ("c7 0c ff 00 00 00 00 7f ff ff ff ff ff ff ff", Value::Date(i64::MAX)),
        ("c7 0c ff 00 00 00 00 80 00 00 00 00 00 00 00", Value::Date(i64::MIN)),
        // Its second begins before the first millisecond that there is.
        ("c7 0c ff 0b 71 b0 00 ff df 3b 64 5a 1c ac 08", Value::Date(i64::MIN)),
        ("ca 3f 80 00 00", Value::Int(1)),
        ("cb 40 00 00 00 00 00 00 00", Value::Int(2)),
        ("cf ff ff ff ff ff ff ff ff", Value::Uint(u64::MAX)),
        ("cf 00 00 00 00 00 00 00 01", Value::Int(1)),
        ("db 00 00 00 01 61", Value::from("a")),
        ("d9 02 ff 61", Value::from("\u{fffd}a")),
        ("de 00 01 a1 61 d4 00 00", Object::from([("a", Value::Undefined)]).into()),
        ("82 a1 61 01 a1 61 02", Object::from([("a", Value::Int(2))]).into()),
        (
            "84 01 01 c0 02 c3 03 cb 3f f8 00 00 00 00 00 00 04",
            Object::from([
                ("1", Value::Int(1)),
                ("null", Value::Int(2)),
                ("true", Value::Int(3)),
                ("1.5", Value::Int(4)),
            ])
            .into(),
        ),
    ] {
        assert_eq!(read(wire).unwrap(), value, "{wire}");
    }
    for wire in ["", "81 90 01", "81 c4 00 01", "01 02", "92 01", "c1"] {
        assert_eq!(read(wire), Err(DecodeError::MsgPack), "{wire}");
    }
}
