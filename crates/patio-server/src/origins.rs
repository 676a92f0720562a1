//! Which web pages may connect. Browsers keep others from polling by themselves, but not from a WebSocket: a page of anybody
//! could open one, with its visitor's cookies, so the server looks at `Origin` for each connection.

use axum::http::{HeaderMap, header};

/// The pages that may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origins {
    Any,
    /// Those of these origins, and of this server's own.
    These(Vec<String>),
}

impl Origins {
    /// Whether a request may become a connection. What is no browser does not say where it comes from.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        match self {
            Self::Any => true,
            Self::These(origins) => {
                let origin = origin.to_str().unwrap_or_default();
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
                let is_own = origin.split_once("://").is_some_and(|(_, own)| host == Some(own));
                is_own || origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_strangers_do_not_connect() {
        let origins = Origins::These(vec!["https://example.com".into()]);
        let allow = |origins: &Origins, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "patio.example:3000".parse().unwrap());
            origin.map(|origin| headers.insert(header::ORIGIN, origin.parse().unwrap()));
            origins.allow(&headers)
        };
        for (origin, allowed) in [
            (None, true),
            (Some("https://example.com"), true),
            (Some("HTTPS://EXAMPLE.COM"), true),
            (Some("http://patio.example:3000"), true),
            (Some("http://patio.example"), false),
            (Some("http://example.com"), false),
            (Some("https://example.com.evil"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            assert_eq!(allow(&origins, origin), allowed, "{origin:?}");
            assert!(allow(&Origins::Any, origin));
        }
    }
}
