//! Packages of Python 3 below the target directory, for programs that tests talk to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    session::{Counting, Session, Step},
    workspace::Workspace,
};

const TO_INSTALL: Duration = Duration::from_secs(300);

/// A Python with some packages.
#[derive(Debug)]
pub(crate) struct Python3 {
    /// What runs it.
    pub(crate) program: &'static str,
    /// Where it finds the packages: its `PYTHONPATH`.
    pub(crate) packages: PathBuf,
}

impl Python3 {
    /// One with what `pip install` makes of `words`, installed into `folder` of the target directory unless that is there
    /// already. `wanted` says what it is. `None`: it cannot be had.
    pub(crate) fn provide(
        name: &'static str,
        words: &[&str],
        wanted: &str,
        folder: &str,
        workspace: &Workspace,
        session: &mut Session,
    ) -> Option<Self> {
        let python = Self { program: find()?, packages: workspace.target(folder) };
        let note = python.packages.join("installed.txt");
        if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
            return Some(python);
        }
        // What is left of others, or of an attempt that failed; mostly there is nothing.
        let _ = fs::remove_dir_all(&python.packages);
        let mut command = Command::new(python.program);
        command.args(["-m", "pip", "install", "--disable-pip-version-check"]).args(words);
        command.arg("--target").arg(&python.packages);
        let (commands, limit, counting) = (vec![command], TO_INSTALL, Counting::Setup);
        if !session.step(Step { name, commands, limit, counting }) {
            return None;
        }
        // Without the note it is installed again the next time.
        let _ = fs::write(note, wanted);
        Some(python)
    }

    /// The same, of a file with requirements.
    pub(crate) fn provide_list(
        name: &'static str,
        list: &Path,
        folder: &str,
        workspace: &Workspace,
        session: &mut Session,
    ) -> Option<Self> {
        let wanted = fs::read_to_string(list).ok()?;
        Self::provide(name, &["--requirement", list.to_str()?], &wanted, folder, workspace, session)
    }
}

/// Python 3 with pip.
fn find() -> Option<&'static str> {
    let has_pip = |python: &&str| {
        let answer = Command::new(python).args(["-m", "pip", "--version"]).stdin(Stdio::null()).output();
        answer.is_ok_and(|answer| answer.status.success())
    };
    ["python3", "python"].into_iter().find(has_pip)
}
