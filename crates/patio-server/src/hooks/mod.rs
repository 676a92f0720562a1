//! Hooks: calls of backends, who decide who connects, get what clients send, and hear who has gone.
//!
//! A call ([`client`]) is signed ([`sign`]) and limited, and an address that fails is spared ([`breaker`]). Events of one
//! socket are called one after the other ([`queue`]); who has gone is told in batches ([`batch`]). What is said and
//! answered stands in [`bodies`].

mod batch;
pub(crate) mod bodies;
mod breaker;
mod client;
mod queue;
mod sign;

pub(crate) use self::{
    batch::Batches,
    client::{HookError, HookUrl, Hooks, Message, Settings, install_tls},
    queue::{Job, Queue},
    sign::Secrets,
};
