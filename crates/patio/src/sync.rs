//! The locks, atomics and thread-locals that this crate is made of, in one place.
//!
//! Everything that decides what another thread sees is made of these. The models of `tests/kernels` compile the same
//! files with types in their place that a scheduler controls, so that it can try the orders in which threads may come.

pub(crate) use std::{sync::atomic, thread_local};

pub(crate) use parking_lot::{Mutex, RwLock};
