//! The fuzz targets of `fuzz/`, each for a short time: brings cargo-fuzz, builds them once, runs two at a time.
//!
//! A target first takes the committed corpus, then what libFuzzer makes of it. What that finds new is kept below the
//! target directory until the next run; a finding stands in `fuzz/artifacts`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    needs,
    session::{Counting, Outcome, Session, Step, one_command},
    workspace::{Workspace, clean},
};

/// The version of cargo-fuzz that is installed where there is none.
const VERSION: &str = "0.13.2";

const TO_INSTALL: Duration = Duration::from_secs(900);
const TO_BUILD: Duration = Duration::from_secs(1800);

/// How long each target runs, in seconds. Findings of these times are mistakes of today; long runs are made by hand.
const TIME: u64 = 10;
const TIME_IN_CI: u64 = 60;

/// What a target may take besides: its corpus, and the last input.
const MARGIN: Duration = Duration::from_secs(180);

/// Seconds for one input; then it hangs.
const HANGS: u64 = 60;

/// As many as the machines of CI have cores.
const AT_ONCE: usize = 2;

/// cargo-fuzz: the user's, or else one of our own below the target directory. Nothing if it cannot be installed.
pub(crate) fn provide(workspace: &Workspace, session: &mut Session) -> Option<PathBuf> {
    if let Some(theirs) = needs::find("cargo-fuzz") {
        return Some(theirs);
    }
    let root = workspace.target("tools");
    let ours = root.join("bin/cargo-fuzz");
    if ours.exists() {
        return Some(ours);
    }
    // It only starts other programs: optimized it would take longer to compile and run no faster.
    let mut command =
        workspace.cargo(&["install", "cargo-fuzz", "--locked", "--debug", "--version", VERSION]);
    command.arg("--root").arg(root).arg("--target-dir").arg(workspace.target("tools-build"));
    let (commands, limit, counting) = (vec![command], TO_INSTALL, Counting::Setup);
    session.step(Step { name: "cargo-fuzz", commands, limit, counting }).then_some(ours)
}

/// All targets, with coverage and debug assertions, without a sanitizer: this is what the stable toolchain can do.
pub(crate) fn build(workspace: &Workspace, session: &mut Session, cargo_fuzz: &Path) -> bool {
    let commands = vec![cargo_fuzz_with(workspace, cargo_fuzz, "build")];
    let (limit, counting) = (TO_BUILD, Counting::Setup);
    session.step(Step { name: "fuzz targets", commands, limit, counting })
}

/// Runs all targets; each counts as one test.
pub(crate) fn run(workspace: &Workspace, cargo_fuzz: &Path, in_ci: bool, verbose: bool) -> Outcome {
    let time = if in_ci { TIME_IN_CI } else { TIME };
    let targets = match targets(workspace) {
        Ok(targets) => targets,
        Err(error) => return Outcome::failed(String::new(), format!("{error:#}")),
    };
    Outcome::of_all(&targets, AT_ONCE, |target| one_target(workspace, cargo_fuzz, target, time, verbose))
}

/// The names of all targets. There is one file for each.
fn targets(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let folder = workspace.path("fuzz/fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let name = |file: fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(".rs")?.to_owned());
    let mut targets: Vec<_> = files.filter_map(|file| name(file.ok()?)).collect();
    anyhow::ensure!(!targets.is_empty(), "there is no target in {}", folder.display());
    targets.sort_unstable();
    Ok(targets)
}

fn one_target(
    workspace: &Workspace,
    cargo_fuzz: &Path,
    target: &str,
    time: u64,
    verbose: bool,
) -> anyhow::Result<Outcome> {
    // libFuzzer writes into the first folder. It is empty at the beginning: each run would take longer otherwise.
    let new = workspace.target("fuzz").join(target);
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new).with_context(|| format!("cannot make {}", new.display()))?;
    let corpus = workspace.path("fuzz/corpus").join(target);
    anyhow::ensure!(corpus.is_dir(), "it has no corpus");
    let mut command = cargo_fuzz_with(workspace, cargo_fuzz, "run");
    command.arg(target).args([new, corpus]).arg("--");
    command.args([format!("-max_total_time={time}"), format!("-timeout={HANGS}")]);
    if let Some(dictionary) = dictionary(target) {
        let file = workspace.path("fuzz/dictionaries").join(dictionary);
        command.arg(format!("-dict={}", file.display()));
    }
    let limit = Duration::from_secs(time) + MARGIN;
    let mut outcome = one_command(command, limit, Counting::One, verbose);
    if outcome.trouble.is_some()
        && let Some(input) = finding(&outcome.output)
    {
        let root = workspace.path("");
        let [input, built] = [Path::new(input), &built(workspace)]
            .map(|path| path.strip_prefix(&root).unwrap_or(path).display().to_string());
        let again = format!("cargo fuzz run -s none --target-dir {built} {target} {input}");
        outcome.output += &format!("\nFAILED {target}: {again}\n");
        outcome.trouble = Some(format!("{target} found {input}"));
    }
    Ok(outcome)
}

/// The words that a target's inputs are made of.
fn dictionary(target: &str) -> Option<&'static str> {
    match target {
        "server" => Some("server.dict"),
        "packets_json" | "payloads" => Some("socketio.dict"),
        _ => None,
    }
}

/// The file with the input that libFuzzer complains about.
fn finding(output: &str) -> Option<&str> {
    output.lines().find_map(|line| Some(line.split_once("Test unit written to ")?.1.trim()))
}

/// A subcommand of cargo-fuzz, for targets built in one way in one place.
fn cargo_fuzz_with(workspace: &Workspace, cargo_fuzz: &Path, subcommand: &str) -> Command {
    let mut command = clean(workspace.command(cargo_fuzz, "."));
    command.args([subcommand, "--sanitizer", "none", "--target-dir"]).arg(built(workspace));
    command
}

fn built(workspace: &Workspace) -> PathBuf {
    workspace.target("fuzz-build")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_file() {
        let output = "==1== ERROR: libFuzzer: deadly signal\nartifact_prefix='/a/'; \
                      Test unit written to /a/crash-01\nBase64: AA==\n";
        assert_eq!(finding(output), Some("/a/crash-01"));
        assert_eq!(finding("error: could not compile"), None);
    }

    #[test]
    fn every_target_has_a_corpus_and_dictionaries_are_there() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        for file in fs::read_dir(fuzz.join("fuzz_targets")).unwrap() {
            let file = file.unwrap().path();
            let target = file.file_stem().unwrap().to_str().unwrap();
            assert!(fs::read_dir(fuzz.join("corpus").join(target)).unwrap().next().is_some(), "{target}");
            if let Some(dictionary) = dictionary(target) {
                assert!(fuzz.join("dictionaries").join(dictionary).exists(), "{dictionary}");
            }
        }
    }
}
