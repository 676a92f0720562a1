//! patio

#[cfg_attr(not(test), expect(dead_code, reason = "used by the service once it lands"))]
mod http;
