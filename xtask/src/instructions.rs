//! How many instructions the server's hot paths take, held against what was recorded: slower code is found where times
//! would tell nothing, on a machine that does something else too.
//!
//! Valgrind's callgrind counts what `hot_paths` of `bench` executes: its own code, the server's and their libraries', not
//! what the kernel does for them. N and 2 N iterations are counted, and the difference divided by N: start-up cancels.
//! `bench/instructions.toml` has the numbers, and how far from them is far.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use crate::{
    counts::Counts,
    needs::{self, Need},
    session::{Counting, Outcome, Session, Step, one_command},
    workspace::{Workspace, clean},
};

/// A path that `hot_paths` knows by this name.
struct Path {
    name: &'static str,
    /// How many iterations: about a second under callgrind.
    times: u64,
    /// What an iteration counts as: a broadcast has 100 receivers.
    units: u64,
}

const PATHS: [Path; 7] = [
    Path { name: "frame", times: 20_000, units: 1 },
    Path { name: "parse", times: 20_000, units: 1 },
    Path { name: "dispatch", times: 2_000, units: 1 },
    Path { name: "ack", times: 2_000, units: 1 },
    Path { name: "broadcast", times: 100, units: 100 },
    Path { name: "broadcast_long", times: 50, units: 100 },
    Path { name: "connect", times: 100, units: 1 },
];

/// Where the numbers are.
const FILE: &str = "bench/instructions.toml";

/// What [`FILE`] begins with, and what it says of the tolerance.
const HEADER: &str = "\
# Instructions in user space that the server's hot paths take, for each event, receiver or connection; what they do stands
# in bench/src/bin/hot_paths.rs. `cargo xtask test` counts them again, `cargo xtask instructions` writes this file.
";
const TOLERANCE: &str = "\
# The tolerance is in percent. Counted again the numbers differ by less than 0.3 of them, whatever else the machine does;
# the rest is for what the compiler inlines elsewhere when code beside the path changes. In a broadcast, where a receiver
# takes few instructions, that was 5.6.
";

/// How many tolerances are allowed with another compiler than that of [`FILE`]: two releases later it was 2.1 percent.
const OTHER_COMPILER: f64 = 2.0;

/// For one count, on a slow machine.
const LIMIT: Duration = Duration::from_secs(300);
const TO_BUILD: Duration = Duration::from_secs(1800);

/// Counting takes one thread.
const AT_ONCE: usize = 2;

/// What is in [`FILE`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// The first line of `rustc -vV`, and its `host`.
    compiler: String,
    host: String,
    paths: BTreeMap<String, Figure>,
}

/// What is recorded of a path.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figure {
    instructions: u64,
    /// How far from it is too far, in percent.
    tolerance: f64,
}

/// The tolerance of a path that is new.
const NEW: f64 = 3.0;

/// Counts them and compares.
pub(crate) fn suite(name: &'static str, workspace: &Workspace, session: &mut Session) {
    let read = || anyhow::Ok((Recorded::read(workspace)?, compiler()?));
    let (recorded, (compiler, host)) = match read() {
        Ok(read) => read,
        Err(error) => {
            session.perform(name, |_| Outcome::failed(String::new(), format!("{error:#}")));
            return;
        }
    };
    if host != recorded.host {
        return session.skip(name, &format!("{FILE} is for {}, this is {host}", recorded.host));
    }
    if !build(workspace, session) {
        return session.skip(name, "the build failed");
    }
    session.perform(name, |verbose| {
        Outcome::of_all(&PATHS, AT_ONCE, |path| {
            let found = count(workspace, path, verbose)?;
            Ok(recorded.judge(path.name, found, &compiler, verbose))
        })
    });
}

/// Counts them and writes them down.
pub(crate) fn record(workspace: &Workspace, session: &mut Session) {
    const NAME: &str = "instructions";
    if needs::provide(session, &[Need::Valgrind]).contains(&Need::Valgrind) {
        return session.skip(NAME, "Valgrind is missing");
    }
    if !build(workspace, session) {
        return session.skip(NAME, "the build failed");
    }
    session.perform(NAME, |verbose| {
        write_down(workspace, verbose)
            .unwrap_or_else(|error| Outcome::failed(String::new(), format!("{error:#}")))
    });
}

fn write_down(workspace: &Workspace, verbose: bool) -> anyhow::Result<Outcome> {
    let before = Recorded::read(workspace)?;
    let (compiler, host) = compiler()?;
    let mut paths = BTreeMap::new();
    for path in &PATHS {
        let instructions = count(workspace, path, verbose)?;
        let recorded = before.paths.get(path.name);
        let change = recorded
            .map_or_else(|| "new".into(), |before| format!("{:+.1} %", before.percent_more(instructions)));
        println!("   {:16} {instructions:>7}  {change}", path.name);
        let tolerance = recorded.map_or(NEW, |before| before.tolerance);
        paths.insert(path.name.into(), Figure { instructions, tolerance });
    }
    let text = Recorded { compiler, host, paths }.text();
    fs::write(workspace.path(FILE), text).with_context(|| format!("cannot write {FILE}"))?;
    Ok(Outcome { counts: Counts { passed: PATHS.len() as u64, ..Counts::default() }, ..Outcome::default() })
}

impl Recorded {
    fn read(workspace: &Workspace) -> anyhow::Result<Self> {
        let text = fs::read_to_string(workspace.path(FILE)).with_context(|| format!("cannot read {FILE}"))?;
        toml::from_str(&text).with_context(|| format!("{FILE} is not what it was"))
    }

    /// As it stands in the file.
    fn text(&self) -> String {
        let line = |(path, Figure { instructions, tolerance }): (&String, &Figure)| {
            format!("{path} = {{ instructions = {instructions}, tolerance = {tolerance:?} }}\n")
        };
        let paths: String = self.paths.iter().map(line).collect();
        let Self { compiler, host, .. } = self;
        format!("{HEADER}\ncompiler = {compiler:?}\nhost = {host:?}\n\n{TOLERANCE}[paths]\n{paths}")
    }

    /// Whether a path is as it was.
    fn judge(&self, name: &str, found: u64, compiler: &str, verbose: bool) -> Outcome {
        let record = "`cargo xtask instructions` records it";
        let Some(figure) = self.paths.get(name) else {
            return Outcome::failed(
                format!("FAILED {name}: {found} instructions\n"),
                format!("{name} is not in {FILE}; {record}"),
            );
        };
        let percent = figure.percent_more(found);
        let other = compiler != self.compiler;
        let tolerance = figure.tolerance * if other { OTHER_COMPILER } else { 1.0 };
        let line = format!(
            "{name}: recorded {}, found {found} instructions: {percent:+.1} % (tolerance {tolerance} %)",
            figure.instructions
        );
        if verbose {
            println!("   {line}");
        }
        if percent.abs() <= tolerance {
            return Outcome { counts: Counts::PASSED, ..Outcome::default() };
        }
        let wish = if percent < 0.0 { "that is good" } else { "if it is worth it" };
        let mut remark = format!("{wish}, {record}");
        if other {
            remark += &format!("; recorded with {}, this is {compiler}", self.compiler);
        }
        Outcome::failed(format!("FAILED {line}; {remark}\n"), format!("{line}; {remark}"))
    }
}

impl Figure {
    /// By how much `found` is more.
    fn percent_more(self, found: u64) -> f64 {
        (found as f64 / self.instructions as f64 - 1.0) * 100.0
    }
}

/// The program, as the benchmark's are built.
fn build(workspace: &Workspace, session: &mut Session) -> bool {
    let command = workspace.cargo(&["build", "--release", "--package", "bench", "--bin", "hot_paths"]);
    let (commands, limit, counting) = (vec![command], TO_BUILD, Counting::Setup);
    session.step(Step { name: "build of the hot paths", commands, limit, counting })
}

/// The instructions of one unit of a path.
fn count(workspace: &Workspace, path: &Path, verbose: bool) -> anyhow::Result<u64> {
    let once = collected(workspace, path.name, path.times, verbose)?;
    let twice = collected(workspace, path.name, 2 * path.times, verbose)?;
    let more = twice.checked_sub(once).context("twice as much takes less")?;
    let units = path.times * path.units;
    Ok((more + units / 2) / units)
}

/// The instructions of a whole run. Where they are stays in a file for `callgrind_annotate`.
fn collected(workspace: &Workspace, name: &str, times: u64, verbose: bool) -> anyhow::Result<u64> {
    let folder = workspace.target("instructions");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let out: PathBuf = folder.join(format!("callgrind.out.{name}"));
    let mut command = workspace.command("valgrind", ".");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(workspace.target("release/hot_paths")).arg(name).arg(times.to_string());
    let Outcome { output, trouble, .. } = one_command(command, LIMIT, Counting::Setup, verbose);
    if let Some(trouble) = trouble {
        bail!("{trouble}\n{output}");
    }
    total(&output).with_context(|| format!("valgrind counted nothing:\n{output}"))
}

/// `==1234== Collected : 53352876`
fn total(output: &str) -> Option<u64> {
    output.lines().find_map(|line| line.split_once("== Collected : ")?.1.trim().parse().ok())
}

/// The compiler that cargo calls: version and host.
fn compiler() -> anyhow::Result<(String, String)> {
    let mut command = clean(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())));
    let answer = command.arg("-vV").stdin(Stdio::null()).output().context("cannot start rustc")?;
    ensure!(answer.status.success(), "rustc -vV failed");
    let text = String::from_utf8(answer.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc has no host")?;
    Ok((text.lines().next().unwrap_or_default().to_owned(), host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Recorded {
        let figure = Figure { instructions: 1_000, tolerance: 3.0 };
        let paths = [("ack".into(), figure)].into();
        Recorded { compiler: "rustc 1.0".into(), host: "pdp11".into(), paths }
    }

    fn judge(name: &str, found: u64, compiler: &str) -> Result<(), String> {
        recorded().judge(name, found, compiler, false).trouble.map_or(Ok(()), Err)
    }

    #[test]
    fn the_file_has_every_path_and_is_as_it_is_written() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FILE);
        let text = fs::read_to_string(file).unwrap();
        let recorded: Recorded = toml::from_str(&text).unwrap();
        assert_eq!(recorded.text(), text);
        assert!(PATHS.iter().all(|path| recorded.paths.contains_key(path.name)));
        assert_eq!(recorded.paths.len(), PATHS.len());
    }

    #[test]
    fn a_change_in_either_direction_is_trouble() {
        for found in [971, 1_000, 1_029] {
            assert_eq!(judge("ack", found, "rustc 1.0"), Ok(()), "{found}");
        }
        let slower = judge("ack", 1_031, "rustc 1.0").unwrap_err();
        assert!(slower.starts_with("ack: recorded 1000, found 1031 instructions: +3.1 % (tol"), "{slower}");
        let faster = judge("ack", 800, "rustc 1.0").unwrap_err();
        assert!(
            faster.contains("-20.0 %") && faster.contains("that is good, `cargo xtask instr"),
            "{faster}"
        );
        assert!(judge("frame", 1_000, "rustc 1.0").is_err(), "it is not recorded");
    }

    #[test]
    fn another_compiler_may_do_more() {
        assert_eq!(judge("ack", 1_050, "rustc 1.1"), Ok(()));
        let slower = judge("ack", 1_070, "rustc 1.1").unwrap_err();
        assert!(slower.ends_with("; recorded with rustc 1.0, this is rustc 1.1"), "{slower}");
    }

    #[test]
    fn the_total_is_in_valgrinds_output() {
        let output =
            "==8== Events    : Ir\n==8== Collected : 53352876\n==8== \n==8== I   refs:      53,352,876\n";
        assert_eq!(total(output), Some(53_352_876));
        assert_eq!(total("valgrind: hot_paths: command not found"), None);
    }
}
