//! Who may connect, and as whom: tokens that the backend has signed ([`tokens`]).

pub(crate) mod jwks;
mod provider;
pub(crate) mod tokens;
