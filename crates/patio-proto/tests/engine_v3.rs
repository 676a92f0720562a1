//! Polling payloads of revision 3: text with lengths in UTF-16 code units, and the binary form of XHR2.

#![cfg(feature = "v3")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use patio_proto::engine::{DecodeError, Message, Packet, Protocol::V3, payload, v3};
use proptest::prelude::*;

type Decoded = (Vec<Packet>, Result<(), DecodeError>);

fn decode(body: impl Into<Bytes>) -> Decoded {
    let mut packets = Vec::new();
    let result = payload::decode(V3, body.into(), usize::MAX, |packet| packets.push(packet));
    (packets, result)
}

fn decode_binary(body: impl Into<Bytes>) -> Decoded {
    let mut packets = Vec::new();
    let result = v3::decode_binary(body.into(), usize::MAX, |packet| packets.push(packet));
    (packets, result)
}

fn text(text: &str) -> Packet {
    Packet::Message(Message::Text(text.into()))
}

fn bytes(bytes: &'static [u8]) -> Packet {
    Packet::Message(Message::Binary(Bytes::from_static(bytes)))
}

#[test]
fn text_examples() {
    let open =
        r#"{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}"#;
    let cases = [
        (&*format!("96:0{open}"), vec![Packet::Open(open.into())]),
        ("4:4hey", vec![text("hey")]),
        ("6:4hello6:4world", vec![text("hello"), text("world")]),
        ("6:4hello2:4€", vec![text("hello"), text("€")]),
        ("6:4h€llo", vec![text("h€llo")]),
        ("6:4test16:4test26:4test3", vec![text("test1"), text("test2"), text("test3")]),
        ("6:4hello10:b4AQIDBA==", vec![text("hello"), bytes(&[1, 2, 3, 4])]),
        ("2:4€10:b4AQIDBA==", vec![text("€"), bytes(&[1, 2, 3, 4])]),
        ("10:b4AQID/w==3:4h€", vec![bytes(&[1, 2, 3, 0xff]), text("h€")]),
        ("1:1", vec![Packet::Close]),
        ("1:2", vec![Packet::Ping("".into())]),
        ("6:2probe", vec![Packet::Ping("probe".into())]),
        ("1:6", vec![Packet::Noop]),
        ("3:4😀", vec![text("😀")]),
        ("5:4😀😀2:4é", vec![text("😀😀"), text("é")]),
        ("3:4::2:41", vec![text("::"), text("1")]),
        ("0:", vec![]),
        ("0:1:60:0:", vec![Packet::Noop]),
        ("002:4a", vec![text("a")]),
    ];
    for (body, packets) in cases {
        assert_eq!(decode(body.to_owned()), (packets, Ok(())), "{body:?}");
    }
}

#[test]
fn malformed_text() {
    let cases = [
        ("", DecodeError::Empty),
        ("abc", DecodeError::BadLength),
        (":4a", DecodeError::BadLength),
        ("4hello", DecodeError::BadLength),
        ("-1:4a", DecodeError::BadLength),
        ("+1:4", DecodeError::BadLength),
        ("1e0:4", DecodeError::BadLength),
        (" 1:4", DecodeError::BadLength),
        ("1.0:4", DecodeError::BadLength),
        ("1", DecodeError::Truncated),
        ("1:", DecodeError::Truncated),
        ("3:4a", DecodeError::Truncated),
        ("3:4€", DecodeError::Truncated),
        ("4:4😀", DecodeError::Truncated),
        ("2:4😀", DecodeError::BadLength),
        ("2:4😀1:6", DecodeError::BadLength),
        ("99999999999999999999999999:4a", DecodeError::Truncated),
        ("18446744073709551617:4", DecodeError::Truncated),
        ("1:x", DecodeError::UnknownType),
        ("1:b", DecodeError::Empty),
    ];
    for (body, error) in cases {
        assert_eq!(decode(body), (vec![], Err(error)), "{body:?}");
        // Packets in front of it are delivered, those behind it are not.
        if !body.is_empty() {
            assert_eq!(decode(format!("2:4a{body}")), (vec![text("a")], Err(error)), "2:4a{body:?}");
        }
    }
    assert_eq!(decode(format!("{}1:6", "0".repeat(309))), (vec![Packet::Noop], Ok(())));
    assert_eq!(decode(format!("{}1:6", "0".repeat(310))), (vec![], Err(DecodeError::BadLength)));
    assert_eq!(decode(&b"2:4\xff"[..]), (vec![], Err(DecodeError::InvalidUtf8)));
}

/// Node's bytes for "4héé€", binary 01 02 03 ff, "4x"; for an echo; and the examples of the specification.
#[test]
fn binary_examples() {
    let cases: [(&[u8], Vec<Packet>); 6] = [
        (
            b"\x00\x09\xff4h\xc3\xa9\xc3\xa9\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\xff\x00\x02\xff4x",
            vec![text("héé€"), bytes(&[1, 2, 3, 0xff]), text("x")],
        ),
        (b"\x00\x06\xff4hello\x01\x04\xff\x04\x01\x02\x03", vec![text("hello"), bytes(&[1, 2, 3])]),
        (b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04", vec![text("hello"), bytes(&[1, 2, 3, 4])]),
        (b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04", vec![text("€"), bytes(&[1, 2, 3, 4])]),
        (b"\x00\x01\x01\xff4helloworld", vec![text("helloworld")]),
        (b"\x00\x06\xff2probe\x01\x01\xff\x06", vec![Packet::Ping("probe".into()), Packet::Noop]),
    ];
    for (body, packets) in cases {
        assert_eq!(decode_binary(body), (packets, Ok(())), "{body:02x?}");
    }
    assert_eq!(decode_binary(&b"\x00\x06\xffb4AQID"[..]), (vec![bytes(&[1, 2, 3])], Ok(())));
    assert_eq!(decode_binary(Bytes::new()), (vec![], Ok(())), "as Node: no packet, no error");
}

#[test]
fn malformed_binary() {
    let cases: [(&[u8], DecodeError); 15] = [
        (b"\x00", DecodeError::BadLength),
        (b"\x00\xff", DecodeError::BadLength),
        (b"\x00\x01", DecodeError::Truncated),
        (b"\x00\x01\xff", DecodeError::Truncated),
        (b"\x00\x03\xff4a", DecodeError::Truncated),
        (b"\x01\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff\x04", DecodeError::Truncated),
        (b"\x00\x0a\xff4", DecodeError::BadLength),
        (b"\x00\x01\x0a\xff4", DecodeError::BadLength),
        (b"\x0025:4a", DecodeError::BadLength),
        (b"\x02\x01\xff4", DecodeError::UnknownType),
        (b"2:4a", DecodeError::UnknownType),
        (b"\x00\x00\xff", DecodeError::Empty),
        (b"\x01\x00\xff", DecodeError::Empty),
        (b"\x01\x01\xff\x07", DecodeError::UnknownType),
        (b"\x00\x02\xff4\xff", DecodeError::InvalidUtf8),
    ];
    for (body, error) in cases {
        assert_eq!(decode_binary(body), (vec![], Err(error)), "{body:02x?}");
        let behind = [b"\x00\x02\xff4a", body].concat();
        assert_eq!(decode_binary(behind), (vec![text("a")], Err(error)), "{body:02x?}");
    }
    let long = |zeros: usize| [b"\x00", &*vec![0; zeros], b"\x01\xff6"].concat();
    assert_eq!(decode_binary(long(309)), (vec![Packet::Noop], Ok(())));
    assert_eq!(decode_binary(long(310)), (vec![], Err(DecodeError::BadLength)));
    assert_eq!(decode_binary(vec![0; 1_000_000]), (vec![], Err(DecodeError::BadLength)));
}

#[test]
fn packets_are_counted() {
    let mut count = 0;
    assert_eq!(payload::decode(V3, "1:60:1:61:6".into(), 3, |_| count += 1), Ok(()));
    assert_eq!(payload::decode(V3, "1:61:6".into(), 1, |_| count += 1), Err(DecodeError::TooManyPackets));
    assert_eq!(count, 4);

    let body = || Bytes::from_static(b"\x00\x01\xff6\x01\x01\xff\x06");
    assert_eq!(v3::decode_binary(body(), 2, |_| count += 1), Ok(()));
    assert_eq!(v3::decode_binary(body(), 1, |_| count += 1), Err(DecodeError::TooManyPackets));
    assert_eq!(count, 7);
}

#[test]
fn chunks() {
    let mut out = Vec::new();
    v3::text_chunk(&mut out, "4h€llo");
    v3::text_chunk(&mut out, "4😀");
    v3::base64_chunk(&mut out, &[1, 2, 3, 0xff]);
    v3::text_chunk(&mut out, "4123456789");
    v3::text_chunk(&mut out, "");
    v3::base64_chunk(&mut out, b"");
    assert_eq!(str::from_utf8(&out), Ok("6:4h€llo3:4😀10:b4AQID/w==10:41234567890:2:b4"));

    let mut out = Vec::new();
    v3::binary_text_chunk(&mut out, "4héé€");
    v3::binary_chunk(&mut out, &[1, 2, 3, 0xff]);
    v3::binary_text_chunk(&mut out, "4x");
    assert_eq!(
        out,
        b"\x00\x09\xff4h\xc3\xa9\xc3\xa9\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\xff\x00\x02\xff4x"
    );

    out.clear();
    v3::binary_chunk(&mut out, &[7; 1_049]);
    assert_eq!(out[..7], [1, 1, 0, 5, 0, 0xff, 4]);
}

/// Advisories 2020-36048 and 2020-36049, and every way to make this decoder look twice at the same bytes.
#[test]
fn long_bodies_take_linear_time() {
    let repeated = |part: &str| part.repeat(1_000_000 / part.len());
    let bodies = [
        repeated("1:3"),
        repeated("0:"),
        repeated("2:4é"),
        repeated("3:4😀"),
        repeated("1"),
        format!("{}:4{}", 1 + 999_996 / 3, "€".repeat(999_996 / 3)),
        format!("999990:4{}", "€".repeat(333_000)),
        repeated("1:3") + "999999:€",
        repeated("5:3aaaé"),
    ];
    for body in bodies {
        let shown = &body[..body.floor_char_boundary(12)].to_owned();
        let start = Instant::now();
        let _ = decode(body);
        assert!(start.elapsed() < Duration::from_secs(5), "{shown}…: {:?}", start.elapsed());
    }
    for part in
        [&b"\x00\x01\xff3"[..], b"\x01\x01\xff\x03", b"\x01\x02\xff\x04\x04", b"\x00\x03\xff4\xc3\xa9"]
    {
        let start = Instant::now();
        let (packets, result) = decode_binary(part.repeat(1_000_000 / part.len()));
        assert_eq!((packets.len(), result), (1_000_000 / part.len(), Ok(())));
        assert!(start.elapsed() < Duration::from_secs(5), "{part:02x?}…: {:?}", start.elapsed());
    }
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<String>().prop_map(|text| Message::Text(text.into())),
        "[a:0-9é€😀]*".prop_map(|text| Message::Text(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Message::Binary(bytes.into())),
    ]
}

proptest! {
    #[test]
    fn payloads_round_trip(messages in prop::collection::vec(message(), 1..10)) {
        let (mut as_text, mut as_binary) = (Vec::new(), Vec::new());
        for message in &messages {
            match message {
                Message::Text(text) => {
                    v3::text_chunk(&mut as_text, &format!("4{text}"));
                    v3::binary_text_chunk(&mut as_binary, &format!("4{text}"));
                }
                Message::Binary(bytes) => {
                    v3::base64_chunk(&mut as_text, bytes);
                    v3::binary_chunk(&mut as_binary, bytes);
                }
            }
        }
        let packets: Vec<_> = messages.into_iter().map(Packet::Message).collect();
        prop_assert_eq!(decode(as_text), (packets.clone(), Ok(())));
        prop_assert_eq!(decode_binary(as_binary), (packets, Ok(())));
    }

    /// The decoder agrees with JavaScript's `slice`, spelled out in UTF-16.
    #[test]
    fn lengths_are_utf16_units(text in "4[aé€😀]{0,8}", units in 1..20_usize) {
        let utf16: Vec<u16> = text.encode_utf16().collect();
        prop_assert_eq!(v3::utf16_len(&text), utf16.len());
        let expected = match utf16.get(..units).map(String::from_utf16) {
            None => Err(DecodeError::Truncated),
            Some(Err(_)) => Err(DecodeError::BadLength),
            Some(Ok(packet)) => Ok(packet),
        };
        let (packets, result) = decode(format!("{units}:{text}"));
        match expected {
            Err(error) => prop_assert_eq!((packets, result), (vec![], Err(error))),
            Ok(packet) => prop_assert_eq!(&packets[0], &Packet::Message(Message::Text(packet[1..].into()))),
        }
    }

    #[test]
    fn random_bodies_never_panic(
        random in any::<Vec<u8>>(),
        texty in prop::collection::vec(prop::sample::select(&["0", "1", "2", "4", "b", ":", "é", "😀", "=="][..]), 0..50),
        bytesy in prop::collection::vec(prop::sample::select(&[0, 1, 2, 4, 9, 10, b'4', b'b', 255][..]), 0..50),
    ) {
        let _ = decode(random.clone());
        let _ = decode_binary(random);
        let _ = decode(texty.concat());
        let _ = decode_binary(bytesy);
    }
}
