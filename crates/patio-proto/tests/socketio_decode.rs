//! What is received: the examples of the Socket.IO protocol, Node's quirks, and what must be refused.

use std::time::{Duration, Instant};

use bytes::Bytes;
use patio_proto::{
    Text,
    decode::{DecodeError, Decoder, Limits, RESERVED_EVENTS},
    encode::{Encoded, Form},
    packet::{Kind, Packet, UNKNOWN_ID, split_query},
    payload::Payload,
    value::Value,
};

fn decode(text: &str) -> Result<Packet, DecodeError> {
    Decoder::new().text(text.into(), &Limits::default()).map(|packet| packet.expect("no attachments"))
}

fn decode_with(text: &str, attachments: &[&'static [u8]]) -> Result<Packet, DecodeError> {
    let (mut decoder, limits) = (Decoder::new(), Limits::default());
    let mut packet = decoder.text(text.into(), &limits)?;
    for bytes in attachments {
        assert!(packet.is_none() && decoder.is_waiting());
        packet = decoder.binary(Bytes::from_static(bytes), &limits)?;
    }
    assert!(!decoder.is_waiting());
    Ok(packet.expect("all attachments"))
}

fn kind(text: &str) -> Kind {
    let packet = decode(text).unwrap();
    assert_eq!(&*packet.nsp, "/");
    packet.kind
}

fn event_of(text: &str) -> (Option<u64>, String) {
    match kind(text) {
        Kind::Event { id, payload } => (id, format!("{payload:?}")),
        other => panic!("{other:?}"),
    }
}

/// The examples of the protocol's specification, revision 5, and what they are when sent again.
#[test]
fn specification_v5() {
    for text in [
        "0",
        r#"0{"sid":"oSO0OpakMV_3jnilAAAA"}"#,
        r#"0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}"#,
        r#"0/admin,{"token":"123"}"#,
        r#"4{"message":"Not authorized"}"#,
        r#"4/admin,{"message":"Not authorized"}"#,
        r#"2["foo"]"#,
        r#"2/admin,["bar"]"#,
        r#"212["foo"]"#,
        r#"2/admin,456["project:delete",123]"#,
        "312[]",
        r#"3/admin,13["bar"]"#,
        "1",
        "1/admin,",
        r#"2["hello",1]"#,
        r#"2/admin,456["project:delete",123]"#,
        r#"3/admin,456[]"#,
    ] {
        let packet = decode(text).unwrap();
        assert_eq!(Encoded::packet(&packet).bytes(Form::PollV4), format!("4{text}").as_bytes(), "{text}");
    }
    for (text, attachments) in [
        (r#"51-["hello",{"_placeholder":true,"num":0}]"#, &[&b"\x01\x02\x03"[..]][..]),
        (r#"51-/admin,456["project:delete",{"_placeholder":true,"num":0}]"#, &[b"\x01\x02\x03"]),
        (r#"61-/admin,456[{"_placeholder":true,"num":0}]"#, &[b"\x03\x02\x01"]),
        (r#"51-["baz",{"_placeholder":true,"num":0}]"#, &[b"\x01\x02\x03\x04"]),
        (
            r#"52-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            &[b"\x01", b"\x05\x06"],
        ),
        (r#"61-15["bar",{"_placeholder":true,"num":0}]"#, &[b"\x01\x02\x03\x04"]),
        (r#"61-/admin,1[{"_placeholder":true,"num":0}]"#, &[b""]),
    ] {
        let packet = decode_with(text, attachments).unwrap();
        let frames = Encoded::packet(&packet);
        assert!(frames.bytes(Form::PollV4).starts_with(format!("4{text}\u{1e}b").as_bytes()), "{text}");
        assert_eq!(packet.payload().unwrap().attachments(), attachments);
    }
}

/// Revision 4: queries in namespaces, errors that are strings.
#[test]
fn specification_v4() {
    let packet = decode("0/a?x=1&y=2,").unwrap();
    assert_eq!((&*packet.nsp, &packet.kind), ("/a?x=1&y=2", &Kind::Connect(None)));
    assert_eq!(split_query(&packet.nsp), ("/a", Some("x=1&y=2")));
    assert_eq!(split_query("/a"), ("/a", None));
    assert_eq!(split_query("/?a?b"), ("/", Some("a?b")));
    assert_eq!(decode("0/admin?token=1234").unwrap().nsp, Text::from("/admin?token=1234"));
    let Kind::ConnectError(error) = kind(r#"4"Not authorized""#) else { panic!() };
    assert_eq!(error.read_value::<String>().unwrap(), "Not authorized");
    assert_eq!(decode("1/admin").unwrap().kind, Kind::Disconnect);
}

/// Details of the grammar, as Node reads it.
#[test]
fn quirks_of_node() {
    assert_eq!(decode("0/a").unwrap(), Packet::new("/a", Kind::Connect(None)));
    assert_eq!(decode(r#"2/,["x"]"#).unwrap().nsp, Text::from("/"));
    let packet = decode(r#"2/a["x"]"#).unwrap();
    assert_eq!(packet, Packet::new(r#"/a["x"]"#, Kind::Event { id: None, payload: Payload::empty() }));
    assert_eq!(event_of(r#"2007["x"]"#), (Some(7), r#"["x"]"#.into()));
    assert_eq!(event_of("2"), (None, "[]".into()));
    assert_eq!(event_of("25"), (Some(5), "[]".into()));
    assert_eq!(kind("3"), Kind::Ack { id: UNKNOWN_ID, payload: Payload::empty() });
    assert!(matches!(kind(r#"3["x"]"#), Kind::Ack { id: UNKNOWN_ID, .. }));
    assert_eq!(kind("37"), Kind::Ack { id: 7, payload: Payload::empty() });
    assert!(matches!(kind("4"), Kind::ConnectError(_)));
    assert_eq!(decode("0/a,").unwrap(), Packet::new("/a", Kind::Connect(None)));
    assert!(matches!(kind("01{}"), Kind::Connect(Some(_))));
    assert_eq!(event_of(r#"2["error"]"#).1, r#"["error"]"#);
    assert_eq!(event_of(r#"2["__proto__"]"#).1, r#"["__proto__"]"#);
    assert_eq!(event_of("2[1]").1, "[1]");
    assert_eq!(event_of("2 [ \"x\" ,\n1 ] ").1, " [ \"x\" ,\n1 ] ");
    assert_eq!(event_of(r#"2["x",1e999]"#).1, r#"["x",1e999]"#);
    assert!(matches!(kind("3123456789012345678901234567890[]"), Kind::Ack { id: UNKNOWN_ID, .. }));
    // an event whose data is missing waits for its attachment all the same
    let packet = decode_with("51-", &[b"x"]).unwrap();
    assert_eq!(packet.kind, Kind::Event { id: None, payload: Payload::empty() });
}

#[test]
fn refused() {
    use DecodeError::*;
    for (text, error) in [
        ("", UnknownType),
        ("7", UnknownType),
        ("x", UnknownType),
        ("é", UnknownType),
        ("-1", UnknownType),
        ("0null", Data),
        ("0[]", Data),
        (r#"0"x""#, Data),
        ("0{", Json),
        ("0{}x", Json),
        ("1{}", Data),
        (r#"1/a,"x""#, Data),
        ("2null", Data),
        ("2{}", Data),
        ("2[]", Data),
        ("2[null]", Data),
        ("2[[]]", Data),
        ("2[{}]", Data),
        ("2[true]", Data),
        ("2]", Json),
        (r#"2-1["x"]"#, Json),
        (r#"21.5["x"]"#, Json),
        (r#"2["x""#, Json),
        (r#"2["x]"#, Json),
        (r#"2["x",]"#, Json),
        (r#"2['x']"#, Json),
        (r#"2["x",undefined]"#, Json),
        (r#"2["x",NaN]"#, Json),
        (r#"2["x",01]"#, Json),
        ("2[\"\n\"]", Json),
        (r#"2["\x"]"#, Json),
        (r#"2["\u12g4"]"#, Json),
        (r#"2["x"]["y"]"#, Json),
        ("2\u{feff}[\"x\"]", Json),
        ("3{}", Data),
        (r#"3"x""#, Data),
        ("4[]", Data),
        ("5", Attachments),
        (r#"5["x"]"#, Attachments),
        (r#"5-["x"]"#, Attachments),
        (r#"50-["x"]"#, Attachments),
        (r#"5000-["x"]"#, Attachments),
        (r#"51["x-y"]"#, Attachments),
        (r#"51.0-["x"]"#, Attachments),
        (r#"51e0-["x"]"#, Attachments),
        (r#"5+1-["x"]"#, Attachments),
        (r#"5 1-["x"]"#, Attachments),
        (r#"50x1-["x"]"#, Attachments),
        (r#"5999"#, Attachments),
        (r#"511-["x"]"#, TooManyAttachments),
        (r#"599999999999999999999999-["x"]"#, TooManyAttachments),
        ("60-[]", Attachments),
        ("51-{}", Data),
        ("61-{}", Data),
    ] {
        assert_eq!(Decoder::new().text(text.into(), &Limits::default()), Err(error), "{text}");
    }
    for name in RESERVED_EVENTS {
        assert_eq!(decode(&format!("2[\"{name}\"]")), Err(ReservedEvent));
        assert_eq!(decode(&format!("3[\"{name}\"]")).err(), None);
    }
    assert_eq!(decode(r#"2["\u0063onnect"]"#), Err(ReservedEvent));
}

#[test]
fn order_of_messages() {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    assert_eq!(decoder.binary(Bytes::new(), &limits), Err(DecodeError::UnexpectedBinary));
    let json = r#"51-["x",{"_placeholder":true,"num":0}]"#;
    assert_eq!(decoder.text(json.into(), &limits), Ok(None));
    assert_eq!(decoder.text("2[\"x\"]".into(), &limits), Err(DecodeError::UnexpectedText));
    assert!(!decoder.is_waiting());
    assert_eq!(decoder.text(json.into(), &limits), Ok(None));
    assert!(decoder.binary(Bytes::from_static(b"1"), &limits).unwrap().is_some());
    assert_eq!(decoder.binary(Bytes::new(), &limits), Err(DecodeError::UnexpectedBinary));
    assert!(size_of::<Decoder>() <= 8);
}

/// GHSA-qm95-pgcg-qqfq (2022-2421) and GHSA-677m-j7p3-52f9 (2026-33151).
#[test]
fn placeholders() {
    let with = |member: &str| decode_with(&format!(r#"51-["x",{{"a":[{{{member}}}]}}]"#), &[b"bytes"]);
    for num in ["1", "-1", "0.5", "1e3", "-1e-9", "\"0\"", "\"splice\"", "null", "true", "[0]", "{}"] {
        assert_eq!(
            with(&format!(r#""_placeholder":true,"num":{num}"#)),
            Err(DecodeError::Placeholder),
            "{num}"
        );
    }
    assert_eq!(with(r#""_placeholder":true"#), Err(DecodeError::Placeholder));
    assert_eq!(with(r#""num":0,"_placeholder":true,"num":1"#), Err(DecodeError::Placeholder));
    for member in [
        r#""_placeholder":true,"num":0"#,
        r#""num":0,"_placeholder":true"#,
        r#""num":0.0,"_placeholder":true,"x":{}"#,
        r#""num":-0,"_placeholder":false,"_placeholder":true"#,
        r#""num":1,"\u005fplaceholder":true,"num":0"#,
    ] {
        let (values, index) = (with(member).unwrap().payload().unwrap().values().unwrap(), 0);
        assert_eq!(values[1]["a"][index], Value::Binary(Bytes::from_static(b"bytes")), "{member}");
    }
    for member in [r#""_placeholder":1,"num":0"#, r#""_placeholder":"true","num":9"#, r#""num":9"#] {
        let values = with(member).unwrap().payload().unwrap().values().unwrap();
        assert!(values[1]["a"][0].as_object().is_some(), "{member}");
    }
    // one attachment in two places, another in none
    let twice = r#"52-[0,{"_placeholder":true,"num":1},{"_placeholder":true,"num":1}]"#;
    let values = decode_with(twice, &[b"a", b"b"]).unwrap().payload().unwrap().values().unwrap();
    let b = Value::Binary(Bytes::from_static(b"b"));
    assert_eq!(values, [Value::Int(0), b.clone(), b]);
    // without attachments it is an object like any other
    assert!(decode(r#"2["x",{"_placeholder":true,"num":7}]"#).is_ok());
}

#[test]
fn a_wrong_placeholder_is_an_error_once_all_attachments_are_there() {
    let limits = Limits::default();
    let mut decoder = Decoder::new();
    assert_eq!(decoder.text(r#"52-["x",{"_placeholder":true,"num":2}]"#.into(), &limits), Ok(None));
    assert_eq!(decoder.binary(Bytes::new(), &limits), Ok(None));
    assert_eq!(decoder.binary(Bytes::new(), &limits), Err(DecodeError::Placeholder));
    assert!(!decoder.is_waiting());
    // what is wrong without any attachment is wrong at once
    let cut = r#"51-["x",{"_placeholder":true,"num":2}"#;
    assert_eq!(decoder.text(cut.into(), &limits), Err(DecodeError::Json));
}

#[test]
fn nothing_is_looked_for_inside_of_a_placeholder() {
    let limits = Limits::default();
    let inside = r#"51-["x",{"_placeholder":true,"num":0,"y":[{"_placeholder":true,"num":9}]}]"#;
    let mut decoder = Decoder::new();
    assert_eq!(decoder.text(inside.into(), &limits), Ok(None));
    let packet = decoder.binary(Bytes::from_static(b"z"), &limits).unwrap().unwrap();
    let Kind::Event { payload, .. } = packet.kind else { panic!() };
    assert_eq!(payload.read_args::<Bytes>(1).unwrap(), "z");
    // One beside it is.
    let beside = r#"51-["x",{"_placeholder":true,"num":9},{"_placeholder":true,"num":0}]"#;
    assert_eq!(decoder.text(beside.into(), &limits), Ok(None));
    assert_eq!(decoder.binary(Bytes::new(), &limits), Err(DecodeError::Placeholder));
}

#[test]
fn depth() {
    let nested = |depth: usize| format!("2[\"x\",{}{}]", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let packet = decode(&nested(127)).unwrap();
    assert!(packet.payload().unwrap().values().is_ok());
    assert!(packet.payload().unwrap().read_args::<Value>(1).is_ok());
    assert_eq!(decode(&nested(128)), Err(DecodeError::TooDeep));
    assert_eq!(decode(&format!("2[\"x\",{}", "[".repeat(500_000))), Err(DecodeError::TooDeep));
    assert_eq!(decode(&format!("2[\"x\",{}", r#"{"a":"#.repeat(200_000))), Err(DecodeError::TooDeep));
    // what stands in strings is no nesting
    assert!(decode(&format!("2[\"x\",\"\\\"{}\"]", "[".repeat(1000))).is_ok());
    // a user may want more than can be read into values: still no overflow
    let limits = Limits { max_depth: usize::MAX, ..Limits::default() };
    let deep = Decoder::new().text(nested(400_000).into(), &limits).unwrap().unwrap();
    assert!(deep.payload().unwrap().values().is_err());
    assert!(deep.payload().unwrap().read_args::<Value>(1).is_err());
    let binary = nested(400_000).replacen('2', "51-", 1);
    assert_eq!(Decoder::new().text(binary.into(), &limits), Err(DecodeError::Json));
}

#[test]
fn limits() {
    let limits = Limits { max_event_name: 4, max_attachments: 1, ..Limits::default() };
    let decode = |text: &str| Decoder::new().text(text.into(), &limits).map(drop);
    assert_eq!(decode("2[\"four\"]"), Ok(()));
    assert_eq!(decode("2[\"fives\"]"), Err(DecodeError::EventNameTooLong));
    assert_eq!(decode("3[\"fives\"]"), Ok(()));
    assert_eq!(decode("51-[1]"), Ok(()));
    assert_eq!(decode("52-[1]"), Err(DecodeError::TooManyAttachments));
}

#[test]
fn lone_surrogates() {
    for (json, text) in [
        (r#""\ud83d\ude00""#, "\u{1f600}"),
        (r#""\uD83D\uDE00""#, "\u{1f600}"),
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#""\ud83d\ud83d\ude00x""#, "\u{fffd}\u{1f600}x"),
        (r#""\\ud83d""#, "\\ud83d"),
        (r#""\\\ud83d\u0041""#, "\\\u{fffd}A"),
        (r#""\udbff\"\udfff""#, "\u{fffd}\"\u{fffd}"),
        (r#""\ud7ff\ue000""#, "\u{d7ff}\u{e000}"),
    ] {
        let packet = decode(&format!("2[\"x\",{json}]")).unwrap();
        assert_eq!(packet.payload().unwrap().read_args::<String>(1).unwrap(), text, "{json}");
        let Kind::Event { payload, .. } = decode(&format!("2[{json}]")).unwrap().kind else { panic!() };
        assert_eq!(payload.event_name().unwrap(), text);
    }
    let values = decode(r#"2["x",{"\ud800":1}]"#).unwrap().payload().unwrap().values().unwrap();
    assert_eq!(values[1]["\u{fffd}"], Value::Int(1));
    assert_eq!(decode(r#"2["\ud83"]"#), Err(DecodeError::Json));
    assert_eq!(decode(r#"2["\ud83d\u"]"#), Err(DecodeError::Json));
}

#[test]
fn event_names() {
    let name = |json: &str| {
        let packet = decode(&format!("2{json}")).unwrap();
        packet.payload().unwrap().event_name().map(|name| name.into_owned())
    };
    assert_eq!(name(r#"["a"]"#).unwrap(), "a");
    assert_eq!(name(r#"["",1]"#).unwrap(), "");
    assert_eq!(name(r#" [ "a\"\n\u00e9" ,1]"#).unwrap(), "a\"\né");
    assert_eq!(name("[12,1]").unwrap(), "12");
    assert_eq!(name("[1.50]").unwrap(), "1.5");
    assert_eq!(name("[-0]").unwrap(), "0");
    assert_eq!(name("[1e3 ]").unwrap(), "1000");
    assert_eq!(name("[123456789012345678901234]").unwrap(), "1.2345678901234569e+23");
    assert_eq!(name(""), None);
}

/// The time of hostile input grows with its length, not with the square of it.
#[test]
fn linear() {
    let million = 1_000_000;
    let keys = |n: usize| (0..n).map(|n| format!("\"{n}\":0,")).collect::<String>();
    for text in [
        format!("2{}", "9".repeat(million)),
        format!("5{}-", "0".repeat(million)),
        format!("2/{}", "a".repeat(million)),
        format!("2[{}0]", "0,".repeat(million / 2)),
        format!("2[\"{}\"]", r"\ud800".repeat(million / 6)),
        format!("2[\"x\",\"{}\"]", r"\ud800".repeat(million / 6)),
        format!("2[\"x\",\"{}\"]", r"\\".repeat(million / 2)),
        format!("2[\"x\",{{{}\"a\":0}}]", keys(million / 10)),
        format!("2[\"x\",{{{}\"a\":0}}]", "\"a\":0,".repeat(million / 6)),
        format!("51-[\"x\",{{{}\"a\":0}}]", keys(million / 10)),
        format!("51-[{}0]", r#"{"_placeholder":true,"num":0},"#.repeat(million / 30)),
    ] {
        let start = Instant::now();
        let packet = match text.starts_with("51-") {
            true => decode_with(&text, &[b"bytes"]),
            false => decode(&text),
        };
        if let Ok(packet) = packet
            && let Some(payload) = packet.payload()
        {
            payload.event_name();
            let _ = payload.values();
            let _ = payload.read_args::<Value>(1);
            payload.with_appended_str("offset");
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{} took {:?}", &text[..20], start.elapsed());
    }
}
