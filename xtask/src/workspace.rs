//! The workspace as cargo knows it: where it is, where it builds, its packages and their dependencies. From
//! `cargo metadata`.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// What `cargo metadata` says, as much of it as is needed here.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// Our packages and all that they depend on, on any platform.
    pub(crate) packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

/// A package, ours or another's.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) license: Option<String>,
    /// Where it was downloaded from; ours were not.
    pub(crate) source: Option<String>,
    /// Its features, with what each turns on.
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1", "--all-features"]);
        let answer = command.stderr(std::process::Stdio::inherit()).output().context("cannot start cargo")?;
        ensure!(answer.status.success(), "cargo metadata failed");
        serde_json::from_slice(&answer.stdout).context("cargo metadata is not what it was")
    }

    /// A file of the repository.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.workspace_root.join(path)
    }

    /// A file below the target directory.
    pub(crate) fn target(&self, path: impl AsRef<Path>) -> PathBuf {
        self.target_directory.join(path)
    }

    /// A program built with the development profile.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target_directory.join("debug").join(name)
    }

    /// Our packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// A program to be run in a folder of the repository.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, folder: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path(folder));
        command
    }

    /// Cargo with these arguments, at the root of the repository.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo();
        command.args(arguments).current_dir(&self.workspace_root);
        command
    }
}

/// The cargo that runs us, found from any folder of the repository.
pub(crate) fn cargo() -> Command {
    clean(Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))))
}

/// The command without what the cargo that runs us says of us: build scripts and tests would take it for their own.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command
}
