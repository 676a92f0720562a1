//! patio

#[cfg_attr(not(test), expect(dead_code, reason = "used by the service once it lands"))]
mod http;
#[cfg(feature = "serve")]
mod serve;

pub use self::http::{
    cookie::{Cookie, CookieError, Priority, SameSite},
    cors::{Cors, CorsError},
    headers::CompactHeaders,
    query::Query,
    remote_addr::RemoteAddr,
    serve_client::ServeClient,
};
#[cfg(feature = "serve")]
pub use self::serve::{Serve, listen, serve};
