//! Offsets as Node's in-memory adapter writes them: the time in base 64, with a number after a dot for further
//! packets of the same millisecond (the npm package `yeast`).

use std::time::SystemTime;

use tokio::time::Instant;

use crate::Offset;

const ALPHABET: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// Makes offsets that never repeat and always grow.
pub(super) struct Yeast {
    /// Wall-clock milliseconds at `start`; from there the monotonic clock counts, so that a clock set back does not
    /// make offsets run backwards.
    epoch: u64,
    start: Instant,
    last: (u64, u64),
}

impl Yeast {
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let epoch = u64::try_from(now.as_millis()).unwrap_or(0);
        Self { epoch, start: Instant::now(), last: (0, 0) }
    }

    /// The offset after the last one.
    pub(super) fn next(&mut self) -> Offset {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = self.epoch.saturating_add(elapsed);
        self.last = if now > self.last.0 { (now, 0) } else { (self.last.0, self.last.1 + 1) };
        self.last()
    }

    /// The last one.
    pub(super) fn last(&self) -> Offset {
        let (ms, number) = self.last;
        let mut text = encode(ms);
        if let Some(number) = number.checked_sub(1) {
            text.push('.');
            text.push_str(&encode(number));
        }
        Offset::new(text, self.last)
    }
}

/// The position that `text` names, if it is such an offset.
pub(super) fn position(text: &str) -> Option<(u64, u64)> {
    match text.split_once('.') {
        None => Some((decode(text)?, 0)),
        Some((ms, number)) => Some((decode(ms)?, decode(number)?.checked_add(1)?)),
    }
}

fn encode(mut number: u64) -> String {
    let mut text = Vec::new();
    loop {
        text.push(char::from(ALPHABET[usize::try_from(number % 64).unwrap_or(0)]));
        number /= 64;
        if number == 0 {
            return text.iter().rev().collect();
        }
    }
}

fn decode(text: &str) -> Option<u64> {
    // 64^10 still fits 64 bits; a time has 7 characters.
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, byte| {
        let digit = ALPHABET.iter().position(|&digit| digit == byte)?;
        Some(number * 64 + digit as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_npm_package_writes() {
        assert_eq!(encode(0), "0");
        assert_eq!(encode(63), "_");
        assert_eq!(encode(64), "10");
        assert_eq!(decode("Q82egbh").map(encode).unwrap(), "Q82egbh");
    }

    #[tokio::test(start_paused = true)]
    async fn offsets_of_one_millisecond_are_numbered_and_grow() {
        let mut yeast = Yeast::new();
        let offsets: Vec<_> = (0..3).map(|_| yeast.next()).collect();
        assert!(offsets.is_sorted() && offsets[0] != offsets[1]);
        assert_eq!(offsets[1].as_str(), format!("{}.0", offsets[0]));
        assert_eq!(offsets[2].as_str(), format!("{}.1", offsets[0]));
        for offset in &offsets {
            assert_eq!(position(offset.as_str()), Some(offset.position()));
        }
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        assert_eq!(yeast.next().position(), (offsets[0].position().0 + 1, 0));
    }

    #[test]
    fn strange_offsets_are_none() {
        for text in ["", ".", "a.", ".a", "é", "a b", "0123456789a", "a.b.c"] {
            assert_eq!(position(text), None, "{text}");
        }
    }
}
