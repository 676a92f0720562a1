//! The one vocabulary in which backends say what shall be done: read strictly from JSON ([`operation`]), done on this server
//! and the others ([`perform`]), and answered with a word that programs can rely on ([`error`]).
//!
//! Operations come from the HTTP API, from hooks' answers and from the command line.

pub(crate) mod binary;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod operation;
pub(crate) mod perform;
mod remembered;
pub(crate) mod rooms;

pub(crate) use self::{error::Error, perform::Operations};
