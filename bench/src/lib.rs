//! The benchmark: Patio, its peers and the limit, driven by one load generator and compared round by round.
//!
//! A [`scenario`] says what is done, the [`generator`] holds the client connections, [`run`] does one round of a
//! scenario against one server and gives a [`measurement`]; [`process`] reads what the server process cost.

pub mod scenario;

pub mod generator;
pub mod run;

pub mod measurement;
pub mod process;
