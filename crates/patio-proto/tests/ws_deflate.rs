//! Properties of compressed messages: what is compressed comes back however it is cut, and garbage is harmless.
#![cfg(feature = "deflate")]

use patio_proto::ws::{Decoder, Error, Message, Opcode, Role, deflate::Compressor, header, mask};
use proptest::{collection::vec, prelude::*};

const LIMIT: usize = 10_000;

/// Decodes `bytes` in chunks of `size`.
fn decode(bytes: &[u8], size: usize) -> Result<Vec<Message>, Error> {
    let mut decoder = Decoder::new(Role::Server, LIMIT).with_deflate();
    let mut messages = Vec::new();
    for chunk in bytes.chunks(size) {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        while let Some(message) = decoder.decode(&mut input)? {
            messages.push(message);
        }
        assert!(decoder.allocated() <= LIMIT + 1024);
    }
    Ok(messages)
}

/// A compressed message in fragments of at most `size` bytes.
fn frames(opcode: Opcode, compressed: &[u8], size: usize) -> Vec<u8> {
    let key = [3, 1, 4, 1];
    let mut out = Vec::new();
    let count = compressed.chunks(size).count();
    for (n, fragment) in compressed.chunks(size).enumerate() {
        let opcode = if n == 0 { opcode } else { Opcode::Continuation };
        let header = header(opcode, n + 1 == count, fragment.len(), Some(key));
        out.extend_from_slice(&if n == 0 { header.compressed() } else { header });
        let at = out.len();
        out.extend_from_slice(fragment);
        mask::apply(&mut out[at..], key);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_compressed_comes_back(
        payload in prop_oneof![
            vec(any::<u8>(), 0..5000),
            vec(prop::sample::select(b"ab".to_vec()), 0..LIMIT),
            vec(Just(0), LIMIT - 5..=LIMIT),
        ],
        level in 0_u32..=9,
        fragment in 1_usize..2000,
        chunk in 1_usize..2000,
    ) {
        let mut compressor = Compressor::new(level);
        let mut compressed = b"before".to_vec();
        prop_assert!(compressor.compress(&payload, &mut compressed));
        prop_assume!(compressed.len() - 6 <= LIMIT);
        let bytes = frames(Opcode::Binary, &compressed[6..], fragment);
        prop_assert_eq!(decode(&bytes, chunk), Ok(vec![Message::Binary(payload.clone().into())]));
        // The compressor keeps nothing of a message before.
        let frame = compressor.frame(Opcode::Binary, &payload, Some([9, 9, 9, 9]));
        prop_assert_eq!(decode(&frame.repeat(2), chunk), Ok(vec![Message::Binary(payload.into()); 2]));
    }

    #[test]
    fn garbage_ends_in_a_message_or_an_error(
        garbage in vec(any::<u8>(), 1..200),
        start in prop::sample::select(vec![&b""[..], b"\xf2\x48\xcd\xc9\xc9\x07", b"\x00\x05\x00\xfa\xff", b"\x05\xc0", b"\x03"]),
        chunk in 1_usize..50,
    ) {
        let bytes = frames(Opcode::Binary, &[start, &garbage].concat(), 70);
        let whole = decode(&bytes, bytes.len());
        prop_assert!(whole.as_ref().is_ok_and(|messages| messages.len() == 1) || whole.is_err());
        prop_assert_eq!(decode(&bytes, chunk), whole);
    }
}
