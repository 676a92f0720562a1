//! The opening handshake: what a server checks before it answers 101, and both halves of a client's.
//!
//! The server's headers come from whatever HTTP library read them; the client's are written and read here, because
//! a client needs nothing else of HTTP.

use std::{collections::HashSet, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};

/// What the header `Sec-WebSocket-Version` of a refusal names when the version was wrong.
pub const VERSIONS: &str = "13, 8";

/// The longest head of a response that [`response`] reads, in bytes.
pub const MAX_RESPONSE: usize = 16 * 1024;

/// Checks a client's request. The answer is 101 with `Upgrade: websocket`, `Connection: Upgrade` and
/// `Sec-WebSocket-Accept` set to the returned key.
///
/// `headers` gives all values of a header by its lower-case name. Work is linear in their length.
///
/// # Errors
///
/// The first thing that is wrong, in the order of [`Error`]'s variants.
pub fn accept<'h, H, I>(method: &str, headers: H) -> Result<AcceptKey, Error>
where
    H: Fn(&'static str) -> I,
    I: Iterator<Item = &'h [u8]>,
{
    if method != "GET" {
        return Err(Error::Method);
    }
    let mut upgrades = headers("upgrade").peekable();
    if upgrades.peek().is_none() {
        return Err(Error::NoUpgrade);
    }
    if !has_token(upgrades, "websocket") {
        return Err(Error::OtherUpgrade);
    }
    if !has_token(headers("connection"), "upgrade") {
        return Err(Error::Connection);
    }
    let mut keys = headers("sec-websocket-key");
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => key,
        _ => return Err(Error::Key),
    };
    match headers("sec-websocket-version").next() {
        Some(b"13" | b"8") => Ok(AcceptKey::of(key)),
        _ => Err(Error::Version),
    }
}

/// Whether a request asks to leave HTTP, for whatever protocol; as Node's HTTP server sees it.
pub fn is_upgrade<'h, H, I>(headers: H) -> bool
where
    H: Fn(&'static str) -> I,
    I: Iterator<Item = &'h [u8]>,
{
    headers("upgrade").next().is_some() && has_token(headers("connection"), "upgrade")
}

/// The sub-protocol to agree on: the first that the client names, if it names any. Browsers take an answer without one
/// for a failure.
///
/// # Errors
///
/// [`Error::Protocol`]: a list with something else than names, or with a name twice.
pub fn subprotocol<'h, H, I>(headers: H) -> Result<Option<&'h [u8]>, Error>
where
    H: Fn(&'static str) -> I,
    I: Iterator<Item = &'h [u8]>,
{
    let mut names = HashSet::new();
    let mut first = None;
    for value in headers("sec-websocket-protocol") {
        for name in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() || !name.iter().all(is_name) || !names.insert(name) {
                return Err(Error::Protocol);
            }
            first.get_or_insert(name);
        }
    }
    Ok(first)
}

/// Why a request is no WebSocket handshake, in the words of Node's `ws`, which is what clients are told. Nothing here says anything about Engine.IO's own parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// The method is not GET: 405.
    #[error("Invalid HTTP method")]
    Method,
    /// There is no `Upgrade` header: no WebSocket request, or a proxy on the way removed it.
    #[error("Invalid Upgrade header")]
    NoUpgrade,
    /// The `Upgrade` header does not name `websocket`.
    #[error("Invalid Upgrade header")]
    OtherUpgrade,
    /// The `Connection` header does not name `upgrade`.
    #[error("the Connection header does not name upgrade")]
    Connection,
    /// `Sec-WebSocket-Key` is missing, repeated, or not 16 bytes of base64.
    #[error("Missing or invalid Sec-WebSocket-Key header")]
    Key,
    /// `Sec-WebSocket-Version` is neither 13 nor 8; the refusal names [`VERSIONS`].
    #[error("Missing or invalid Sec-WebSocket-Version header")]
    Version,
    /// `Sec-WebSocket-Protocol` is no list of names.
    #[error("Invalid Sec-WebSocket-Protocol header")]
    Protocol,
}

impl Error {
    /// The HTTP status of the refusal.
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            _ => 400,
        }
    }
}

/// The value of `Sec-WebSocket-Accept`: 28 ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AcceptKey([u8; 28]);

impl AcceptKey {
    /// The answer to a `Sec-WebSocket-Key`.
    fn of(key: &[u8]) -> Self {
        let mut sha1 = sha1_smol::Sha1::new();
        sha1.update(key);
        sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        Self(base64(&sha1.digest().bytes()))
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

impl fmt::Debug for AcceptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AcceptKey").field(&self.as_str()).finish()
    }
}

/// The value of a client's `Sec-WebSocket-Key`: 24 ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 24]);

impl Key {
    /// A key of 16 random bytes.
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(base64(&random))
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.as_str()).finish()
    }
}

/// Appends a client's request to `out`: `target` is the path and query, `host` the value of `Host`, `headers` are
/// further ones.
///
/// # Errors
///
/// A value holds a line break, another control character, or (in `target`, `host` or a name) a space.
/// Nothing is written then.
pub fn request(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    key: &Key,
    headers: &[(&str, &str)],
) -> Result<(), InvalidHeader> {
    let is_word = |word: &str| !word.is_empty() && !word.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
    let is_value = |value: &str| !value.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f);
    let is_header = |(name, value): &(&str, &str)| is_word(name) && !name.contains(':') && is_value(value);
    if !is_word(host) || !is_word(target) || !headers.iter().all(is_header) {
        return Err(InvalidHeader);
    }
    for part in ["GET ", target, " HTTP/1.1\r\nHost: ", host] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13");
    for (name, value) in [("Sec-WebSocket-Key", key.as_str())].iter().chain(headers) {
        for part in ["\r\n", name, ": ", value] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n\r\n");
    Ok(())
}

/// A request cannot be written because a value would end its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header holds characters that are not allowed there")]
pub struct InvalidHeader;

/// Checks the server's answer at the front of `input`; `None` when its head is not complete.
///
/// # Errors
///
/// The answer is not the 101 that belongs to `key`.
pub fn response<'a>(input: &'a [u8], key: &Key) -> Result<Option<Response<'a>>, ResponseError> {
    let window = &input[..input.len().min(MAX_RESPONSE)];
    let Some(end) = memchr::memmem::find(window, b"\r\n\r\n") else {
        return if input.len() < MAX_RESPONSE { Ok(None) } else { Err(ResponseError::TooLong) };
    };
    let head = &window[..end];
    let (line, headers) = match memchr::memmem::find(head, b"\r\n") {
        Some(at) => (&head[..at], &head[at + 2..]),
        None => (head, &head[end..]),
    };
    let status = status(line).ok_or(ResponseError::NotHttp)?;
    if status != 101 {
        return Err(ResponseError::Status(status));
    }
    let response = Response { len: end + 4, headers };
    if !has_token(response.header("upgrade"), "websocket") {
        return Err(ResponseError::Upgrade);
    }
    if !has_token(response.header("connection"), "upgrade") {
        return Err(ResponseError::Connection);
    }
    if response.header("sec-websocket-accept").next() != Some(&AcceptKey::of(&key.0).0) {
        return Err(ResponseError::Accept);
    }
    Ok(Some(response))
}

/// A server's 101.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// Bytes of the head: frames follow after them.
    pub len: usize,
    headers: &'a [u8],
}

impl<'a> Response<'a> {
    /// The values of a header, in order; `name` in any case.
    pub fn header(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.split(|&byte| byte == b'\n').filter_map(move |line| {
            let colon = memchr::memchr(b':', line)?;
            let (before, after) = line.split_at(colon);
            before.eq_ignore_ascii_case(name.as_bytes()).then(|| after[1..].trim_ascii())
        })
    }
}

/// Why a server's answer does not open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ResponseError {
    /// The head is longer than [`MAX_RESPONSE`].
    #[error("the response head is too long")]
    TooLong,
    /// The first line is not one of HTTP/1.
    #[error("the response is not HTTP/1")]
    NotHttp,
    /// Another status than 101.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// The `Upgrade` header does not name `websocket`.
    #[error("the response has no Upgrade header for websocket")]
    Upgrade,
    /// The `Connection` header does not name `upgrade`.
    #[error("the response has no Connection header for upgrade")]
    Connection,
    /// `Sec-WebSocket-Accept` does not answer our key.
    #[error("the response does not answer our key")]
    Accept,
}

/// True when one of the comma-separated lists has `token`, in any case.
fn has_token<'h>(values: impl Iterator<Item = &'h [u8]>, token: &str) -> bool {
    let is_token = |word: &[u8]| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes());
    values.into_iter().any(|value| value.split(|&byte| byte == b',').any(is_token))
}

/// True for what base64 makes of 16 bytes; the last character's unused bits are not looked at, as in `ws`.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key.split_first_chunk::<22>(), Some((digits, b"==")) if digits.iter().all(is_digit))
}

/// What a name consists of: a token of HTTP.
fn is_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// The status of a line such as `HTTP/1.1 101 Switching Protocols`.
fn status(line: &[u8]) -> Option<u16> {
    let (code, rest) =
        line.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?.split_first_chunk::<3>()?;
    if !(rest.is_empty() || rest.starts_with(b" ")) {
        return None;
    }
    code.iter().try_fold(0, |code, byte| byte.is_ascii_digit().then(|| code * 10 + u16::from(byte - b'0')))
}

/// Base64 of `bytes`, whose length makes exactly `N` characters.
fn base64<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [b'='; N];
    let written = STANDARD.encode_slice(bytes, &mut out);
    debug_assert_eq!(written.ok(), Some(N));
    out
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[(&str, &str)] = &[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn accept(method: &str, headers: &[(&str, &str)]) -> Result<AcceptKey, Error> {
        super::accept(method, |name| {
            headers.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.as_bytes())
        })
    }

    /// The request with one header changed, or removed.
    fn with(name: &str, value: Option<&str>) -> Result<AcceptKey, Error> {
        let mut headers: Vec<_> = REQUEST.iter().copied().filter(|(other, _)| *other != name).collect();
        headers.extend(value.map(|value| (name, value)));
        accept("GET", &headers)
    }

    #[test]
    fn accepts_the_request_of_the_rfc() {
        assert_eq!(accept("GET", REQUEST).unwrap().as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(with("sec-websocket-version", Some("8")).is_ok());
        let twice = [REQUEST, &[("connection", "close"), ("upgrade", "h2c")]].concat();
        assert!(accept("GET", &twice).is_ok());
    }

    #[test]
    fn says_which_header_is_wrong() {
        assert_eq!(accept("POST", REQUEST), Err(Error::Method));
        assert_eq!(with("upgrade", None), Err(Error::NoUpgrade));
        assert_eq!(with("upgrade", Some("h2c")), Err(Error::OtherUpgrade));
        assert_eq!(with("connection", None), Err(Error::Connection));
        assert_eq!(with("connection", Some("keep-alive")), Err(Error::Connection));
        for key in [None, Some(""), Some("dGhlIHNhbXBsZSBub25jZQ="), Some("dGhlIHNhbXBsZSBub25jZ!==")] {
            assert_eq!(with("sec-websocket-key", key), Err(Error::Key));
        }
        assert_eq!(accept("GET", &[REQUEST, &[REQUEST[2]]].concat()), Err(Error::Key));
        for version in [None, Some("7"), Some("13, 8")] {
            assert_eq!(with("sec-websocket-version", version), Err(Error::Version));
        }
        assert_eq!((Error::Method.status(), Error::NoUpgrade.status()), (405, 400));
    }

    #[test]
    fn takes_the_first_subprotocol() {
        let first =
            |lists: &'static [&'static str]| subprotocol(|_| lists.iter().map(|list| list.as_bytes()));
        assert_eq!(first(&[]), Ok(None));
        assert_eq!(first(&["chat"]), Ok(Some(&b"chat"[..])));
        assert_eq!(first(&[" chat ,\tv2", "v3"]), Ok(Some(&b"chat"[..])));
        for bad in [&[""][..], &["a,"], &["a,,b"], &["a b"], &["a,a"], &["a", "a"], &["a;b"]] {
            assert_eq!(first(bad), Err(Error::Protocol), "{bad:?}");
        }
    }

    #[test]
    fn knows_an_upgrade() {
        let asks = |fields: &'static [(&'static str, &'static str)]| {
            is_upgrade(|name| {
                fields.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.as_bytes())
            })
        };
        assert!(asks(REQUEST));
        assert!(asks(&[("upgrade", "h2c"), ("connection", "upgrade")]));
        assert!(!asks(&[("upgrade", "websocket"), ("connection", "keep-alive")]));
        assert!(!asks(&[("connection", "upgrade")]));
    }

    #[test]
    fn client_and_server_agree() {
        let key = Key::from_random(*b"the sample nonce");
        let mut out = Vec::new();
        request(&mut out, "localhost:3000", "/socket.io/?EIO=4", &key, &[("Origin", "http://x")]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "GET /socket.io/?EIO=4 HTTP/1.1\r\nHost: localhost:3000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://x\r\n\r\n"
        );
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-A: 1\r\nx-a:2\r\n\r\n\x81\x00";
        for cut in 0..answer.len() - 2 {
            assert!(response(&answer[..cut], &key).unwrap().is_none());
        }
        let response = response(answer, &key).unwrap().unwrap();
        assert_eq!(response.len, answer.len() - 2);
        assert!(response.header("X-a").eq([b"1", b"2"]));
    }

    #[test]
    fn a_client_checks_the_answer() {
        let key = Key::from_random([0; 16]);
        let check = |answer: &str| response(answer.as_bytes(), &key).unwrap_err();
        assert_eq!(check("HTTP/1.1 400 Bad Request\r\n\r\n"), ResponseError::Status(400));
        assert_eq!(check("HTTP/1.1 503\r\n\r\n"), ResponseError::Status(503));
        assert_eq!(check("SSH-2.0\r\n\r\n"), ResponseError::NotHttp);
        assert_eq!(check("HTTP/1.1 1012 x\r\n\r\n"), ResponseError::NotHttp);
        assert_eq!(check("\r\n\r\n"), ResponseError::NotHttp);
        assert_eq!(check("HTTP/1.1 101 x\r\n\r\n"), ResponseError::Upgrade);
        assert_eq!(check("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n"), ResponseError::Connection);
        let wrong =
            "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
        assert_eq!(check(wrong), ResponseError::Accept);
        assert_eq!(check(&"x".repeat(MAX_RESPONSE)), ResponseError::TooLong);
    }

    #[test]
    fn a_request_cannot_be_split() {
        let key = Key::from_random([0; 16]);
        let mut out = Vec::new();
        for (host, target, header) in [
            ("a\r\nb", "/", ("a", "b")),
            ("a", "/ HTTP/1.1\r\n", ("a", "b")),
            ("a", "/", ("a", "b\r\nc: d")),
            ("a", "/", ("a:", "b")),
            ("a", "/", ("", "b")),
        ] {
            assert_eq!(request(&mut out, host, target, &key, &[header]), Err(InvalidHeader));
        }
        assert!(out.is_empty());
    }
}
