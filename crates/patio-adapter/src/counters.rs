//! Plain counters of what an adapter dropped, refused or failed at, readable without any metrics library.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Declares the shared counters and their readable copy from one list.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A copy of an adapter's counters. They only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters of one adapter, shared with its broker.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Stats {
            /// Every counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        impl Counters {
            /// Their present values.
            pub fn stats(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Messages of other servers that could not be understood.
    garbage,
    /// Answers that came too late, twice, or that nobody had asked for.
    stray_answers,
    /// Questions of other servers that were refused because too many were open.
    refused_questions,
    /// Messages that could not be handed to the broker.
    failed_publishes,
    /// Requests that ended before all servers or sockets had answered.
    incomplete_requests,
    /// Servers that fell silent and were removed.
    lost_servers,
    /// Times that messages of other servers left the recorded history, or may have, before this server had read them.
    missed_history,
    /// Times that what other servers record could not be read, and is tried again.
    failed_reads,
    /// Packets that left the recovery history before their time because it was full.
    trimmed_packets,
    /// Sessions that were forgotten before their time because too many were kept.
    trimmed_sessions,
    /// Sessions that came back but could not be restored.
    failed_restores,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// `n` more.
    pub fn add_many(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
