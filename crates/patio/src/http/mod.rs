//! What Patio does with HTTP besides Engine.IO itself: small pieces without state, each used by the service.
//!
//! Connections come in through [`accept`]; a handshake keeps its [`query`], [`headers`] and [`remote_addr`]; [`cors`],
//! [`cookie`] and [`compression`] shape the response; [`serve_client`] answers pages that load the client.

#[cfg(feature = "serve")]
pub(crate) mod accept;
pub(crate) mod compression;
pub(crate) mod cookie;
pub(crate) mod cors;
pub(crate) mod headers;
mod pairs;
pub(crate) mod query;
pub(crate) mod remote_addr;
pub(crate) mod serve_client;
