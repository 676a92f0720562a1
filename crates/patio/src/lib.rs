//! patio

#[cfg_attr(not(test), expect(dead_code, reason = "used by the service once it lands"))]
mod http;

pub use self::http::{
    cookie::{Cookie, CookieError, Priority, SameSite},
    cors::{Cors, CorsError},
    headers::CompactHeaders,
    query::Query,
};
