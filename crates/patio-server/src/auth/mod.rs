//! Who may connect, and as whom: tokens that the backend has signed ([`tokens`]).

mod provider;
pub(crate) mod tokens;
