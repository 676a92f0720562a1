//! The page: its files, which are part of the binary, and how they go out over HTTP.
//!
//! The files live in `../page`. They have no version in their names, so a browser keeps them and asks each time
//! whether they are still the same (`ETag`, 304). They load nothing from elsewhere and run no inline script; the
//! content security policy says so.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::LazyLock,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
};

/// `'self'` includes the WebSocket of the same host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

static FILES: LazyLock<[File; 5]> = LazyLock::new(|| {
    [
        File::new("/", HTML, include_bytes!("../page/index.html")),
        File::new("/style.css", CSS, include_bytes!("../page/style.css")),
        File::new("/app.js", SCRIPT, include_bytes!("../page/app.js")),
        File::new("/socket.js", SCRIPT, include_bytes!("../page/socket.js")),
        File::new("/icon.svg", SVG, include_bytes!("../page/icon.svg")),
    ]
});

static NOT_FOUND: &[u8] = include_bytes!("../page/404.html");

/// Answers every path that no other part of the server has taken.
pub(crate) fn router() -> Router {
    Router::new()
        .fallback(async |request: Request| answer(request.method(), request.uri().path(), request.headers()))
}

/// One embedded file.
struct File {
    path: &'static str,
    kind: &'static str,
    body: &'static [u8],
    etag: HeaderValue,
}

impl File {
    fn new(path: &'static str, kind: &'static str, body: &'static [u8]) -> Self {
        // Not a defence against anything: two builds with different files must differ, and DefaultHasher::new has
        // fixed keys, so two servers of one build agree.
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let etag =
            HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish())).expect("hexadecimal digits");
        Self { path, kind, body, etag }
    }
}

fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
    let head_only = match *method {
        Method::GET => false,
        Method::HEAD => true,
        _ => {
            let mut response =
                respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", b"GET or HEAD\n", false);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
    };
    let Some(file) = FILES.iter().find(|file| file.path == path) else {
        return respond(StatusCode::NOT_FOUND, HTML, NOT_FOUND, head_only);
    };
    let mut response = if is_known(headers, &file.etag) {
        let mut response = respond(StatusCode::NOT_MODIFIED, file.kind, b"", true);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response
    } else {
        respond(StatusCode::OK, file.kind, file.body, head_only)
    };
    response.headers_mut().insert(header::ETAG, file.etag.clone());
    response
}

fn respond(status: StatusCode, kind: &'static str, body: &'static [u8], head_only: bool) -> Response<Body> {
    let mut response = Response::new(if head_only { Body::empty() } else { Body::from(body) });
    *response.status_mut() = status;
    let fields = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    response.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    response
}

/// Whether the browser holds this very file: `If-None-Match` is a list, compared weakly (RFC 9110, 13.1.2).
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|list| list.split(',')).map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.as_bytes() == etag.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Response<Body> {
        answer(&Method::GET, path, &HeaderMap::new())
    }

    async fn body(response: Response<Body>) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn files_go_out_with_their_type_and_policy() {
        for (path, kind) in [("/", HTML), ("/app.js", SCRIPT), ("/style.css", CSS), ("/icon.svg", SVG)] {
            let response = get(path);
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], kind);
            assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            let length =
                response.headers()[header::CONTENT_LENGTH].to_str().unwrap().parse::<usize>().unwrap();
            assert_eq!(body(response).await.len(), length);
        }
    }

    #[tokio::test]
    async fn a_known_file_is_not_sent_again() {
        let etag = get("/app.js").headers()[header::ETAG].clone();
        for known in [etag.to_str().unwrap(), &format!("\"other\", W/{}", etag.to_str().unwrap()), "*"] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().unwrap())]);
            let response = answer(&Method::GET, "/app.js", &headers);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(response.headers()[header::ETAG], etag);
            assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
            assert!(body(response).await.is_empty());
        }
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, "\"other\"".parse().unwrap())]);
        assert_eq!(answer(&Method::GET, "/app.js", &headers).status(), StatusCode::OK);
        assert_ne!(get("/style.css").headers()[header::ETAG], etag);
    }

    #[tokio::test]
    async fn head_is_get_without_the_body() {
        let response = answer(&Method::HEAD, "/", &HeaderMap::new());
        assert_eq!(response.headers(), get("/").headers());
        assert!(body(response).await.is_empty());
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let response = get("/nowhere/at/all");
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], HTML);
        assert_eq!(body(response).await, NOT_FOUND);
        let response = answer(&Method::POST, "/", &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
    }

    /// The policy forbids inline scripts and styles and other hosts: the files must live with that.
    #[test]
    fn the_page_keeps_its_own_policy() {
        for file in FILES.iter().map(|file| file.body).chain([NOT_FOUND]) {
            let text = std::str::from_utf8(file).unwrap();
            for forbidden in
                [" style=", " onclick=", " onload=", "<style", "<script>", "innerHTML", "insertAdjacentHTML"]
            {
                assert!(!text.contains(forbidden), "{forbidden}");
            }
            let outside = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains("http://") && !outside.contains("https://"));
        }
    }
}
