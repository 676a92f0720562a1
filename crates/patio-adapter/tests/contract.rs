//! The contract suite, run against the adapters of this crate.
