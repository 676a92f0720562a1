//! Masking: every byte of a client's payload is XORed with one of the four bytes of the frame's key.

/// Masks or unmasks `data` in place; the first byte meets the first byte of `mask`.
///
/// For a payload that comes in chunks, see [`advance`].
pub fn apply(data: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

/// The mask that the bytes after a chunk of `len` bytes start with.
pub const fn advance(mask: [u8; 4], len: usize) -> [u8; 4] {
    let [a, b, c, d] = mask;
    match len % 4 {
        0 => mask,
        1 => [b, c, d, a],
        2 => [c, d, a, b],
        _ => [d, a, b, c],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_the_example_of_the_rfc() {
        let mut data = *b"Hello";
        apply(&mut data, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(data, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn chunks_give_what_the_whole_gives() {
        let mask = [1, 2, 4, 8];
        for len in 0..40usize {
            let whole: Vec<u8> = (0..len).map(|i| 0x55 ^ mask[i % 4]).collect();
            for at in 0..=whole.len() {
                let mut data = vec![0x55; whole.len()];
                let (head, tail) = data.split_at_mut(at);
                apply(head, mask);
                apply(tail, advance(mask, at));
                assert_eq!(data, whole);
            }
        }
    }
}
