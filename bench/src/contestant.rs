//! The servers that are compared: how each is built or installed, started and ended.

use std::{
    env, fmt, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, Child, ChildStdout, Command, Stdio},
    str::FromStr,
};

use anyhow::{Context, bail, ensure};

use crate::{process::Process, redis::RedisServer, run::Target, scenario::Over};

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

    /// Whether Patio is compared with it as with another server of Socket.IO.
    pub const fn is_peer(self) -> bool {
        matches!(self, Self::Socketioxide | Self::Node)
    }

    /// Builds or installs it, by its lock file; nothing is done when that has been done.
    pub fn prepare(self) -> anyhow::Result<()> {
        match self {
            Self::Patio | Self::Limit => {
                let mut cargo = cargo("build");
                if !cfg!(debug_assertions) {
                    cargo.arg("--release");
                }
                cargo.args(["--package", "bench", "--bins", "--target-dir"]).arg(target_directory()?);
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

    /// Whether it can be reached over such streams here.
    pub fn listens_over(self, over: Over) -> bool {
        match over {
            Over::Tcp => true,
            Over::Tls | Over::Unix => self == Self::Patio,
            // What the least is that a cluster can do, nobody knows.
            Over::Redis => self != Self::Limit,
        }
    }

    /// Starts a fresh process, at this address or on a free port of 127.0.0.1; for a cluster two, and their Redis.
    pub fn start(self, address: Option<SocketAddr>, over: Over) -> anyhow::Result<Server> {
        let address = address.map_or("127.0.0.1:0".into(), |address| address.to_string());
        let command = || -> anyhow::Result<Command> {
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
            command.args(["--listen", &address]);
            Ok(command)
        };
        let started = match over {
            Over::Redis => Server::start_cluster(command),
            _ => command().and_then(|command| Server::start(command, over)),
        };
        started.with_context(|| format!("cannot start {self}"))
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

/// A running server, and the relay before it if it does not listen on plain TCP.
pub struct Server {
    target: Target,
    /// Certificate or socket.
    file: PathBuf,
    _relay: Option<Running>,
    _server: Running,
    _second: Option<(Running, RedisServer)>,
}

impl Server {
    fn start(mut command: Command, over: Over) -> anyhow::Result<Self> {
        let mut relay = Command::new(programs()?.join("relay"));
        let file = env::temp_dir().join(format!("bench-{}", process::id()));
        match over {
            Over::Tcp | Over::Redis => {}
            Over::Tls => {
                relay.arg("--certificate").arg(&file).arg("--tls");
                command.arg("--tls").arg(&file);
            }
            Over::Unix => {
                relay.arg("--unix");
                command.arg("--unix").arg(&file);
            }
        }
        let server = Running::start(&mut command)?;
        let relay = (over != Over::Tcp).then(|| Running::start(relay.arg(&server.address))).transpose()?;
        let address = &relay.as_ref().unwrap_or(&server).address;
        let address = address.parse().with_context(|| format!("`{address}` is no address"))?;
        let target = Target::alone(address, Some(Process::new(server.child.id())?));
        Ok(Self { target, file, _relay: relay, _server: server, _second: None })
    }

    /// Two processes and the Redis that they share, whose own CPU time is counted for nobody.
    fn start_cluster(command: impl Fn() -> anyhow::Result<Command>) -> anyhow::Result<Self> {
        let redis = RedisServer::start()?;
        let [first, second] = [command()?, command()?];
        let start = |mut command: Command| Running::start(command.args(["--redis", &redis.url()]));
        let (first, second) = (start(first)?, start(second)?);
        let target = Target {
            address: first.address.parse()?,
            process: Some(Process::new(first.child.id())?),
            second: Some((second.address.parse()?, Process::new(second.child.id())?)),
        };
        Ok(Self {
            target,
            file: PathBuf::new(),
            _relay: None,
            _server: first,
            _second: Some((second, redis)),
        })
    }

    /// Where and what to measure.
    pub fn target(&self) -> Target {
        self.target
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // There is none over plain TCP.
        fs::remove_file(&self.file).ok();
    }
}

/// A process that has said where it listens. It ends when this is dropped, or, should we be killed, when its standard
/// input ends.
struct Running {
    child: Child,
    address: String,
    /// Open as long as it writes to it.
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        command.arg("--until-eof").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{:?}", command.get_program()))?;
        let output = BufReader::new(child.stdout.take().context("standard output is piped")?);
        let mut running = Self { child, address: String::new(), output };
        let mut line = String::new();
        running.output.read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ");
        running.address = address.context("it does not say where it listens")?.to_owned();
        Ok(running)
    }
}

impl Drop for Running {
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
