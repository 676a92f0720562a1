//! The browser client, for pages that load `/socket.io/socket.io.js` from the server they talk to.
//!
//! Read once from a folder that the user names, since Patio does not carry the official client; the service asks
//! [`ServeClient::respond`] before it takes a request for Engine.IO. As in Node, CORS headers belong on it too.

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::compression::{self, Encoding};

/// What the npm packages `socket.io` (in `client-dist`) and `socket.io-client` (in `dist`) have for browsers. Only
/// these names are looked for, so no request can name another file.
const NAMES: [&str; 10] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.js",
    "socket.io.esm.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// The official browser client, served below the server's path (`serveClient` in Socket.IO's options).
///
/// The files are `socket.io.js`, `socket.io.min.js`, `socket.io.esm.min.js`, `socket.io.msgpack.min.js` and their
/// `.map`, out of `node_modules/socket.io/client-dist` or `node_modules/socket.io-client/dist`. They are sent with
/// `Cache-Control: public, max-age=0` and the client's version as `ETag`, compressed if the browser wishes.
#[derive(Clone)]
pub struct ServeClient {
    files: Arc<[File]>,
}

struct File {
    name: &'static str,
    etag: HeaderValue,
    body: Bytes,
    /// Compressed at the first request that wants it.
    gzip: OnceLock<Bytes>,
    deflate: OnceLock<Bytes>,
}

impl ServeClient {
    /// Reads the client's files in `folder`, all that are there. This blocks: call it at startup.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or none is there ([`io::ErrorKind::NotFound`]).
    pub fn from_folder(folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = folder.as_ref();
        let mut found = Vec::new();
        for name in NAMES {
            match fs::read(folder.join(name)) {
                Ok(body) => found.push((name, Bytes::from(body))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if found.is_empty() {
            let message = format!("no Socket.IO client in {}", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        // Source maps do not say their version.
        let version = found.iter().find_map(|(_, body)| version(body));
        let files = found.into_iter().map(|(name, body)| File::new(name, body, version.as_deref())).collect();
        Ok(Self { files })
    }

    /// The response to a request for `name`, what follows the server's path and a slash. `None` if it is not one of
    /// the client's files.
    pub(crate) fn respond(
        &self,
        name: &str,
        method: &Method,
        request: &HeaderMap,
    ) -> Option<Response<Bytes>> {
        let file = self.files.iter().find(|file| file.name == name)?;
        let mut response = Response::new(Bytes::new());
        if !matches!(*method, Method::GET | Method::HEAD) {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(header::ETAG, file.etag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if file.is_known_to(request) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Some(response);
        }
        headers.insert(header::CONTENT_TYPE, file.content_type());
        let (encoding, body) = file.body_for(request);
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, encoding.header_value());
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if *method == Method::GET {
            *response.body_mut() = body;
        }
        Some(response)
    }
}

impl fmt::Debug for ServeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServeClient")?;
        f.debug_map().entries(self.files.iter().map(|file| (file.name, &file.etag))).finish()
    }
}

impl File {
    fn new(name: &'static str, body: Bytes, version: Option<&str>) -> Self {
        let tag = version.and_then(|version| HeaderValue::try_from(format!("\"{version}\"")).ok());
        let etag = tag.unwrap_or_else(|| {
            let mut hasher = DefaultHasher::new();
            body.hash(&mut hasher);
            // Hexadecimal digits in quotes are a header's value for certain.
            HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish()))
                .unwrap_or(HeaderValue::from_static("\"\""))
        });
        Self { name, etag, body, gzip: OnceLock::new(), deflate: OnceLock::new() }
    }

    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.name.ends_with(".map") {
            true => "application/json; charset=utf-8",
            false => "application/javascript; charset=utf-8",
        })
    }

    /// Whether one of the tags in `If-None-Match`, weak or strong, is this file's.
    fn is_known_to(&self, request: &HeaderMap) -> bool {
        let lines = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
        let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
        tags.any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }

    fn body_for(&self, request: &HeaderMap) -> (Option<Encoding>, Bytes) {
        let accept = request.get(header::ACCEPT_ENCODING).and_then(|accept| accept.to_str().ok());
        let Some(encoding) = accept.and_then(compression::negotiate) else {
            return (None, self.body.clone());
        };
        let encoded = match encoding {
            Encoding::Gzip => &self.gzip,
            Encoding::Deflate => &self.deflate,
        };
        let encode = || compression::encode(&self.body, encoding).unwrap_or_default().into();
        (Some(encoding), encoded.get_or_init(encode).clone())
    }
}

/// The version in the comment at the top of a bundle: `Socket.IO v4.8.4`.
fn version(bundle: &[u8]) -> Option<String> {
    const BEFORE: &[u8] = b"Socket.IO v";
    let top = &bundle[..bundle.len().min(200)];
    let start = top.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b".-+".contains(byte);
    let version: String =
        top[start..].iter().copied().take_while(|byte| is_part(byte)).map(char::from).collect();
    (!version.is_empty()).then_some(version)
}

#[cfg(test)]
mod tests {
    use std::{io::Read, path::PathBuf};

    use super::*;

    const BUNDLE: &str = "/*!\n * Socket.IO v4.8.4\n * (c) someone\n */\nvar io = 1;\n";

    /// A folder that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str, files: &[(&str, &str)]) -> Self {
            let path = std::env::temp_dir().join(format!("patio-client-{}-{test}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            for (name, text) in files {
                fs::write(path.join(name), text).unwrap();
            }
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn get(client: &ServeClient, name: &str, request: &[(header::HeaderName, &str)]) -> Response<Bytes> {
        let request = request.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        client.respond(name, &Method::GET, &request).unwrap()
    }

    #[test]
    fn serves_the_files_that_are_there_and_no_others() {
        let folder = Folder::new(
            "names",
            &[
                ("socket.io.js", BUNDLE),
                ("socket.io.js.map", "{}"),
                ("secret.js", "x"),
                ("package.json", "{}"),
            ],
        );
        let client = ServeClient::from_folder(&folder.0).unwrap();
        let response = get(&client, "socket.io.js", &[]);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.body(), BUNDLE);
        assert_eq!(response.headers()["cache-control"], "public, max-age=0");
        assert_eq!(response.headers()["content-type"], "application/javascript; charset=utf-8");
        assert_eq!(response.headers()["content-length"], BUNDLE.len().to_string());
        assert_eq!(response.headers()["etag"], "\"4.8.4\"");

        let map = get(&client, "socket.io.js.map", &[]);
        assert_eq!(map.headers()["content-type"], "application/json; charset=utf-8");
        assert_eq!(map.headers()["etag"], "\"4.8.4\"");

        for name in ["", "secret.js", "socket.io.min.js", "../socket.io.js", "./socket.io.js", "SOCKET.IO.JS"]
        {
            assert!(client.respond(name, &Method::GET, &HeaderMap::new()).is_none(), "{name}");
        }
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let folder = Folder::new("etag", &[("socket.io.min.js", BUNDLE)]);
        let client = ServeClient::from_folder(&folder.0).unwrap();
        for tag in ["\"4.8.4\"", "W/\"4.8.4\"", "\"1\", W/\"4.8.4\""] {
            let response = get(&client, "socket.io.min.js", &[(header::IF_NONE_MATCH, tag)]);
            assert_eq!((response.status(), response.body().len()), (StatusCode::NOT_MODIFIED, 0), "{tag}");
        }
        for tag in ["\"4.8.3\"", "4.8.4", ""] {
            let response = get(&client, "socket.io.min.js", &[(header::IF_NONE_MATCH, tag)]);
            assert_eq!(response.status(), StatusCode::OK, "{tag}");
        }
    }

    #[test]
    fn without_a_version_the_content_counts() {
        let folder = Folder::new("hash", &[("socket.io.js", "a"), ("socket.io.min.js", "b")]);
        let client = ServeClient::from_folder(&folder.0).unwrap();
        let etag = |name| get(&client, name, &[]).headers()["etag"].clone();
        assert_eq!(etag("socket.io.js").len(), 18);
        assert_eq!(etag("socket.io.js"), etag("socket.io.js"));
        assert_ne!(etag("socket.io.js"), etag("socket.io.min.js"));
    }

    #[test]
    fn compresses_if_the_browser_wishes() {
        let folder = Folder::new("gzip", &[("socket.io.js", &BUNDLE.repeat(50))]);
        let client = ServeClient::from_folder(&folder.0).unwrap();
        let response = get(&client, "socket.io.js", &[(header::ACCEPT_ENCODING, "gzip, deflate, br, zstd")]);
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.headers()["content-length"], response.body().len().to_string());
        let mut read = String::new();
        flate2::read::GzDecoder::new(&response.body()[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, BUNDLE.repeat(50));

        let again = get(&client, "socket.io.js", &[(header::ACCEPT_ENCODING, "gzip")]);
        assert_eq!(again.body().as_ptr(), response.body().as_ptr());
    }

    #[test]
    fn only_reads() {
        let folder = Folder::new("methods", &[("socket.io.js", BUNDLE)]);
        let client = ServeClient::from_folder(&folder.0).unwrap();
        let head = client.respond("socket.io.js", &Method::HEAD, &HeaderMap::new()).unwrap();
        assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
        assert_eq!(head.headers()["content-length"], BUNDLE.len().to_string());
        let post = client.respond("socket.io.js", &Method::POST, &HeaderMap::new()).unwrap();
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_folder_without_a_client_is_an_error() {
        let folder = Folder::new("none", &[("index.html", "")]);
        assert_eq!(ServeClient::from_folder(&folder.0).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(
            ServeClient::from_folder(folder.0.join("absent")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
