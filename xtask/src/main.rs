//! Project tasks: test, ci, bench.
fn main() {}
