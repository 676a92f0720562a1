//! Polling payloads of revision 4, and JSONP.

use std::time::{Duration, Instant};

use bytes::Bytes;
use patio_proto::engine::{DecodeError, Message, Packet, Protocol::V4, jsonp, payload};
use proptest::prelude::*;

fn decode(body: impl Into<Bytes>) -> (Vec<Packet>, Result<(), DecodeError>) {
    let mut packets = Vec::new();
    let result = payload::decode(V4, body.into(), usize::MAX, |packet| packets.push(packet));
    (packets, result)
}

fn text(text: &str) -> Packet {
    Packet::Message(Message::Text(text.into()))
}

fn bytes(bytes: &'static [u8]) -> Packet {
    Packet::Message(Message::Binary(Bytes::from_static(bytes)))
}

#[test]
fn examples() {
    let cases = [
        ("4hey", vec![text("hey")]),
        ("4hello", vec![text("hello")]),
        ("4hello\x1e4world", vec![text("hello"), text("world")]),
        ("4hello\x1e2\x1e4world", vec![text("hello"), Packet::Ping("".into()), text("world")]),
        ("4test1\x1e4test2\x1e4test3", vec![text("test1"), text("test2"), text("test3")]),
        ("bAQIDBA==", vec![bytes(&[1, 2, 3, 4])]),
        ("4hello\x1ebAQIDBA==", vec![text("hello"), bytes(&[1, 2, 3, 4])]),
        ("4hello\x1e4world\x1ebAQID", vec![text("hello"), text("world"), bytes(&[1, 2, 3])]),
        ("6\x1e1", vec![Packet::Noop, Packet::Close]),
        ("3", vec![Packet::Pong("".into())]),
        ("40\x1e42[\"€\"]", vec![text("0"), text("2[\"€\"]")]),
    ];
    for (body, packets) in cases {
        assert_eq!(decode(body), (packets, Ok(())), "{body:?}");
    }
}

#[test]
fn packets_in_front_of_a_bad_one_are_delivered() {
    assert_eq!(decode("4a\x1exx\x1e4b"), (vec![text("a")], Err(DecodeError::UnknownType)));
    assert_eq!(decode("4a\x1e"), (vec![text("a")], Err(DecodeError::Empty)));
    assert_eq!(decode("\x1e4a"), (vec![], Err(DecodeError::Empty)));
    assert_eq!(decode("4a\x1e\x1e4b"), (vec![text("a")], Err(DecodeError::Empty)));
    assert_eq!(decode(""), (vec![], Err(DecodeError::Empty)));
    assert_eq!(decode("abc"), (vec![], Err(DecodeError::UnknownType)));
    assert_eq!(decode(&b"4a\x1e4\xff"[..]), (vec![], Err(DecodeError::InvalidUtf8)));
}

#[test]
fn packets_are_counted() {
    let mut count = 0;
    assert_eq!(payload::decode(V4, "4a\x1e4b\x1e4c".into(), 3, |_| count += 1), Ok(()));
    assert_eq!(count, 3);
    count = 0;
    let result = payload::decode(V4, "4a\x1e4b\x1e4c\x1e4d".into(), 3, |_| count += 1);
    assert_eq!((result, count), (Err(DecodeError::TooManyPackets), 3));
}

#[test]
fn texts_share_the_body() {
    let body = Bytes::from("4hello\x1e4world".to_owned());
    let (packets, _) = decode(body.clone());
    let Packet::Message(Message::Text(world)) = &packets[1] else { panic!("no text") };
    assert_eq!(world.as_ptr(), body[8..].as_ptr());
}

/// Advisories 2020-36048 and 2020-36049: a body of tiny packets must not take quadratic time.
#[test]
fn many_tiny_packets_take_linear_time() {
    let body = "3\x1e".repeat(500_000) + "3";
    let start = Instant::now();
    let mut count = 0;
    assert_eq!(payload::decode(V4, body.into(), usize::MAX, |_| count += 1), Ok(()));
    assert_eq!(count, 500_001);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn binary_messages_are_base64() {
    let cases: [(&[u8], &str); 4] =
        [(b"", "b"), (&[1], "bAQ=="), (&[1, 2, 3], "bAQID"), (&[1, 2, 3, 0xff], "bAQID/w==")];
    for (bytes, chunk) in cases {
        let mut out = b"4a\x1e".to_vec();
        payload::base64_chunk(&mut out, bytes);
        assert_eq!(out, format!("4a\x1e{chunk}").as_bytes());
    }
}

#[test]
fn jsonp_responses() {
    assert_eq!(jsonp::response("4", "packet data"), r#"___eio[4]("packet data");"#);
    assert_eq!(
        jsonp::response("7", r#"114:0{"sid":"U3iE","upgrades":[]}"#),
        r#"___eio[7]("114:0{\"sid\":\"U3iE\",\"upgrades\":[]}");"#,
    );
    assert_eq!(jsonp::response("7", "7:4a\u{2028}b\"c\n"), r#"___eio[7]("7:4a\u2028b\"c\n");"#);
    assert_eq!(jsonp::response("0", "\u{2029}\u{1e}\\\u{8}é"), r#"___eio[0]("\u2029\u001e\\\bé");"#);
    assert_eq!(jsonp::response("a1b2", "6"), r#"___eio[12]("6");"#, "digits only");
    assert_eq!(jsonp::response("0](alert(1));//", "6"), r#"___eio[01]("6");"#);
    assert_eq!(jsonp::response("", "6"), r#"___eio[]("6");"#);
}

#[test]
fn jsonp_forms() {
    let cases: [(&str, &str); 13] = [
        ("d=4hello", "4hello"),
        ("d=6%3A4hello", "6:4hello"),
        ("d=4a+b%20c%2B", "4a b c+"),
        ("d=4%E2%82%AC&x=1", "4€"),
        ("x=1&d=4a", "4a"),
        ("%64=4a", "4a"),
        ("d=", ""),
        ("d", ""),
        ("d=a=b", "a=b"),
        ("d=%", "%"),
        ("d=%4&e", "%4"),
        ("d=%zz%+1%41", "%zz% 1A"),
        ("d=%%341", "%41"),
    ];
    for (form, payload) in cases {
        assert_eq!(jsonp::decode_form(form.as_bytes()).as_deref(), Ok(payload.as_bytes()), "{form:?}");
    }
    for form in ["", "x=1", "=d", "dd=1", "D=1", "&&", "d=4a&d=4b"] {
        assert_eq!(jsonp::decode_form(form.as_bytes()), Err(DecodeError::MissingField), "{form:?}");
    }
    assert_eq!(jsonp::decode_form(b"d=%ff").as_deref(), Ok(&b"\xff"[..]));
}

#[test]
fn jsonp_forms_escape_line_feeds() {
    let cases = [
        (r"4a\nb", "4a\nb"),
        (r"4a\\nb", r"4a\nb"),
        (r"4a\\\nb", r"4a\\nb"),
        (r"4a\\\\nb", r"4a\\\nb"),
        (r"\n\n\\n", "\n\n\\n"),
        (r"\\n\n", "\\n\n"),
        (r"\", r"\"),
        (r"\\", r"\\"),
        (r"n\", r"n\"),
        (r"\m\\", r"\m\\"),
        // What Node was seen to receive.
        (r#"16:42["x","a\nb\\\n"]"#, "16:42[\"x\",\"a\nb\\\\n\"]"),
    ];
    for (escaped, payload) in cases {
        let form = format!("d={}", escaped.replace('\\', "%5C"));
        assert_eq!(jsonp::decode_form(form.as_bytes()).as_deref(), Ok(payload.as_bytes()), "{escaped:?}");
    }
}

#[test]
fn long_forms_take_linear_time() {
    for part in ["%5C%5Cn", "\\n", "%", "&", "d=1&", "a&"] {
        let form = "d=".to_owned() + &part.repeat(1_000_000 / part.len());
        let start = Instant::now();
        let _ = jsonp::decode_form(form.as_bytes());
        assert!(start.elapsed() < Duration::from_secs(5), "{part:?}: {:?}", start.elapsed());
    }
}

/// A message that a client may send, as its packet and as its part of the payload.
fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        "[^\x1e]*".prop_map(|text| Message::Text(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Message::Binary(bytes.into())),
    ]
}

proptest! {
    #[test]
    fn payloads_round_trip(messages in prop::collection::vec(message(), 1..10)) {
        let mut body = Vec::new();
        for message in &messages {
            if !body.is_empty() {
                body.push(payload::SEPARATOR);
            }
            match message {
                Message::Text(text) => body.extend_from_slice(format!("4{text}").as_bytes()),
                Message::Binary(bytes) => payload::base64_chunk(&mut body, bytes),
            }
        }
        let packets = messages.into_iter().map(Packet::Message).collect();
        prop_assert_eq!(decode(body), (packets, Ok(())));
    }

    #[test]
    fn random_bodies_never_panic(
        bytes in any::<Vec<u8>>(),
        likely in prop::collection::vec(prop::sample::select(&b"0123456b\x1e:=A\xc3\xa9"[..]), 0..50),
    ) {
        let _ = decode(bytes.clone());
        let _ = decode(likely.clone());
        let _ = jsonp::decode_form(&bytes);
        let _ = jsonp::decode_form(&likely);
    }

    #[test]
    fn jsonp_responses_hold_the_payload(index in any::<u32>(), payload in any::<String>()) {
        let response = jsonp::response(&index.to_string(), &payload);
        let line_ends = ['\u{2028}', '\u{2029}', '\n'];
        prop_assert!(!response.contains(line_ends));
        let literal = response.strip_prefix(&format!("___eio[{index}](")).and_then(|rest| rest.strip_suffix(");"));
        let value: String = serde_json::from_str(literal.unwrap_or_default()).expect("a string");
        prop_assert_eq!(value, payload);
    }

    /// The client's side: backslash and n gets a backslash more, a line feed becomes backslash and n.
    #[test]
    fn jsonp_forms_round_trip(payload in "([a-z\\\\\n €]|\\\\n)*") {
        // A backslash in front of a line feed is ambiguous: the reason why clients send JSON, where there is none.
        prop_assume!(!payload.contains("\\\n"));
        let escaped = payload.replace("\\n", "\\\\n").replace('\n', "\\n");
        let form: String = escaped.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let decoded = jsonp::decode_form(format!("d={form}").as_bytes());
        prop_assert_eq!(decoded.as_deref(), Ok(payload.as_bytes()));
    }
}
