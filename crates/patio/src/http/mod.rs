//! What Patio does with HTTP besides Engine.IO itself: small pieces without state, each used by the service.
//!
//! A request's query and headers come in through [`query`] and [`headers`]; [`cors`], [`cookie`] and
//! [`compression`] shape the response.

pub(crate) mod compression;
pub(crate) mod cookie;
pub(crate) mod cors;
pub(crate) mod headers;
mod pairs;
pub(crate) mod query;
