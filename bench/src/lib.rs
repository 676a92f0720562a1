//! The benchmark: Patio, its peers and the limit, driven by one load generator and compared round by round.
//!
//! A [`scenario`] says what is done, the [`generator`] holds the client connections, [`run`] does one round of a
//! scenario against one server and gives a [`measurement`]; [`process`] reads what the server process cost.
//! [`compare`] does the rounds of all [`contestant`]s in turn (with a [`redis`] where they are clusters), [`stats`] takes the ratios round by round, [`goals`] are
//! what they shall be, [`report`] writes them down, with a [`chart`] or two.

pub mod scenario;

pub mod generator;
pub mod run;

pub mod measurement;
pub mod process;

pub mod compare;
pub mod contestant;
pub mod redis;

pub mod chart;
pub mod goals;
pub mod report;
pub mod stats;
