//! Properties of the WebSocket decoder: how bytes are cut does not matter, nothing panics, memory stays bounded.

use patio_proto::ws::{
    CloseCode, CloseFrame, Decoder, Error, Message, Opcode, Role, encode_message, header, mask,
};
use proptest::{collection::vec, prelude::*, sample::Index};

const LIMIT: usize = 4096;
/// What a decoder may hold beyond the limit of a message: its own state and the payload of a control frame.
const SMALL: usize = 1024;

/// Decodes `chunks` one after the other: the messages until the first error, and that error.
fn decode(role: Role, limit: usize, chunks: &[&[u8]]) -> (Vec<Message>, Option<Error>) {
    let mut decoder = Decoder::new(role, limit);
    let mut messages = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        while !input.is_empty() {
            match decoder.decode(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => assert!(input.is_empty()),
                Err(error) => return (messages, Some(error)),
            }
            assert!(decoder.allocated() <= limit + SMALL, "{} bytes held", decoder.allocated());
            assert!(!decoder.is_idle() || decoder.allocated() == 0);
        }
    }
    (messages, None)
}

/// Cuts `bytes` at some of its positions.
fn cut<'a>(mut bytes: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
    let mut positions: Vec<usize> = at.iter().map(|at| at.index(bytes.len() + 1)).collect();
    positions.sort_unstable();
    let mut chunks = Vec::new();
    let mut done = 0;
    for position in positions {
        let (head, tail) = bytes.split_at(position - done);
        chunks.push(head);
        bytes = tail;
        done = position;
    }
    chunks.push(bytes);
    chunks
}

/// A message, fragmented at the given places, with pings between its fragments.
#[derive(Clone, Debug)]
struct Sent {
    message: Message,
    cuts: Vec<Index>,
    pings: bool,
    mask: [u8; 4],
}

impl Sent {
    fn write(&self, role: Role, out: &mut Vec<u8>, expected: &mut Vec<Message>) {
        let mask = (role == Role::Server).then_some(self.mask);
        let (opcode, payload) = match &self.message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, &bytes[..]),
            control => {
                encode_message(out, control, mask);
                return expected.push(control.clone());
            }
        };
        let fragments = cut(payload, &self.cuts);
        for (n, fragment) in fragments.iter().enumerate() {
            let opcode = if n == 0 { opcode } else { Opcode::Continuation };
            if self.pings && n > 0 {
                let ping = Message::Ping(vec![7; n % 126].into());
                encode_message(out, &ping, mask);
                expected.push(ping);
            }
            out.extend_from_slice(&header(opcode, n + 1 == fragments.len(), fragment.len(), mask));
            let at = out.len();
            out.extend_from_slice(fragment);
            mask::apply(&mut out[at..], mask.unwrap_or_default());
        }
        expected.push(self.message.clone());
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        4 => "\\PC{0,200}".prop_map(|text| Message::Text(text.into())),
        3 => vec(any::<u8>(), 0..LIMIT).prop_map(|bytes| Message::Binary(bytes.into())),
        1 => vec(any::<u8>(), 0..=125).prop_map(|bytes| Message::Ping(bytes.into())),
        1 => vec(any::<u8>(), 0..=125).prop_map(|bytes| Message::Pong(bytes.into())),
        1 => Just(Message::Close(None)),
        1 => "[a-zé€😀]{0,20}".prop_map(|reason| {
            Message::Close(Some(CloseFrame { code: CloseCode::GOING_AWAY, reason: reason.into() }))
        }),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    (message(), vec(any::<Index>(), 0..5), any::<bool>(), any::<[u8; 4]>())
        .prop_map(|(message, cuts, pings, mask)| Sent { message, cuts, pings, mask })
}

/// Bytes that look like frames often enough to reach every state of the decoder.
fn frame_like() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88]),
        1 => any::<u8>(),
    ];
    let length = prop_oneof![8 => 0_u8..8, 2 => Just(125), 1 => 126..=127_u8];
    let frame = (first, length, any::<bool>(), vec(any::<u8>(), 4..12), "[a-zé]{0,6}").prop_map(
        |(first, length, masked, tail, text)| {
            let mut frame = vec![first, length | if masked { 0x80 } else { 0 }];
            if masked {
                frame.extend_from_slice(&[0; 4]);
            }
            if usize::from(length) == text.len() {
                frame.extend_from_slice(text.as_bytes());
            } else {
                frame.extend_from_slice(&tail[..tail.len().min(usize::from(length))]);
            }
            frame
        },
    );
    vec(frame, 0..12).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn however_bytes_are_cut_the_messages_are_the_same(
        role in role(),
        sent in vec(sent(), 1..6),
        at in vec(any::<Index>(), 0..12),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for sent in &sent {
            sent.write(role, &mut bytes, &mut expected);
        }
        prop_assert_eq!(decode(role, LIMIT, &[&bytes]), (expected.clone(), None));
        prop_assert_eq!(decode(role, LIMIT, &cut(&bytes, &at)), (expected.clone(), None));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(decode(role, LIMIT, &single), (expected, None));
    }

    #[test]
    fn two_chunks_cut_at_every_byte_are_the_whole(role in role(), sent in vec(sent(), 1..3)) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for sent in &sent {
            sent.write(role, &mut bytes, &mut expected);
        }
        bytes.truncate(600);
        let whole = decode(role, LIMIT, &[&bytes]);
        prop_assert!(whole.1.is_none() && expected.starts_with(&whole.0));
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            prop_assert_eq!(&decode(role, LIMIT, &[head, tail]), &whole);
        }
    }

    #[test]
    fn random_bytes_never_panic_and_hold_little(
        role in role(),
        bytes in prop_oneof![vec(any::<u8>(), 0..300), frame_like()],
        at in vec(any::<Index>(), 0..8),
        limit in 0_usize..40,
    ) {
        let whole = decode(role, limit, &[&bytes]);
        for message in &whole.0 {
            match message {
                Message::Text(text) => prop_assert!(text.len() <= limit),
                Message::Binary(bytes) => prop_assert!(bytes.len() <= limit),
                Message::Ping(bytes) | Message::Pong(bytes) => prop_assert!(bytes.len() <= 125),
                Message::Close(_) => {}
            }
        }
        // Errors do not depend on the cuts either, but for which of two faults of one frame shows first.
        let chunks = decode(role, limit, &cut(&bytes, &at));
        prop_assert_eq!(&chunks.0, &whole.0);
        prop_assert_eq!(chunks.1.is_some(), whole.1.is_some());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(decode(role, limit, &single).0, whole.0);
    }

    #[test]
    fn text_is_accepted_exactly_if_it_is_utf8(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..12),
            // Bytes around the borders of what each place of a character may hold.
            vec(prop::sample::select(b"a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xed\xef\xf0\xf4\xf5".to_vec()), 0..8),
        ],
        cuts in vec(any::<Index>(), 0..4),
        at in vec(any::<Index>(), 0..4),
    ) {
        let mut frames = Vec::new();
        let fragments = cut(&bytes, &cuts);
        for (n, fragment) in fragments.iter().enumerate() {
            let opcode = if n == 0 { Opcode::Text } else { Opcode::Continuation };
            frames.extend_from_slice(&header(opcode, n + 1 == fragments.len(), fragment.len(), None));
            frames.extend_from_slice(fragment);
        }
        let expected = match std::str::from_utf8(&bytes) {
            Ok(text) => (vec![Message::Text(text.into())], None),
            Err(_) => (vec![], Some(Error::InvalidUtf8)),
        };
        prop_assert_eq!(decode(Role::Client, 100, &cut(&frames, &at)), expected);
    }
}

#[test]
fn invalid_text_is_refused_at_the_byte_that_makes_it_invalid() {
    let texts: [&[u8]; 6] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64\x69\x74\x65\x64",
        b"abc\xc0\xaf",
        b"abc\xf8\x88\x80\x80\x80",
        b"abc\xe0\x80\xaf",
        b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!\xff",
    ];
    for text in texts {
        let error = std::str::from_utf8(text).unwrap_err();
        // The byte after the longest valid start of a character: Autobahn's fail-fast cases want it refused at once.
        let wrong = (error.valid_up_to()..text.len())
            .find(|&at| std::str::from_utf8(&text[..=at]).is_err_and(|error| error.error_len().is_some()))
            .unwrap();
        let mut decoder = Decoder::new(Role::Client, 100);
        let mut head = header(Opcode::Text, true, text.len(), None).to_vec();
        assert_eq!(decoder.decode(&mut &mut head[..]), Ok(None));
        for (at, &byte) in text.iter().enumerate() {
            let result = decoder.decode(&mut &mut [byte][..]);
            if at == wrong {
                assert_eq!(result, Err(Error::InvalidUtf8));
                break;
            }
            assert_eq!(result, Ok(None), "byte {at}");
        }
    }
}

#[test]
fn a_fragment_of_every_size_is_joined_in_linear_time() {
    // A megabyte in fragments of 64 bytes, each read alone.
    let mut decoder = Decoder::new(Role::Client, 1 << 20);
    let fragments = (1 << 20) / 64;
    for n in 0..fragments {
        let opcode = if n == 0 { Opcode::Binary } else { Opcode::Continuation };
        let mut frame = header(opcode, n + 1 == fragments, 64, None).to_vec();
        frame.extend_from_slice(&[n as u8; 64]);
        let message = decoder.decode(&mut &mut frame[..]).unwrap();
        assert!(decoder.allocated() <= (1 << 20) + SMALL);
        assert!(decoder.allocated() <= 2 * 64 * (n + 1) + SMALL);
        assert_eq!(message.is_some(), n + 1 == fragments);
    }
    assert!(decoder.is_idle());
}
