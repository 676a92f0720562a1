//! Name and value pairs in one boxed allocation, for what a connection keeps of its handshake.
//!
//! Filled once by [`super::query`] and [`super::headers`], then only read. A `HashMap` or a `HeaderMap` costs
//! several allocations per connection; here an entry costs its bytes and usually two more.
//!
//! An entry is `name value`. A name is a varint: `length << 1` followed by that many bytes, or `index << 1 | 1` into
//! a dictionary of usual names, which the owner passes in. A value is a varint length followed by its bytes.

/// Usual names, at most 64 so that an index takes one byte. Only ever appended to a process's memory, never sent,
/// so entries may change freely.
pub(super) type Dictionary = &'static [&'static str];

/// Read-only pairs in the order they were given.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Pairs {
    bytes: Box<[u8]>,
}

impl Pairs {
    /// Copies `pairs`. Names must be UTF-8 because [`Iter`] yields them as `str`.
    pub(super) fn collect<'a, V>(dictionary: Dictionary, pairs: impl Iterator<Item = (&'a str, V)>) -> Self
    where
        V: AsRef<[u8]>,
    {
        let mut scratch = Vec::with_capacity(1024);
        for (name, value) in pairs {
            match dictionary.iter().position(|usual| *usual == name) {
                Some(index) => put_varint(&mut scratch, index << 1 | 1),
                None => {
                    put_varint(&mut scratch, name.len() << 1);
                    scratch.extend_from_slice(name.as_bytes());
                }
            }
            put_varint(&mut scratch, value.as_ref().len());
            scratch.extend_from_slice(value.as_ref());
        }
        // A fresh allocation of the right size; shrinking the scratch in place would leave holes behind.
        Self { bytes: scratch.as_slice().into() }
    }

    pub(super) fn iter(&self, dictionary: Dictionary) -> Iter<'_> {
        Iter { rest: &self.bytes, dictionary }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_size(&self) -> usize {
        self.bytes.len()
    }
}

/// Iterator over the pairs.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    rest: &'a [u8],
    dictionary: Dictionary,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head = take_varint(&mut self.rest)?;
        let name = match head & 1 {
            1 => *self.dictionary.get(head >> 1)?,
            _ => std::str::from_utf8(take(&mut self.rest, head >> 1)?).ok()?,
        };
        let length = take_varint(&mut self.rest)?;
        Some((name, take(&mut self.rest, length)?))
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Dictionary = &["host", "accept"];

    #[test]
    fn gives_back_what_was_put_in() {
        let long = "x".repeat(20_000);
        let given =
            [("host", "a"), ("", ""), ("accept", long.as_str()), (long.as_str(), "v"), ("host", "again")];
        let pairs = Pairs::collect(USUAL, given.into_iter());
        let got: Vec<_> = pairs.iter(USUAL).map(|(n, v)| (n, std::str::from_utf8(v).unwrap())).collect();
        assert_eq!(got, given);
    }

    #[test]
    fn usual_names_take_one_byte() {
        let pairs = Pairs::collect(USUAL, [("accept", "*/*"), ("other", "1")].into_iter());
        assert_eq!(pairs.heap_size(), (1 + 1 + 3) + (1 + 5 + 1 + 1));
        assert_eq!(size_of::<Pairs>(), 2 * size_of::<usize>());
    }

    #[test]
    fn nothing_takes_no_heap() {
        let pairs = Pairs::collect(USUAL, std::iter::empty::<(&str, &str)>());
        assert_eq!(pairs.heap_size(), 0);
        assert!(pairs.iter(USUAL).next().is_none());
    }
}
