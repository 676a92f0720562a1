//! The servers that are compared: how each is built or installed, started and ended.

use std::{
    env, fmt,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    str::FromStr,
};

use anyhow::{Context, bail, ensure};

use crate::{process::Process, run::Target};

/// One server program that speaks the benchmark's application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// Patio on axum.
    Patio,
    /// socketioxide on axum.
    Socketioxide,
    /// Node's socket.io.
    Node,
    /// One `write` per delivery and nothing else.
    Limit,
}

impl Contestant {
    /// In the order of a round.
    pub const ALL: [Self; 4] = [Self::Patio, Self::Socketioxide, Self::Node, Self::Limit];

    /// Its name, on the command line and in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Patio => "patio",
            Self::Socketioxide => "socketioxide",
            Self::Node => "node",
            Self::Limit => "limit",
        }
    }

    /// Builds or installs it, by its lock file; nothing is done when that has been done.
    pub fn prepare(self) -> anyhow::Result<()> {
        match self {
            Self::Patio | Self::Limit => {
                let bin = if self == Self::Patio { "patio_app" } else { "limit" };
                let mut cargo = cargo("build");
                if !cfg!(debug_assertions) {
                    cargo.arg("--release");
                }
                cargo.args(["--package", "bench", "--bin", bin, "--target-dir"]).arg(target_directory()?);
                run(cargo.current_dir(sources()))
            }
            Self::Socketioxide => {
                let manifest = sources().join("peers/socketioxide/Cargo.toml");
                run(cargo("build")
                    .args(["--release", "--locked", "--manifest-path"])
                    .arg(manifest)
                    .arg("--target-dir")
                    .arg(peers_target()?))
            }
            Self::Node => {
                let folder = node();
                let installed = folder.join("node_modules/.package-lock.json");
                let newest = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
                if newest(&installed) > newest(&folder.join("package-lock.json")) {
                    return Ok(());
                }
                run(Command::new("npm").arg("ci").current_dir(folder))
            }
        }
    }

    /// Starts a fresh process, at this address or on a free port of 127.0.0.1.
    pub fn start(self, address: Option<SocketAddr>) -> anyhow::Result<Server> {
        let mut command = match self {
            Self::Patio => Command::new(programs()?.join("patio_app")),
            Self::Limit => Command::new(programs()?.join("limit")),
            Self::Socketioxide => Command::new(peers_target()?.join("release/bench-socketioxide")),
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(node().join("server.js")).env("NODE_ENV", "production");
                command
            }
        };
        let address = address.map_or("127.0.0.1:0".into(), |address| address.to_string());
        command.args(["--listen", &address, "--until-eof"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Server::start(command).with_context(|| format!("cannot start {self}"))
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Contestant {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|contestant| contestant.name() == name);
        found.with_context(|| format!("`{name}` is not one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// A running server process; it ends when this is dropped, or, should we be killed, when its standard input ends.
pub struct Server {
    child: Child,
    target: Target,
    /// Open as long as the server writes to it.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.spawn().with_context(|| format!("{:?}", command.get_program()))?;
        let mut output = BufReader::new(child.stdout.take().context("standard output is piped")?);
        let mut line = String::new();
        let address = output.read_line(&mut line).map_err(anyhow::Error::from).and_then(|_| {
            let address =
                line.trim().strip_prefix("listening on ").context("it does not say where it listens")?;
            address.parse().with_context(|| format!("`{address}` is no address"))
        });
        let target =
            address.and_then(|address| Ok(Target { address, process: Some(Process::new(child.id())?) }));
        match target {
            Ok(target) => Ok(Self { child, target, _output: output }),
            Err(error) => {
                child.kill().ok();
                child.wait().ok();
                Err(error)
            }
        }
    }

    /// Where and what to measure.
    pub fn target(&self) -> Target {
        self.target
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn sources() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn node() -> PathBuf {
    sources().join("peers/node")
}

/// Where this program was built, and with it the other ones of this package.
fn programs() -> anyhow::Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.parent().context("a program lies in a folder")?.to_owned())
}

/// Cargo's target directory.
pub fn target_directory() -> anyhow::Result<PathBuf> {
    Ok(programs()?.parent().context("target/<profile>")?.to_owned())
}

fn peers_target() -> anyhow::Result<PathBuf> {
    Ok(target_directory()?.join("peers"))
}

fn cargo(task: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(task).arg("--quiet");
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Every name once; refuses the empty list.
pub fn parse_list(names: &[Contestant]) -> anyhow::Result<Vec<Contestant>> {
    let chosen: Vec<_> =
        Contestant::ALL.into_iter().filter(|contestant| names.contains(contestant)).collect();
    ensure!(!chosen.is_empty(), "no server was chosen");
    Ok(chosen)
}
