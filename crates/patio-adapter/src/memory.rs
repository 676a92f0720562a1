//! The adapter of a server that stands alone.
