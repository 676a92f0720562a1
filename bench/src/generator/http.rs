//! Answers of HTTP/1.1 with a length, as servers give them to polls.

use std::ops::Range;

use anyhow::{Context, bail, ensure};

const LONGEST: usize = 64 * 1024;

/// Where the body of the first answer lies in `input`, when it is complete. Its end is the end of the answer.
pub(super) fn body(input: &[u8]) -> anyhow::Result<Option<Range<usize>>> {
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        ensure!(input.len() <= LONGEST, "an answer without end");
        return Ok(None);
    };
    let head = std::str::from_utf8(&input[..end]).context("a head that is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let body = end + 4..end + 4 + length.context("an answer without a length")?.context("its length")?;
    ensure!(body.len() <= LONGEST, "an answer of {} bytes", body.len());
    let Some(text) = input.get(body.clone()) else { return Ok(None) };
    if !status.starts_with("HTTP/1.1 200 ") {
        bail!("refused: {status}: {}", String::from_utf8_lossy(text));
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_come_in_parts() {
        let answer = b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-length: 2\r\n\r\nokHTTP/1.1";
        let whole = answer.len() - "HTTP/1.1".len();
        for cut in 0..whole {
            assert_eq!(body(&answer[..cut]).unwrap(), None, "cut at {cut}");
        }
        assert_eq!(body(answer).unwrap(), Some(whole - 2..whole));
    }

    #[test]
    fn a_refusal_is_an_error() {
        assert!(body(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1\r\n\r\nx").is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "no length");
    }
}
