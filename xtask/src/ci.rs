//! `cargo xtask ci`: the checks that need no run of anything (format, licences, clippy, documents, combinations of
//! features), then [`mod@crate::test`]. Every check counts as one test.

use std::{process::Command, time::Duration};

use crate::{
    counts::Counts,
    features::combinations,
    licences,
    session::{Counting, Outcome, Session, Step},
    test,
    workspace::{Package, Workspace},
};

const LIMIT: Duration = Duration::from_secs(1800);

/// Runs all checks and all tests.
pub(crate) fn ci(workspace: &Workspace, session: &mut Session) {
    if session.wants("fmt") {
        check(session, "fmt", vec![workspace.cargo(&["fmt", "--all", "--check", "--", "--color", "never"])]);
    }
    if session.wants("licences") {
        session.perform("licences", |_| objections(workspace));
    }
    if session.wants("clippy") {
        let clippy = |features: &[&str]| {
            let words: [&[&str]; 3] = [
                &["clippy", "--workspace", "--all-targets", "--keep-going"],
                features,
                &["--", "-D", "warnings"],
            ];
            workspace.cargo(&words.concat())
        };
        check(session, "clippy", vec![clippy(&[]), clippy(&["--all-features"])]);
    }
    if session.wants("documents") {
        let mut command =
            workspace.cargo(&["doc", "--no-deps", "--workspace", "--all-features", "--keep-going"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        check(session, "documents", vec![command]);
    }
    if session.wants("features") {
        let commands = workspace.members().flat_map(|package| each_combination(workspace, package)).collect();
        check(session, "features", commands);
    }
    test::test(workspace, session);
}

fn check(session: &mut Session, name: &'static str, commands: Vec<Command>) {
    session.step(Step { name, commands, limit: LIMIT, counting: Counting::One });
}

fn objections(workspace: &Workspace) -> Outcome {
    match licences::objections(workspace) {
        Err(error) => Outcome::failed(String::new(), format!("{error:#}")),
        Ok(found) if found.is_empty() => Outcome { counts: Counts::PASSED, ..Outcome::default() },
        Ok(found) => Outcome::failed(found.join("\n"), "packages that deny.toml does not allow".into()),
    }
}

/// Clippy on a package by itself, so that no other package turns its features on. Clippy in place of `cargo check`: it
/// can deny warnings without compiling the dependencies anew.
fn each_combination(workspace: &Workspace, package: &Package) -> Vec<Command> {
    let command = |features: Vec<&str>| {
        let features = features.join(",");
        let words = ["clippy", "--package", &package.name, "--no-default-features", "--features", &features];
        workspace.cargo(&[&words[..], &["--", "-D", "warnings"]].concat())
    };
    combinations(&package.features).into_iter().map(command).collect()
}
