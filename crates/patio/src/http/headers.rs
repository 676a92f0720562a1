//! The headers that a handshake leaves behind, for as long as its connection lives.
//!
//! Copied out of the request's `HeaderMap`, which must not be kept: its values pin hyper's read buffer of 8 KiB.

use std::{borrow::Cow, fmt, iter};

use http::{HeaderMap, HeaderName, header};

use super::pairs::{self, Dictionary, Pairs};

/// What browsers, proxies and the official clients send.
const USUAL: Dictionary = &[
    "host",
    "connection",
    "user-agent",
    "accept",
    "accept-encoding",
    "accept-language",
    "cookie",
    "origin",
    "referer",
    "authorization",
    "cache-control",
    "pragma",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-storage-access",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-gpc",
    "dnt",
    "priority",
    "te",
    "content-type",
    "content-length",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
    "x-request-id",
    "x-amzn-trace-id",
    "forwarded",
    "via",
    "traceparent",
    "tracestate",
    "cdn-loop",
    "cf-connecting-ip",
    "cf-ipcountry",
    "cf-ray",
    "cf-visitor",
];

/// Request headers in one small allocation (`handshake.headers` in Socket.IO).
///
/// Names are lower-case and unique. As in Node, repeated headers are joined with `, ` (cookies with `; `), except for
/// those that make no sense twice, of which the first counts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CompactHeaders {
    pairs: Pairs,
}

impl CompactHeaders {
    /// The value of header `name`, in any case. `None` if it is absent or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get_bytes(name)?).ok()
    }

    /// The raw value of header `name`, in any case.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.iter().find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }

    /// All headers: lower-case name and raw value.
    pub fn iter(&self) -> Iter<'_> {
        Iter { pairs: self.pairs.iter(USUAL) }
    }

    /// The number of headers.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl From<&HeaderMap> for CompactHeaders {
    fn from(map: &HeaderMap) -> Self {
        Self { pairs: Pairs::collect(USUAL, map.keys().map(|name| (name.as_str(), joined(map, name)))) }
    }
}

/// Prints names only: values hold cookies and tokens.
impl fmt::Debug for CompactHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompactHeaders")?;
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl<'a> IntoIterator for &'a CompactHeaders {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterator over the name and raw value of each header, from [`CompactHeaders::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    pairs: pairs::Iter<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.pairs.next()
    }
}

/// All values of `name` as Node's `req.headers` shows them.
fn joined<'a>(map: &'a HeaderMap, name: &HeaderName) -> Cow<'a, [u8]> {
    let mut values = map.get_all(name).iter();
    let first = values.next().map(|value| value.as_bytes()).unwrap_or_default();
    if values.size_hint() == (0, Some(0)) || only_first_counts(name) {
        return first.into();
    }
    let separator: &[u8] = if *name == header::COOKIE { b"; " } else { b", " };
    let rest = values.flat_map(|value| [separator, value.as_bytes()]);
    iter::once(first).chain(rest).flatten().copied().collect::<Vec<u8>>().into()
}

fn only_first_counts(name: &HeaderName) -> bool {
    const SINGLE: [HeaderName; 17] = [
        header::AGE,
        header::AUTHORIZATION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::ETAG,
        header::EXPIRES,
        header::FROM,
        header::HOST,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::LAST_MODIFIED,
        header::LOCATION,
        header::MAX_FORWARDS,
        header::PROXY_AUTHORIZATION,
        header::REFERER,
        header::RETRY_AFTER,
        header::USER_AGENT,
    ];
    SINGLE.contains(name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(entries: &[(&'static str, &'static str)]) -> HeaderMap {
        let entry =
            |(n, v): &(&'static str, &'static str)| (HeaderName::from_static(n), HeaderValue::from_static(v));
        let mut map = HeaderMap::new();
        for (name, value) in entries.iter().map(entry) {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn finds_headers_in_any_case() {
        let headers = CompactHeaders::from(&map(&[("host", "a.example"), ("x-own", "1"), ("cookie", "")]));
        assert_eq!(headers.get("Host"), Some("a.example"));
        assert_eq!(headers.get("X-Own"), Some("1"));
        assert_eq!(headers.get("cookie"), Some(""));
        assert_eq!(headers.get("origin"), None);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers.iter().next(), Some(("host", b"a.example".as_slice())));
    }

    #[test]
    fn repeated_headers_are_joined_as_node_does() {
        let headers = CompactHeaders::from(&map(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("cookie", "a=1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("cookie", "b=2"),
            ("user-agent", "first"),
            ("user-agent", "second"),
        ]));
        assert_eq!(headers.get("x-forwarded-for"), Some("10.0.0.1, 10.0.0.2"));
        assert_eq!(headers.get("cookie"), Some("a=1; b=2"));
        assert_eq!(headers.get("user-agent"), Some("first"));
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn values_that_are_not_utf8_are_bytes() {
        let mut map = HeaderMap::new();
        map.insert("x-latin", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let headers = CompactHeaders::from(&map);
        assert_eq!(headers.get("x-latin"), None);
        assert_eq!(headers.get_bytes("x-latin"), Some(b"caf\xe9".as_slice()));
    }

    #[test]
    fn a_browsers_headers_cost_their_values_and_little_more() {
        let sent = [
            ("host", "chat.example.com"),
            ("connection", "Upgrade"),
            ("pragma", "no-cache"),
            ("cache-control", "no-cache"),
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140",
            ),
            ("upgrade", "websocket"),
            ("origin", "https://chat.example.com"),
            ("sec-websocket-version", "13"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("accept-language", "en-GB,en;q=0.9"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ];
        let headers = CompactHeaders::from(&map(&sent));
        let values: usize = sent.iter().map(|(_, value)| value.len()).sum();
        assert_eq!(headers.pairs.heap_size(), values + 2 * sent.len());
        assert_eq!(size_of::<CompactHeaders>(), 2 * size_of::<usize>());
    }

    #[test]
    fn usual_names_fit_one_byte() {
        assert!(USUAL.len() <= 64);
        assert!(USUAL.iter().all(|name| *name == name.to_ascii_lowercase()));
    }

    #[test]
    fn debug_shows_no_values() {
        let headers = CompactHeaders::from(&map(&[("authorization", "Bearer secret")]));
        assert_eq!(format!("{headers:?}"), r#"CompactHeaders{"authorization"}"#);
    }
}
