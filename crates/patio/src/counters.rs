//! Plain counters of everything that is dropped, refused or fails, by reason.
//!
//! They need no metrics library: read them with [`Server::counters`](crate::Server::counters) and export them as you like.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one server, kept as they happen.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What the counters of a server said at one moment. All count from the server's start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct CounterSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> CounterSnapshot {
                CounterSnapshot { $($name: self.$name.get(),)* }
            }
        }

        impl CounterSnapshot {
            /// Every counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Sessions that opened.
    opened,
    /// Sessions that ended.
    closed,
    /// Requests that were refused with an Engine.IO error code.
    refused_requests,
    /// Requests whose head had too many or too large fields (answer 431).
    large_heads,
    /// Bodies over `max_http_buffer_size` (answer 413).
    large_bodies,
    /// Connections refused because the server had as many as it may have, or was closing (answer 403).
    refused_connections,
    /// WebSockets that ended because of a frame that breaks the protocol or a limit.
    bad_frames,
    /// Sessions that ended because of an Engine.IO packet or payload that could not be read.
    bad_packets,
    /// Sessions that ended because of a Socket.IO packet that could not be read.
    bad_messages,
    /// Sessions that ended because a packet was not allowed in their state, such as an event before CONNECT.
    invalid_states,
    /// CONNECTs that were refused: unknown namespace, middleware, limit.
    refused_connects,
    /// Sessions that ended because they joined no namespace in time, or because attachments did not come in time.
    late_clients,
    /// Clients that were let go because they read too slowly: their queue was full.
    slow_clients,
    /// Packets for a session that had ended.
    sent_after_close,
    /// Volatile packets that were dropped because they could not be written at once.
    volatile_dropped,
    /// Events for which there is no handler.
    unhandled_events,
    /// Events that a packet middleware refused.
    refused_events,
    /// Events that were not handled because their socket had ended.
    dropped_events,
    /// Handlers that ended with an error.
    handler_errors,
    /// Handlers whose arguments were not what the client sent.
    extract_errors,
    /// Handlers, middlewares, listeners and hooks that panicked.
    panics,
    /// Acknowledgements that came for no request, or too late.
    unknown_acks,
    /// Acknowledgements that did not come in time.
    ack_timeouts,
    /// Emits that an adapter could not publish.
    adapter_errors,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
