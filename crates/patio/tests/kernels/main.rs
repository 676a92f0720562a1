//! The small kernels of locks and queues under a scheduler that tries the orders in which threads may come: queue and
//! turn's end, flusher, rooms and their news, the end of a socket, the table of acks.
//!
//! What runs is not a copy. This file is a second root for the library's own files: their `crate::sync` is here made of
//! [shuttle]'s types, so that every lock, every atomic and every end of a thread is a point where another thread may go
//! on. Nothing else is replaced; locks of other crates are held between two such points only.
//!
//! Shuttle, not loom: a model here has a whole connection with its driver, the flusher's workers and a namespace, some
//! hundred points each, which loom cannot enumerate; shuttle draws schedules at random, and by priorities with few
//! preemptions (PCT), from a fixed seed. What loom would find beside, orders that only weak memory allows, has little to
//! hold on to: what threads share stands under locks, but for some flags that are stored and loaded with release and
//! acquire.
//!
//! | model | what must hold in every order |
//! |---|---|
//! | `queue` | nothing that was queued is left unwritten when all turns have ended; each receiver gets each sender's packets in order; a session closes once, a full queue included; what was queued before a close comes before it |
//! | `flusher` | every session of a turn is written after it was queued for, by a worker or by the turn; workers end |
//! | `rooms` | events of rooms come in the order of the changes, told by one thread at a time, and none is kept back |
//! | `ends` | a socket ends once, its handlers hear one reason, who waits for the end hears of it, no room is left |
//! | `acks` | a question ends once, whichever of answer, time and the socket's end comes first, and leaves no entry |
//!
//! Not covered: orders that need weak memory; the kernel taking less than it is given (`blocked`), which `limits` and
//! `order` cross on sockets; the inside of tokio's and futures' types, whose operations are single steps here.
//!
//! A failure prints its schedule; `SHUTTLE_RANDOM_SEED` draws others.

#![expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the library's own root uses, exports and tests the rest of these files"
)]

// As in `lib.rs`, in its order, with another `sync`.
#[path = "../../src/http/mod.rs"]
mod http;
#[cfg(feature = "serve")]
#[path = "../../src/serve.rs"]
mod serve;
#[path = "../../src/service.rs"]
mod service;

#[path = "../../src/engine/mod.rs"]
mod engine;
#[path = "../../src/engine_io.rs"]
mod engine_io;

#[path = "../../src/connection/mod.rs"]
mod connection;
#[path = "../../src/hub/mod.rs"]
mod hub;
#[path = "../../src/namespace.rs"]
mod namespace;
#[path = "../../src/pattern.rs"]
mod pattern;
#[path = "../../src/rooms.rs"]
mod rooms;

#[path = "../../src/extensions.rs"]
mod extensions;
#[path = "../../src/guard.rs"]
mod guard;
#[path = "../../src/socket/mod.rs"]
mod socket;

#[path = "../../src/extract/mod.rs"]
mod extract;
#[path = "../../src/handler/mod.rs"]
mod handler;
#[path = "../../src/reason.rs"]
mod reason;
#[path = "../../src/refusal.rs"]
mod refusal;
#[path = "../../src/reply.rs"]
mod reply;

#[path = "../../src/ack.rs"]
mod ack;
#[path = "../../src/operator.rs"]
mod operator;

#[path = "../../src/builder.rs"]
mod builder;
#[path = "../../src/config.rs"]
mod config;
#[path = "../../src/counters.rs"]
mod counters;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/server/mod.rs"]
mod server;

mod sync;

/// The models. What they need in common stands in `model`.
mod models {
    mod acks;
    mod ends;
    mod flusher;
    mod model;
    mod queue;
    mod rooms;

    pub(crate) fn all() -> Vec<libtest_mimic::Trial> {
        [queue::all(), flusher::all(), rooms::all(), ends::all(), acks::all()].into_iter().flatten().collect()
    }
}

fn main() {
    // A harness of its own: with the usual one the unit tests of all these files would run once more.
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), models::all()).exit();
}
