//! The query string of a request, as Node reads it.
//!
//! [`last`] answers the few questions of every request (`sid`, `transport`…) from the raw text. [`Query`] is the
//! decoded copy that a handshake keeps, `handshake.query` in Socket.IO.

use std::{borrow::Cow, fmt};

use indexmap::IndexMap;
use percent_encoding::percent_decode_str;

use super::pairs::{self, Dictionary, Pairs};

/// Parameters beyond this number are not read (the limit of Node's `querystring`).
const MAX_PARAMETERS: usize = 1000;

/// What official clients send.
const USUAL: Dictionary = &["EIO", "transport", "t", "sid", "b64", "j", "token"];

/// The value of parameter `name` in the raw query `raw` (without `?`), decoded. Of several the last one counts.
pub(crate) fn last<'a>(raw: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let (_, value) = parameters(raw).filter(|(key, _)| decode(key) == name).last()?;
    Some(decode(value))
}

/// Decoded query parameters in one small allocation (`handshake.query` in Socket.IO).
///
/// Percent escapes are decoded as UTF-8, malformed UTF-8 becomes U+FFFD, malformed escapes stay as they are, `+` is a
/// space. Of parameters with the same name the last one counts. Only the first 1,000 are read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Pairs,
}

impl Query {
    /// Reads the raw query of a URL, without its `?`.
    pub fn parse(raw: &str) -> Self {
        // A map, because comparing each name with all others would be quadratic in what a peer sends.
        let mut unique = IndexMap::new();
        for (name, value) in parameters(raw) {
            unique.insert(decode(name), decode(value));
        }
        Self { pairs: Pairs::collect(USUAL, unique.iter().map(|(name, value)| (&**name, value.as_bytes()))) }
    }

    /// The value of the parameter `name`; the empty string if it has none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All parameters, in the order in which their names first appeared.
    pub fn iter(&self) -> Iter<'_> {
        Iter { pairs: self.pairs.iter(USUAL) }
    }

    /// The number of parameters.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// Prints names only: values may hold tokens.
impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Query")?;
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl<'a> IntoIterator for &'a Query {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterator over the name and value of each parameter, from [`Query::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    pairs: pairs::Iter<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.pairs.next()?;
        Some((name, std::str::from_utf8(value).unwrap_or_default()))
    }
}

/// The raw names and values: `a=1&b` is `("a", "1"), ("b", "")`; empty pieces are skipped.
fn parameters(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    let pieces = raw.split('&').filter(|piece| !piece.is_empty()).take(MAX_PARAMETERS);
    pieces.map(|piece| piece.split_once('=').unwrap_or((piece, "")))
}

fn decode(raw: &str) -> Cow<'_, str> {
    if raw.contains('+') {
        Cow::Owned(percent_decode_str(&raw.replace('+', " ")).decode_utf8_lossy().into_owned())
    } else {
        percent_decode_str(raw).decode_utf8_lossy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_node_reads() {
        // The expected values were printed by `new URL(…).searchParams` in Node 20.
        let raw = "EIO=4&transport=polling&a=1&a=2&b=x+y%20z&c=%ff%e4%b8&d=%zz%4&e&=f&&g=h=i&%61b=%C3%A9";
        let query = Query::parse(raw);
        let expected = [
            ("EIO", "4"),
            ("transport", "polling"),
            ("a", "2"),
            ("b", "x y z"),
            ("c", "\u{fffd}\u{fffd}"),
            ("d", "%zz%4"),
            ("e", ""),
            ("", "f"),
            ("g", "h=i"),
            ("ab", "é"),
        ];
        assert_eq!(query.iter().collect::<Vec<_>>(), expected);
        assert_eq!(query.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(query.get(name), Some(value));
            assert_eq!(last(raw, name).as_deref(), Some(value));
        }
        assert_eq!(query.get("absent"), None);
        assert_eq!(last(raw, "absent"), None);
    }

    #[test]
    fn an_empty_query_is_empty() {
        assert!(Query::parse("").is_empty());
        assert!(Query::parse("&&").is_empty());
        assert_eq!(Query::parse(""), Query::default());
    }

    #[test]
    fn names_from_javascript_prototypes_are_only_names() {
        assert_eq!(last("a=1", "__proto__"), None);
        assert_eq!(last("__proto__=1", "__proto__").as_deref(), Some("1"));
    }

    #[test]
    fn parameters_beyond_the_limit_are_not_read() {
        let raw: String = (0..5000).map(|n| format!("{n}=v&")).collect();
        let query = Query::parse(&raw);
        assert_eq!(query.len(), MAX_PARAMETERS);
        assert_eq!(query.get("999"), Some("v"));
        assert_eq!(query.get("1000"), None);
        assert_eq!(last(&raw, "1000"), None);
    }

    #[test]
    fn a_plain_parameter_is_not_copied() {
        assert!(matches!(last("sid=abc", "sid"), Some(Cow::Borrowed("abc"))));
    }

    #[test]
    fn keeps_a_handshake_small_and_secret() {
        let query = Query::parse("EIO=4&transport=websocket&token=secret");
        assert_eq!(query.pairs.heap_size(), 3 * 2 + "4websocketsecret".len());
        assert_eq!(format!("{query:?}"), r#"Query{"EIO", "transport", "token"}"#);
    }
}
