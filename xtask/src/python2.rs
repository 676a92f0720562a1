//! Python 2.7, which some programs need that tests talk to, and packages for it below the target directory.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    session::{Counting, Session, Step},
    workspace::Workspace,
};

const TO_INSTALL: Duration = Duration::from_secs(900);

/// Why there is none.
pub(crate) const MISSING: &str = "Python 2.7 with pip is missing (pyenv install 2.7.18)";

/// A Python with some packages.
#[derive(Debug)]
pub(crate) struct Python2 {
    program: PathBuf,
    /// Where it finds the packages and nobody else does.
    packages: PathBuf,
}

impl Python2 {
    /// One with the packages that `list` names, a file of pip's, installed into `folder` of the target directory unless
    /// they are there already. Error: why it cannot be had.
    pub(crate) fn provide(
        name: &'static str,
        list: &Path,
        folder: &str,
        workspace: &Workspace,
        session: &mut Session,
    ) -> Result<Self, &'static str> {
        let program = find().ok_or(MISSING)?;
        let note = workspace.target(folder).join("installed.txt");
        let python = Self { program, packages: workspace.target(folder).join("python") };
        let wanted =
            format!("{}\n{}", python.program.display(), fs::read_to_string(list).unwrap_or_default());
        if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
            return Ok(python);
        }
        // What is left of another list, or of an attempt that failed; mostly there is nothing.
        let _ = fs::remove_dir_all(&python.packages);
        let mut command = python.command();
        command.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-warn-script-location"]);
        command.args(["--user", "--ignore-installed", "--no-deps", "--requirement"]).arg(list);
        let (commands, limit, counting) = (vec![command], TO_INSTALL, Counting::Setup);
        if !session.step(Step { name, commands, limit, counting }) {
            return Err("its packages are missing");
        }
        // Without the note they are installed again the next time.
        let _ = fs::write(note, wanted);
        Ok(python)
    }

    /// Runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let (name, folder) = self.environment();
        command.env(name, folder);
        command
    }

    /// Its file.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// What it must find in its environment, if something else runs it.
    pub(crate) fn environment(&self) -> (&'static str, &Path) {
        ("PYTHONUSERBASE", &self.packages)
    }
}

/// One on the path, or one that pyenv has without offering it there.
fn find() -> Option<PathBuf> {
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")));
    let versions = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let kept = versions.into_iter().flatten().flatten().map(|version| version.path().join("bin/python2.7"));
    ["python2.7", "python2"].into_iter().map(PathBuf::from).chain(kept).find(|python| has_pip(python))
}

fn has_pip(python: &Path) -> bool {
    let answer = Command::new(python).args(["-m", "pip", "--version"]).stdin(Stdio::null()).output();
    answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).contains("(python 2.7)"))
}
