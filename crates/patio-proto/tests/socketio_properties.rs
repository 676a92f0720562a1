//! For any values and any bytes: what is sent is what is received, and nothing received panics.

use bytes::Bytes;
use patio_proto::{
    Text,
    decode::{Decoder, Limits},
    encode::{Encoded, Form},
    engine,
    packet::{Kind, Packet},
    payload::Payload,
    value::Value,
};
use proptest::prelude::*;

/// Values that JSON with attachments keeps.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("written as they are", |&value| is_plain(value)).prop_map(Value::from),
        any::<String>().prop_map(Value::String),
        any::<Vec<u8>>().prop_map(|bytes| Value::Binary(bytes.into())),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let key = prop_oneof!["[a-c_$]{0,3}", any::<String>(), Just("num".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// JSON has no NaN, and large doubles look like integers there.
fn is_plain(value: f64) -> bool {
    value.is_finite() && (value.fract() != 0.0 || value.abs() < 1e15 || value.abs() > 1e20)
}

/// Text that is nearly a packet.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{0,3}",
        Just("-".to_owned()),
        "/[a-z?=]{0,3},?",
        r#"[\[\]{}",:\\]"#,
        Just(r#""_placeholder":true,"num":0"#.to_owned()),
        Just(r#"["x",{"_placeholder":true,"num":0}]"#.to_owned()),
        Just(r"\ud83d".to_owned()),
        Just("null".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn limits() -> Limits {
    Limits { max_attachments: 1000, ..Limits::default() }
}

/// Sends a packet through Engine.IO messages.
fn receive(packet: &Packet) -> Packet {
    let encoded = Encoded::packet(packet);
    let payload = String::from_utf8(encoded.bytes(Form::PollV4).to_vec()).unwrap();
    let mut decoder = Decoder::new();
    let mut received = None;
    for part in payload.split('\u{1e}') {
        assert!(received.is_none());
        let message = engine::Packet::decode_text(engine::Protocol::V4, part.into()).unwrap();
        received = match message {
            engine::Packet::Message(engine::Message::Text(text)) => decoder.text(text, &limits()).unwrap(),
            engine::Packet::Message(engine::Message::Binary(bytes)) => {
                decoder.binary(bytes, &limits()).unwrap()
            }
            other => panic!("{other:?}"),
        };
    }
    received.unwrap()
}

/// Reads everything there is to read.
fn use_all(packet: Packet) {
    let Some(payload) = packet.payload() else { return };
    payload.event_name();
    for skip in 0..2 {
        let _ = payload.read_args::<()>(skip);
        let _ = payload.read_args::<Value>(skip);
        let _ = payload.read_args::<(Option<String>, Option<Vec<Value>>, Value)>(skip);
    }
    let values = payload.values();
    if let (Kind::Event { .. }, Ok(values)) = (&packet.kind, values) {
        let appended = payload.with_appended_str("\"o").values().unwrap();
        assert_eq!(appended[..values.len()], values);
        assert_eq!(appended[values.len()], "\"o".into());
    }
    Encoded::packet(&packet);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_arrive(name in any::<String>(), id in any::<Option<u64>>(), nsp in "/[a-z]{0,4}", args in prop::collection::vec(value(), 0..5)) {
        let values: Vec<_> = [vec![Value::String(name.clone())], args.clone()].concat();
        let payload = Payload::value(&Value::Array(values.clone())).unwrap();
        prop_assert_eq!(payload.event_name().unwrap(), &*name);
        let packet = Packet::new(nsp.as_str(), Kind::Event { id, payload });
        let received = receive(&packet);
        prop_assert_eq!(&received, &packet);
        prop_assert_eq!(received.payload().unwrap().values().unwrap(), values);
        if let [first, ..] = &args[..] {
            prop_assert_eq!(&received.payload().unwrap().read_args::<Value>(1).unwrap(), first);
        }
        let appended = received.payload().unwrap().with_appended_str(&name);
        prop_assert_eq!(appended.values().unwrap().pop().unwrap(), Value::from(name.as_str()));
    }

    #[test]
    fn any_text_is_survived(text in nearly(), bytes in any::<[u8; 3]>()) {
        let mut decoder = Decoder::new();
        let mut packet = decoder.text(Text::from(text), &limits());
        for byte in bytes {
            match packet {
                Ok(Some(packet)) => {
                    use_all(packet);
                    break;
                }
                Ok(None) => packet = decoder.binary(Bytes::copy_from_slice(&[byte]), &limits()),
                Err(_) => break,
            }
        }
    }

    #[test]
    fn json_is_what_serde_json_takes(text in nearly()) {
        let taken = Decoder::new().text(Text::from(format!("2[\"x\",{text}]")), &limits()).is_ok();
        if serde_json::from_str::<serde_json::Value>(&format!("[\"x\",{text}]")).is_ok() {
            prop_assert!(taken);
        }
    }

    #[test]
    fn forms_agree(value in value()) {
        let packet = Packet::event("/", Payload::event("e", &value).unwrap());
        let encoded = Encoded::packet(&packet);
        for form in [Form::WsV4, Form::WsV3, Form::WsV3Base64, Form::PollV4, Form::PollV3Text, Form::PollV3Binary] {
            prop_assert_eq!(encoded.bytes(form), &encoded.wire(form)[..]);
        }
        prop_assert_eq!(encoded.is_binary(), value.has_binary());
    }
}

#[cfg(feature = "msgpack")]
proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn msgpack_keeps_values(value in value()) {
        use patio_proto::msgpack::{Dialect, read_value, write_value};
        let exact = |value: &Value| match value {
            Value::Int(value) => value.unsigned_abs() <= 1 << 53,
            Value::Uint(_) => false,
            _ => true,
        };
        fn all(value: &Value, test: &impl Fn(&Value) -> bool) -> bool {
            test(value) && match value {
                Value::Array(values) => values.iter().all(|value| all(value, test)),
                Value::Object(object) => object.iter().all(|(_, value)| all(value, test)),
                _ => true,
            }
        }
        for dialect in [Dialect::Notepack2, Dialect::Notepack3, Dialect::MsgpackJs] {
            let mut out = Vec::new();
            write_value(&mut out, &value, dialect);
            let read = read_value(&out.into(), 127).unwrap();
            if all(&value, &exact) {
                prop_assert_eq!(&read, &value);
            }
        }
    }

    #[test]
    fn any_msgpack_is_survived(bytes in any::<Vec<u8>>(), data in any::<Vec<u8>>(), kind in 0..5u8) {
        use patio_proto::msgpack;
        let _ = msgpack::read_value(&bytes.clone().into(), 127);
        if let Ok(packet) = msgpack::decode(bytes.into(), &limits()) {
            use_all(packet);
        }
        let framed = [&b"\x83\xa4type"[..], &[kind], b"\xa4data", &data, b"\xa3nsp\xa1/"].concat();
        if let Ok(packet) = msgpack::decode(framed.into(), &limits()) {
            use_all(packet);
        }
    }
}
