//! What the compiler says about functions that are no handlers.
//!
//! `TRYBUILD=overwrite cargo test -p patio --test ui` writes the expected texts anew.

#[test]
fn wrong_handlers_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
