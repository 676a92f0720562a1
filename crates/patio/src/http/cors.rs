//! Cross-origin resource sharing, as the npm package `cors` does it for Node's Socket.IO.
//!
//! The service calls [`Cors::apply`] for every Engine.IO request before it looks at anything else, so that errors and
//! the 101 of a WebSocket carry the headers too. Without a [`Cors`] nothing is sent and browsers refuse other origins.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use thiserror::Error;

const ALL_METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");

/// Which web pages of other origins may connect (`cors` in Socket.IO's options).
///
/// There is no default: without a `Cors`, browsers let only pages of the server's own origin connect over polling.
/// WebSocket connections are not subject to CORS.
///
/// ```
/// use patio::Cors;
///
/// let cors = Cors::origin("https://app.example").credentials(true);
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    origin: Origin,
    methods: HeaderValue,
    /// `None` echoes what the preflight asks for.
    allowed_headers: Option<HeaderValue>,
    exposed_headers: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<u64>,
    options_success_status: StatusCode,
    invalid: Option<CorsError>,
}

/// A [`Cors`] option that cannot be sent as a header, found when the server is built.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CorsError {
    /// An origin has characters outside of visible ASCII. Write international names in Punycode.
    #[error("a CORS origin has characters that a header cannot hold")]
    Origin,
    /// A method has characters outside of visible ASCII.
    #[error("a CORS method has characters that a header cannot hold")]
    Methods,
    /// The name of an allowed header has characters outside of visible ASCII.
    #[error("an allowed CORS header has characters that a header cannot hold")]
    AllowedHeaders,
    /// The name of an exposed header has characters outside of visible ASCII.
    #[error("an exposed CORS header has characters that a header cannot hold")]
    ExposedHeaders,
}

/// What the service does after [`Cors::apply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preflight {
    /// The request was a preflight: answer with this status, the headers as they are and no body.
    Answer(StatusCode),
    /// Handle the request and send the headers with its response, whatever that is.
    Continue,
}

#[derive(Clone)]
enum Origin {
    Any,
    Fixed(HeaderValue),
    List(Arc<[HeaderValue]>),
    Matching(Arc<dyn Fn(&str) -> bool + Send + Sync>),
    Reflect,
}

impl Cors {
    /// Pages of every origin, without credentials: `Access-Control-Allow-Origin: *` (`origin: "*"`).
    pub fn any() -> Self {
        Self::new(Origin::Any)
    }

    /// Pages of one origin, such as `https://app.example` or `http://localhost:3000`: scheme, host and port without a
    /// slash at the end. `"*"` is [`any`](Self::any).
    ///
    /// The origin is named in every response, whoever asks; browsers compare it themselves.
    pub fn origin(origin: impl AsRef<str>) -> Self {
        match origin.as_ref() {
            "*" => Self::any(),
            origin => match ascii(origin) {
                Some(value) => Self::new(Origin::Fixed(value)),
                None => Self::new(Origin::List([].into())).with_error(CorsError::Origin),
            },
        }
    }

    /// Pages of several origins. The one that asks is named in the response, if it is in the list.
    pub fn origins<I>(origins: I) -> Self
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let values: Option<Arc<[_]>> = origins.into_iter().map(|origin| ascii(origin.as_ref())).collect();
        match values {
            Some(values) => Self::new(Origin::List(values)),
            None => Self::new(Origin::List([].into())).with_error(CorsError::Origin),
        }
    }

    /// Pages of the origins for which `predicate` holds. It runs once per request, so it should be quick.
    pub fn matching(predicate: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Origin::Matching(Arc::new(predicate)))
    }

    /// Pages of every origin, each named in its response (`origin: true`). Together with
    /// [`credentials`](Self::credentials), any web page can act as its visitor: prefer a list.
    pub fn reflect() -> Self {
        Self::new(Origin::Reflect)
    }

    /// Whether pages may send cookies and HTTP authentication. Default: no. Browsers refuse this together with
    /// [`any`](Self::any).
    pub fn credentials(mut self, credentials: bool) -> Self {
        self.credentials = credentials;
        self
    }

    /// Methods that a preflight allows. Default: `GET,HEAD,PUT,PATCH,POST,DELETE`.
    pub fn methods<I>(self, methods: I) -> Self
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        match list(methods) {
            Some(methods) => Self { methods, ..self },
            None => self.with_error(CorsError::Methods),
        }
    }

    /// Request headers that a preflight allows (`allowedHeaders`). Default: those that it asks for.
    pub fn allowed_headers<I>(self, names: I) -> Self
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        match list(names) {
            Some(names) => Self { allowed_headers: Some(names), ..self },
            None => self.with_error(CorsError::AllowedHeaders),
        }
    }

    /// Response headers that pages may read (`exposedHeaders`). Default: none beyond the usual ones.
    pub fn exposed_headers<I>(self, names: I) -> Self
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        match list(names) {
            Some(names) => Self { exposed_headers: Some(names), ..self },
            None => self.with_error(CorsError::ExposedHeaders),
        }
    }

    /// How long a browser may remember a preflight's answer, in whole seconds. Default: not said, which means five
    /// seconds to most.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age.as_secs());
        self
    }

    /// The status of a preflight's answer. Default: 204; some old browsers want 200.
    pub fn options_success_status(mut self, status: StatusCode) -> Self {
        self.options_success_status = status;
        self
    }

    /// The first option that could not be used.
    pub(crate) fn check(&self) -> Result<(), CorsError> {
        self.invalid.map_or(Ok(()), Err)
    }

    /// Adds the headers that answer a request to `response`, and tells whether the request was only a preflight.
    /// As in npm's `cors`, every `OPTIONS` request is one.
    pub(crate) fn apply(&self, method: &Method, request: &HeaderMap, response: &mut HeaderMap) -> Preflight {
        self.apply_origin(request.get(header::ORIGIN), response);
        if self.credentials {
            response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if *method != Method::OPTIONS {
            insert_unless_empty(
                response,
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                self.exposed_headers.as_ref(),
            );
            return Preflight::Continue;
        }
        insert_unless_empty(response, header::ACCESS_CONTROL_ALLOW_METHODS, Some(&self.methods));
        let allowed = self.allowed_headers.as_ref().or_else(|| {
            vary(response, "Access-Control-Request-Headers");
            request.get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        });
        insert_unless_empty(response, header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        if let Some(seconds) = self.max_age {
            response.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
        }
        insert_unless_empty(response, header::ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed_headers.as_ref());
        // Safari waits for a body otherwise.
        response.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        Preflight::Answer(self.options_success_status)
    }

    fn apply_origin(&self, asking: Option<&HeaderValue>, response: &mut HeaderMap) {
        let allowed = match &self.origin {
            Origin::Any => {
                response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                return;
            }
            Origin::Fixed(origin) => Some(origin),
            Origin::List(list) => asking.filter(|origin| list.contains(origin)),
            Origin::Matching(predicate) => {
                asking.filter(|origin| origin.to_str().is_ok_and(|o| predicate(o)))
            }
            Origin::Reflect => asking,
        };
        insert_unless_empty(response, header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        // Also when refused: a cache must not show this answer to an origin that is allowed.
        vary(response, "Origin");
    }

    fn new(origin: Origin) -> Self {
        Self {
            origin,
            methods: ALL_METHODS,
            allowed_headers: None,
            exposed_headers: None,
            credentials: false,
            max_age: None,
            options_success_status: StatusCode::NO_CONTENT,
            invalid: None,
        }
    }

    fn with_error(mut self, error: CorsError) -> Self {
        self.invalid.get_or_insert(error);
        self
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Fixed(origin) => f.debug_tuple("Fixed").field(origin).finish(),
            Self::List(origins) => f.debug_tuple("List").field(origins).finish(),
            Self::Matching(_) => f.write_str("Matching"),
            Self::Reflect => f.write_str("Reflect"),
        }
    }
}

/// Joins with bare commas, as npm's `cors` does.
fn list<I>(items: I) -> Option<HeaderValue>
where
    I: IntoIterator<Item: AsRef<str>>,
{
    let mut joined = String::new();
    for item in items {
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(item.as_ref());
    }
    ascii(&joined)
}

/// `HeaderValue::from_str` alone would take any UTF-8, which browsers read as Latin-1.
fn ascii(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok().filter(|_| text.is_ascii())
}

fn insert_unless_empty(response: &mut HeaderMap, name: HeaderName, value: Option<&HeaderValue>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        response.insert(name, value.clone());
    }
}

/// Adds `field` to the `Vary` header, which stays one line.
fn vary(response: &mut HeaderMap, field: &'static str) {
    let present: Vec<_> =
        response.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut fields = present.iter().flat_map(|line| line.split(',')).map(str::trim);
    if fields.any(|known| known == "*" || known.eq_ignore_ascii_case(field)) {
        return;
    }
    let joined = match present.is_empty() {
        true => Ok(HeaderValue::from_static(field)),
        false => HeaderValue::try_from(format!("{}, {field}", present.join(", "))),
    };
    if let Ok(value) = joined {
        response.insert(header::VARY, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKING: &[(&str, &str)] = &[("origin", "https://a.example")];
    const ASKING_FOR_HEADERS: &[(&str, &str)] =
        &[("origin", "https://a.example"), ("access-control-request-headers", "x-a, x-b")];
    const METHODS: (&str, &str) = ("access-control-allow-methods", "GET,HEAD,PUT,PATCH,POST,DELETE");
    const VARY_BOTH: (&str, &str) = ("vary", "Origin, Access-Control-Request-Headers");
    const EMPTY: (&str, &str) = ("content-length", "0");

    /// The answer's kind and headers in order.
    fn apply(cors: &Cors, method: Method, request: &[(&str, &str)]) -> (Preflight, Vec<(String, String)>) {
        let request = request
            .iter()
            .map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse::<HeaderValue>().unwrap()))
            .collect();
        let mut response = HeaderMap::new();
        let preflight = cors.apply(&method, &request, &mut response);
        let text = |(n, v): (&HeaderName, &HeaderValue)| (n.to_string(), v.to_str().unwrap().to_owned());
        (preflight, response.iter().map(text).collect())
    }

    fn expect(cors: &Cors, method: Method, request: &[(&str, &str)], headers: &[(&str, &str)]) {
        let kind = match method {
            Method::OPTIONS => Preflight::Answer(StatusCode::NO_CONTENT),
            _ => Preflight::Continue,
        };
        let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        assert_eq!(apply(cors, method.clone(), request), (kind, headers), "{cors:?} {method} {request:?}");
    }

    // What npm's cors 2.8.6 set for the same options and requests.

    #[test]
    fn any_origin() {
        let cors = Cors::origin("*");
        let any = ("access-control-allow-origin", "*");
        let vary = ("vary", "Access-Control-Request-Headers");
        expect(&cors, Method::GET, &[], &[any]);
        expect(&cors, Method::POST, ASKING, &[any]);
        expect(&cors, Method::OPTIONS, ASKING, &[any, METHODS, vary, EMPTY]);
        let echoed = ("access-control-allow-headers", "x-a, x-b");
        expect(&cors, Method::OPTIONS, ASKING_FOR_HEADERS, &[any, METHODS, vary, echoed, EMPTY]);
    }

    #[test]
    fn a_fixed_origin_is_always_named() {
        let cors = Cors::origin("https://x.example");
        let fixed = ("access-control-allow-origin", "https://x.example");
        for request in [&[], ASKING] {
            expect(&cors, Method::GET, request, &[fixed, ("vary", "Origin")]);
            expect(&cors, Method::OPTIONS, request, &[fixed, VARY_BOTH, METHODS, EMPTY]);
        }
    }

    #[test]
    fn the_asking_origin_is_named_if_it_is_allowed() {
        let named = ("access-control-allow-origin", "https://a.example");
        for cors in [
            Cors::origins(["https://b.example", "https://a.example"]),
            Cors::matching(|origin| origin.ends_with(".example")),
            Cors::reflect(),
        ] {
            expect(&cors, Method::GET, &[], &[("vary", "Origin")]);
            expect(&cors, Method::GET, ASKING, &[named, ("vary", "Origin")]);
            expect(&cors, Method::OPTIONS, ASKING, &[named, VARY_BOTH, METHODS, EMPTY]);
        }
    }

    #[test]
    fn another_origin_is_not_named() {
        for cors in [Cors::origins(["https://b.example"]), Cors::origins([""; 0]), Cors::matching(|_| false)]
        {
            expect(&cors, Method::GET, ASKING, &[("vary", "Origin")]);
            expect(&cors, Method::OPTIONS, ASKING, &[VARY_BOTH, METHODS, EMPTY]);
        }
    }

    #[test]
    fn all_options() {
        let cors = Cors::origin("https://x.example")
            .credentials(true)
            .max_age(Duration::from_secs(5))
            .exposed_headers(["a", "b"])
            .allowed_headers(["X", "y"])
            .methods(["GET", "POST"]);
        let fixed = ("access-control-allow-origin", "https://x.example");
        let (vary, credentials) = (("vary", "Origin"), ("access-control-allow-credentials", "true"));
        let exposed = ("access-control-expose-headers", "a,b");
        expect(&cors, Method::GET, ASKING, &[fixed, vary, credentials, exposed]);
        let preflight = [
            fixed,
            vary,
            credentials,
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-headers", "X,y"),
            ("access-control-max-age", "5"),
            exposed,
            EMPTY,
        ];
        expect(&cors, Method::OPTIONS, ASKING_FOR_HEADERS, &preflight);
    }

    #[test]
    fn empty_lists_send_nothing() {
        let none = [""; 0];
        let cors = Cors::origin("https://x.example")
            .methods(none)
            .allowed_headers(none)
            .exposed_headers(none)
            .max_age(Duration::ZERO);
        let fixed = ("access-control-allow-origin", "https://x.example");
        let expected = [fixed, ("vary", "Origin"), ("access-control-max-age", "0"), EMPTY];
        expect(&cors, Method::OPTIONS, ASKING_FOR_HEADERS, &expected);
    }

    #[test]
    fn the_status_of_a_preflight_can_be_200() {
        let cors = Cors::any().options_success_status(StatusCode::OK);
        assert_eq!(apply(&cors, Method::OPTIONS, ASKING).0, Preflight::Answer(StatusCode::OK));
    }

    #[test]
    fn vary_is_merged_with_what_is_there() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::from_iter([(header::VARY, HeaderValue::from_static(value))]);
            vary(&mut headers, "Origin");
            headers[header::VARY].to_str().unwrap().to_owned()
        };
        assert_eq!(with("Accept-Encoding"), "Accept-Encoding, Origin");
        assert_eq!(with("Accept, origin"), "Accept, origin");
        assert_eq!(with("*"), "*");
    }

    #[test]
    fn what_a_header_cannot_hold_is_found_by_the_check() {
        assert_eq!(Cors::origin("https://a.example").check(), Ok(()));
        assert_eq!(Cors::origin("https://bücher.example").check(), Err(CorsError::Origin));
        assert_eq!(Cors::origins(["https://a\n"]).check(), Err(CorsError::Origin));
        assert_eq!(Cors::any().methods(["é"]).check(), Err(CorsError::Methods));
        assert_eq!(
            Cors::any().allowed_headers(["\0"]).methods(["é"]).check(),
            Err(CorsError::AllowedHeaders)
        );
        assert_eq!(Cors::any().exposed_headers(["\r"]).check(), Err(CorsError::ExposedHeaders));
    }
}
