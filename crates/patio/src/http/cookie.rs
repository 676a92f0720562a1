//! The cookie that a polling handshake may set, for load balancers that route by it.
//!
//! The service sends [`Cookie::header_value`] with the first polling response of a session, never over WebSocket.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use httpdate::HttpDate;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

/// What JavaScript's `encodeURIComponent` escapes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The end of what an HTTP date can say: 1 January 10000.
const LAST_DATE: Duration = Duration::from_secs(253_402_300_800);

/// A cookie holding the Engine.IO session id, set by polling handshakes (`cookie` in Socket.IO's options).
///
/// Default: `io=<session id>; Path=/; HttpOnly; SameSite=Lax`, a session cookie. Nothing in Socket.IO reads it: it is
/// for load balancers.
///
/// ```
/// use patio::{Cookie, SameSite};
///
/// let cookie = Cookie::new().secure(true).same_site(SameSite::None);
/// ```
#[derive(Clone, Debug)]
pub struct Cookie {
    name: String,
    max_age: Option<Duration>,
    domain: String,
    path: String,
    expires: Option<SystemTime>,
    http_only: bool,
    secure: bool,
    partitioned: bool,
    priority: Option<Priority>,
    same_site: Option<SameSite>,
    invalid: Option<CookieError>,
}

/// A [`Cookie`] option that cannot be sent, found when the server is built.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is empty or has characters other than letters, digits and ``!#$%&'*+-.^_`|~``.
    #[error("the cookie's name is empty or has characters that are not allowed")]
    Name,
    /// The path has characters outside of ASCII, control characters or one of `;<`.
    #[error("the cookie's path has characters that are not allowed")]
    Path,
    /// The domain is not a host name.
    #[error("the cookie's domain is not a host name")]
    Domain,
    /// The date is before 1970 or after 9999.
    #[error("the cookie's date of expiry is before 1970 or after 9999")]
    Expires,
}

/// With which cross-site requests a browser sends the [`Cookie`] (`sameSite`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Only with requests from the same site.
    Strict,
    /// As `Strict`, but also when the user follows a link.
    Lax,
    /// With all. Browsers demand [`secure`](Cookie::secure) with it.
    None,
}

/// Which cookies a browser drops first when there are too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Dropped first.
    Low,
    /// As without a priority.
    Medium,
    /// Dropped last.
    High,
}

impl Cookie {
    /// The default cookie (`cookie: true`).
    pub fn new() -> Self {
        Self {
            name: "io".to_owned(),
            max_age: None,
            domain: String::new(),
            path: "/".to_owned(),
            expires: None,
            http_only: true,
            secure: false,
            partitioned: false,
            priority: None,
            same_site: Some(SameSite::Lax),
            invalid: None,
        }
    }

    /// The name. Default: `io`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        let valid = is_token(&self.name);
        self.require(valid, CookieError::Name)
    }

    /// The path below which browsers send it. Default: `/`. An empty path leaves the attribute out.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        let valid = self.path.bytes().all(|byte| matches!(byte, b' '..=b':' | b'='..=b'~'));
        self.require(valid, CookieError::Path)
    }

    /// The domain to whose hosts browsers send it. Default: only the host that set it.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = domain.into();
        let valid = is_host_name(&self.domain);
        self.require(valid, CookieError::Domain)
    }

    /// How long browsers keep it, in whole seconds. Default: as long as the browser runs.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Until when browsers keep it, in whole seconds. Default: as long as the browser runs.
    pub fn expires(mut self, expires: SystemTime) -> Self {
        self.expires = Some(expires);
        let valid = expires.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since < LAST_DATE);
        self.require(valid, CookieError::Expires)
    }

    /// Whether scripts cannot read it. Default: yes.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Whether browsers send it over HTTPS only. Default: no.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether it is kept apart for each site that embeds this one. Default: no.
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Its priority. Default: not said.
    pub fn priority(mut self, priority: impl Into<Option<Priority>>) -> Self {
        self.priority = priority.into();
        self
    }

    /// Its cross-site rule. Default: [`SameSite::Lax`]. Without one (`None`) the browser's default holds.
    pub fn same_site(mut self, same_site: impl Into<Option<SameSite>>) -> Self {
        self.same_site = same_site.into();
        self
    }

    /// The first option that cannot be sent.
    pub(crate) fn check(&self) -> Result<(), CookieError> {
        self.invalid.map_or(Ok(()), Err)
    }

    /// The value of `Set-Cookie` for a session; `None` only if [`check`](Self::check) fails. Attributes come in the
    /// order of the npm package `cookie`.
    pub(crate) fn header_value(&self, sid: &str) -> Option<HeaderValue> {
        self.check().ok()?;
        let mut text = format!("{}={}", self.name, utf8_percent_encode(sid, COMPONENT));
        if let Some(max_age) = self.max_age {
            write!(text, "; Max-Age={}", max_age.as_secs()).ok()?;
        }
        for (attribute, value) in [("Domain", &self.domain), ("Path", &self.path)] {
            if !value.is_empty() {
                write!(text, "; {attribute}={value}").ok()?;
            }
        }
        if let Some(expires) = self.expires {
            write!(text, "; Expires={}", HttpDate::from(expires)).ok()?;
        }
        let flags =
            [(self.http_only, "; HttpOnly"), (self.secure, "; Secure"), (self.partitioned, "; Partitioned")];
        for (_, flag) in flags.into_iter().filter(|(set, _)| *set) {
            text.push_str(flag);
        }
        text.push_str(match self.priority {
            Some(Priority::Low) => "; Priority=Low",
            Some(Priority::Medium) => "; Priority=Medium",
            Some(Priority::High) => "; Priority=High",
            None => "",
        });
        text.push_str(match self.same_site {
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            None => "",
        });
        HeaderValue::try_from(text).ok()
    }

    fn require(mut self, valid: bool, error: CookieError) -> Self {
        if !valid {
            self.invalid.get_or_insert(error);
        }
        self
    }
}

impl Default for Cookie {
    fn default() -> Self {
        Self::new()
    }
}

/// RFC 6265's cookie-name.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Labels of letters, digits and inner hyphens, perhaps after one dot. The empty string leaves the attribute out.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.is_empty() || text.strip_prefix('.').unwrap_or(text).split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cookie: &Cookie, sid: &str) -> String {
        cookie.header_value(sid).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_default_cookie() {
        assert_eq!(
            text(&Cookie::new(), "Fb8SphpwWvLHkNrj-_AA"),
            "io=Fb8SphpwWvLHkNrj-_AA; Path=/; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn all_attributes_come_in_the_order_of_node() {
        let cookie = Cookie::new()
            .same_site(SameSite::None)
            .priority(Priority::High)
            .partitioned(true)
            .secure(true)
            .expires(SystemTime::UNIX_EPOCH)
            .path("/p")
            .domain("x.example")
            .max_age(Duration::from_millis(60_900));
        // Printed by npm's cookie 0.7.2.
        assert_eq!(
            text(&cookie, "a b/é"),
            "io=a%20b%2F%C3%A9; Max-Age=60; Domain=x.example; Path=/p; Expires=Thu, 01 Jan 1970 00:00:00 GMT; \
             HttpOnly; Secure; Partitioned; Priority=High; SameSite=None"
        );
    }

    #[test]
    fn attributes_can_be_left_out() {
        let bare = Cookie::new().name("sid").path("").http_only(false).same_site(None).priority(None);
        assert_eq!(text(&bare, "!~*'()-_."), "sid=!~*'()-_.");
        let strict = Cookie::new().same_site(SameSite::Strict).priority(Priority::Low);
        assert_eq!(text(&strict, "x"), "io=x; Path=/; HttpOnly; Priority=Low; SameSite=Strict");
    }

    #[test]
    fn a_session_id_cannot_inject_attributes() {
        assert_eq!(
            text(&Cookie::new(), "x; Domain=evil\r\n"),
            "io=x%3B%20Domain%3Devil%0D%0A; Path=/; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn what_cannot_be_sent_is_found_by_the_check() {
        for name in ["", "a b", "a=b", "a;", "é"] {
            assert_eq!(Cookie::new().name(name).check(), Err(CookieError::Name), "{name}");
        }
        for path in ["/;", "/\n", "/é", "/<"] {
            assert_eq!(Cookie::new().path(path).check(), Err(CookieError::Path), "{path}");
        }
        let long = "a".repeat(64);
        for domain in ["-a.example", "a..b", "a b", "a;b", ".", &long] {
            assert_eq!(Cookie::new().domain(domain).check(), Err(CookieError::Domain), "{domain}");
        }
        for domain in ["example.com", ".example.com", "localhost", "127.0.0.1", "a-b.c"] {
            assert_eq!(Cookie::new().domain(domain).check(), Ok(()), "{domain}");
        }
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        for expires in [before, SystemTime::UNIX_EPOCH + LAST_DATE] {
            let cookie = Cookie::new().expires(expires);
            assert_eq!(cookie.check(), Err(CookieError::Expires));
            assert_eq!(cookie.header_value("x"), None);
        }
    }
}
