//! The requests of the clients, with the headers that a browser sends, and the check of the WebSocket's answer.

use std::net::SocketAddr;

use anyhow::{bail, ensure};

/// The key of RFC 6455's example, and its answer: a constant, so that the generator need not hash.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const LONGEST_RESPONSE: usize = 8 * 1024;

/// The request for a WebSocket with the 14 headers of a desktop browser, cookie included: about 900 bytes. With a
/// session's id it is to be upgraded.
pub(super) fn websocket(target: SocketAddr, session: &str) -> Vec<u8> {
    let sid = if session.is_empty() { String::new() } else { format!("&sid={session}") };
    format!(
        "GET /socket.io/?EIO=4&transport=websocket{sid} HTTP/1.1\r\n\
         Host: {target}\r\n\
         Connection: Upgrade\r\n\
         Pragma: no-cache\r\n\
         Cache-Control: no-cache\r\n\
         User-Agent: {AGENT}\r\n\
         Upgrade: websocket\r\n\
         Origin: http://{target}\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9,de;q=0.8,fr;q=0.7\r\n\
         DNT: 1\r\n\
         Cookie: {cookie}\r\n\
         Sec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
        cookie = cookie(),
    )
    .into_bytes()
}

/// A poll; the first has no session and opens one.
pub(super) fn poll(target: SocketAddr, session: &str) -> Vec<u8> {
    let sid = if session.is_empty() { String::new() } else { format!("&sid={session}") };
    format!("GET /socket.io/?EIO=4&transport=polling{sid} HTTP/1.1\r\n{}\r\n", fields(target)).into_bytes()
}

/// Packets to the server.
pub(super) fn post(target: SocketAddr, session: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={session} HTTP/1.1\r\n{}\
         Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        fields(target),
        body.len()
    )
    .into_bytes()
}

const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// What a browser sends with a poll.
fn fields(target: SocketAddr) -> String {
    format!(
        "Host: {target}\r\n\
         Connection: keep-alive\r\n\
         User-Agent: {AGENT}\r\n\
         Accept: */*\r\n\
         Origin: http://{target}\r\n\
         Referer: http://{target}/\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9,de;q=0.8,fr;q=0.7\r\n\
         DNT: 1\r\n\
         Cookie: {}\r\n",
        cookie()
    )
}

fn cookie() -> String {
    format!(
        "session={}; _ga=GA1.1.1234567890.1700000000; theme=dark; consent=analytics%3Dyes%26marketing%3Dno",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.".repeat(5)
    )
}

/// Adds what came to the response. When its head is complete and right: how many bytes of `input` follow it.
pub(super) fn check_response(response: &mut Vec<u8>, input: &[u8]) -> anyhow::Result<Option<usize>> {
    // The end may lie across the border of two reads.
    let from = response.len().saturating_sub(3);
    response.extend_from_slice(input);
    let Some(end) = response[from..].windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        ensure!(response.len() <= LONGEST_RESPONSE, "a response without end");
        return Ok(None);
    };
    let head = &response[..from + end + 4];
    if !head.starts_with(b"HTTP/1.1 101 ") || !head.windows(ACCEPT.len()).any(|bytes| bytes == ACCEPT) {
        bail!("not upgraded: {}", String::from_utf8_lossy(response));
    }
    Ok(Some(response.len() - head.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_sends_fourteen_headers() {
        let request = String::from_utf8(websocket("127.0.0.1:3000".parse().unwrap(), "")).unwrap();
        let headers = request.trim_end().lines().count() - 1;
        assert_eq!(headers, 14);
        assert!((800..1000).contains(&request.len()), "{}", request.len());
    }

    #[test]
    fn a_response_may_come_in_two_parts() {
        let mut whole = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ".to_vec();
        whole.extend_from_slice(ACCEPT);
        whole.extend_from_slice(b"\r\n\r\n");
        let head = whole.len();
        whole.extend_from_slice(b"\x81\x012");
        for cut in 1..whole.len() {
            let mut response = Vec::new();
            let rest = match check_response(&mut response, &whole[..cut]).unwrap() {
                Some(rest) => rest + whole.len() - cut,
                None => check_response(&mut response, &whole[cut..]).unwrap().unwrap(),
            };
            assert_eq!(rest, whole.len() - head, "cut at {cut}");
        }
    }
}
