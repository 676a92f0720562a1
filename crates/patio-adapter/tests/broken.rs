//! Deliberately broken adapters fail the contract suite.
