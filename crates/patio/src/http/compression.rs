//! Compression of polling responses (`httpCompression` in Socket.IO's options).
//!
//! The polling transport hands in a payload whose packets may be compressed, with the request's `Accept-Encoding`;
//! a compressor lives only for the call, since each one holds about 300 kB.

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::HeaderValue;

/// Payloads below this many bytes are not worth it (`httpCompression.threshold`).
pub(crate) const DEFAULT_THRESHOLD: usize = 1024;

/// The value of `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    /// With zlib's header and checksum, as HTTP means it.
    Deflate,
}

impl Encoding {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    pub(crate) fn header_value(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }
}

/// Compresses `body` if it has at least `threshold` bytes and the client accepts gzip or deflate.
pub(crate) fn compress(
    body: &[u8],
    accept: Option<&HeaderValue>,
    threshold: usize,
) -> Option<(Encoding, Vec<u8>)> {
    if body.len() < threshold {
        return None;
    }
    let encoding = negotiate(accept?.to_str().ok()?)?;
    Some((encoding, encode(body, encoding)?))
}

/// Compresses `body` at zlib's default level, as Node does. `None` does not happen: memory takes every write.
pub(crate) fn encode(body: &[u8], encoding: Encoding) -> Option<Vec<u8>> {
    let out = Vec::with_capacity(body.len() / 4);
    match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::default());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(out, Compression::default());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()
        }
    }
}

/// The encoding that npm's `accepts` picks out of gzip and deflate: the higher `q`, then the one that is named (over
/// `*`), then the one that the client names first.
pub(crate) fn negotiate(accept: &str) -> Option<Encoding> {
    let gzip = preference(accept, Encoding::Gzip);
    let deflate = preference(accept, Encoding::Deflate);
    match (gzip, deflate) {
        (Some(gzip), Some(deflate)) if deflate.beats(&gzip) => Some(Encoding::Deflate),
        (Some(_), _) => Some(Encoding::Gzip),
        (None, Some(_)) => Some(Encoding::Deflate),
        (None, None) => None,
    }
}

/// How much a client wants an encoding.
struct Preference {
    /// Above 0.
    quality: f32,
    /// By its name, not by `*`.
    named: bool,
    position: usize,
}

impl Preference {
    /// Whether this one is better; of two equal ones (both by one `*`) neither is.
    fn beats(&self, other: &Self) -> bool {
        if self.quality != other.quality {
            return self.quality > other.quality;
        }
        if self.named != other.named {
            return self.named;
        }
        self.position < other.position
    }
}

/// What `accept` says about `encoding`: by name if it is named, else by `*`. `None` if it is refused or not mentioned.
fn preference(accept: &str, encoding: Encoding) -> Option<Preference> {
    let mut best: Option<Preference> = None;
    for (position, (name, quality)) in accept.split(',').filter_map(parse).enumerate() {
        let named = name.eq_ignore_ascii_case(encoding.as_str());
        if !named && name != "*" {
            continue;
        }
        if best.as_ref().is_none_or(|b| (named, quality) >= (b.named, b.quality)) {
            best = Some(Preference { quality, named, position });
        }
    }
    best.filter(|best| best.quality > 0.0)
}

/// The name and the quality of one item such as `gzip;q=0.5`.
fn parse(item: &str) -> Option<(&str, f32)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty() && !name.contains(char::is_whitespace))?;
    for parameter in parts {
        if let Some(quality) = parameter.strip_prefix("q=") {
            return Some((name, number(quality)));
        }
        if parameter == "q" {
            return Some((name, 0.0));
        }
    }
    Some((name, 1.0))
}

/// The number at the start of `text`, as JavaScript's `parseFloat` reads it; 0 if there is none.
fn number(text: &str) -> f32 {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    text[..end].parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn chooses_as_node_does() {
        const NO: Option<Encoding> = None;
        const GZIP: Option<Encoding> = Some(Encoding::Gzip);
        const DEFLATE: Option<Encoding> = Some(Encoding::Deflate);
        // Printed by npm's accepts 1.3 with negotiator 0.6.3.
        let cases = [
            ("gzip", GZIP),
            ("deflate, gzip", DEFLATE),
            ("gzip, deflate", GZIP),
            ("gzip, deflate, br, zstd", GZIP),
            ("gzip;q=0.5, deflate", DEFLATE),
            ("gzip;q=0", NO),
            ("*", GZIP),
            ("*;q=0", NO),
            ("gzip;q=0, *", DEFLATE),
            ("identity", NO),
            ("br", NO),
            ("GZIP", GZIP),
            ("deflate;q=0.5,gzip;q=0.5", DEFLATE),
            ("", NO),
            ("*, deflate", DEFLATE),
            ("deflate;q=0.5, *", GZIP),
            ("gzip ; q=0.3 , deflate; q=0.30", GZIP),
            ("gzip;Q=0", GZIP),
            ("gzip;q=abc", NO),
            ("gzip;q=2, deflate", GZIP),
            ("gzip;q=-1", NO),
            ("gzip;level=1;q=0", NO),
            ("gzip;q=\"0\"", NO),
            ("gzip;q= 0", NO),
            ("gzip;q=0x, deflate;q=.5", DEFLATE),
            ("gzip deflate", NO),
            ("identity;q=1, gzip;q=0.5", GZIP),
            ("x-gzip", NO),
            (";q=1", NO),
            ("gzip;q=0, gzip", GZIP),
            ("gzip;q=", NO),
            ("deflate;q=0.9, gzip;q", DEFLATE),
            ("gzip;q =0, deflate;q=0.1", GZIP),
            ("deflate, deflate;q=0, gzip", DEFLATE),
            ("deflate, gzip, *;q=0.1", DEFLATE),
            ("*;q=1, gzip;q=0.1", DEFLATE),
        ];
        for (accept, expected) in cases {
            assert_eq!(negotiate(accept), expected, "{accept}");
        }
    }

    #[test]
    fn small_bodies_and_clients_that_did_not_ask_get_it_as_it_is() {
        let gzip = HeaderValue::from_static("gzip");
        assert!(compress(&[b'a'; 1023], Some(&gzip), DEFAULT_THRESHOLD).is_none());
        assert!(compress(&[b'a'; 1024], Some(&gzip), DEFAULT_THRESHOLD).is_some());
        assert!(compress(&[b'a'; 1024], None, DEFAULT_THRESHOLD).is_none());
        assert!(compress(b"", Some(&gzip), 0).is_some());
    }

    #[test]
    fn both_encodings_can_be_read_back() {
        let body: Vec<u8> = (0..5000u32).flat_map(|n| (n % 300).to_string().into_bytes()).collect();

        let (encoding, bytes) = compress(&body, Some(&HeaderValue::from_static("gzip")), 0).unwrap();
        assert_eq!((encoding, encoding.header_value()), (Encoding::Gzip, HeaderValue::from_static("gzip")));
        let mut read = Vec::new();
        flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut read).unwrap();
        assert!(read == body && bytes.len() < body.len() / 2);

        let (encoding, bytes) = compress(&body, Some(&HeaderValue::from_static("deflate, gzip")), 0).unwrap();
        assert_eq!(encoding.as_str(), "deflate");
        assert_eq!(bytes[..2], [0x78, 0x9c]);
        read.clear();
        flate2::read::ZlibDecoder::new(&*bytes).read_to_end(&mut read).unwrap();
        assert_eq!(read, body);
    }
}
