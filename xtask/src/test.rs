//! `cargo xtask test`: what it needs, one build with one set of features, and the suites: Rust's, the official clients
//! in Node and in Chromium, the page, Autobahn, the fuzz targets.

use std::{fs, path::Path, time::Duration};

use crate::{
    autobahn, fuzz,
    needs::{self, Need},
    page,
    session::{Counting, Session, Step},
    workspace::Workspace,
};

/// The one set of features and targets of everything here: a second set would compile most crates a second time. With
/// the tests' own dependencies, whose features are counted in, the programs are built for the same reason.
const FEATURES: [&str; 2] = ["--workspace", "--all-features"];

const RUST: &str = "cargo test";
const NODE: &str = "e2e in Node";
const BROWSER: &str = "e2e in Chromium";
const PAGE: &str = "page";
const AUTOBAHN: &str = "Autobahn";
const FUZZ: &str = "fuzz";

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// Runs all tests.
pub(crate) fn test(workspace: &Workspace, session: &mut Session) {
    let [rust, node, browser, page, autobahn, fuzz] =
        [RUST, NODE, BROWSER, PAGE, AUTOBAHN, FUZZ].map(|name| session.wants(name));
    let mut missing = Vec::new();
    let mut installed = false;
    if node || browser || page || fuzz {
        missing = needs::provide(session);
    }
    if node || browser || page {
        installed =
            !missing.contains(&Need::Node) && !missing.contains(&Need::Npm) && npm(workspace, session);
    }
    let built = (rust || node || browser || page || autobahn) && build(workspace, session);

    // Why one of the suites cannot be run.
    let obstacle = |chromium: bool| match () {
        () if !built => Some("the build failed"),
        () if missing.contains(&Need::Node) => Some("Node.js is missing"),
        () if missing.contains(&Need::Npm) => Some("npm is missing"),
        () if !installed => Some("its npm packages are missing"),
        () if chromium && missing.contains(&Need::Chromium) => Some("Chromium is missing"),
        () => None,
    };
    if rust {
        match built {
            true => cargo_test(workspace, session),
            false => session.skip(RUST, "the build failed"),
        }
    }
    for (wanted, name, script, chromium) in
        [(node, NODE, "run.mjs", false), (browser, BROWSER, "browser.mjs", true)]
    {
        match obstacle(chromium) {
            _ if !wanted => {}
            Some(why) => session.skip(name, why),
            None => clients(workspace, session, name, script),
        }
    }
    match obstacle(true) {
        _ if !page => {}
        Some(why) => session.skip(PAGE, why),
        None => drop(session.perform(PAGE, |verbose| page::page(workspace, verbose))),
    }
    if autobahn {
        match built {
            true => self::autobahn(workspace, session),
            false => session.skip(AUTOBAHN, "the build failed"),
        }
    }
    if fuzz {
        self::fuzz(workspace, session, missing.contains(&Need::Cxx));
    }
}

/// WebSocket itself, case by case.
fn autobahn(workspace: &Workspace, session: &mut Session) {
    let Some(python) = autobahn::python() else {
        return session.skip(AUTOBAHN, "Python 2.7 with pip is missing (pyenv install 2.7.18)");
    };
    if !autobahn::install(workspace, session, &python) {
        return session.skip(AUTOBAHN, "its packages are missing");
    }
    let in_ci = session.is_strict();
    session.perform(AUTOBAHN, |verbose| autobahn::run(workspace, &python, in_ci, verbose));
}

/// The packages of the lock file in `e2e/`, unless they are there already.
fn npm(workspace: &Workspace, session: &mut Session) -> bool {
    let modified = |file: &Path| fs::metadata(file).and_then(|file| file.modified()).ok();
    let installed = modified(&workspace.path("e2e/node_modules/.package-lock.json"));
    if installed.is_some() && installed > modified(&workspace.path("e2e/package-lock.json")) {
        return true;
    }
    let mut command = workspace.command("npm", "e2e");
    command.arg("ci");
    let (limit, counting) = (minutes(10), Counting::Setup);
    session.step(Step { name: "npm packages", commands: vec![command], limit, counting })
}

/// What must hold for any bytes: a workspace of its own, compiled in its own way.
fn fuzz(workspace: &Workspace, session: &mut Session, no_compiler: bool) {
    if no_compiler {
        return session.skip(FUZZ, "a C++ compiler is missing");
    }
    let Some(cargo_fuzz) = fuzz::provide(workspace, session) else {
        return session.skip(FUZZ, "cargo-fuzz is missing");
    };
    if !fuzz::build(workspace, session, &cargo_fuzz) {
        return session.skip(FUZZ, "the build of its targets failed");
    }
    let in_ci = session.is_strict();
    session.perform(FUZZ, |verbose| fuzz::run(workspace, &cargo_fuzz, in_ci, verbose));
}

/// All tests and programs.
fn build(workspace: &Workspace, session: &mut Session) -> bool {
    let command = workspace.cargo(&[&["build", "--all-targets", "--keep-going"], &FEATURES[..]].concat());
    let (limit, counting) = (minutes(30), Counting::Setup);
    session.step(Step { name: "build", commands: vec![command], limit, counting })
}

fn cargo_test(workspace: &Workspace, session: &mut Session) {
    let command = workspace.cargo(&[&["test", "--no-fail-fast"], &FEATURES[..]].concat());
    let (limit, counting) = (minutes(20), Counting::CargoTest);
    session.step(Step { name: RUST, commands: vec![command], limit, counting });
}

/// The official clients against the application of `e2e/src`.
fn clients(workspace: &Workspace, session: &mut Session, name: &'static str, script: &str) {
    // The script hands it to a shell.
    let server = format!("'{}'", workspace.program("e2e").display().to_string().replace('\'', r"'\''"));
    let mut command = workspace.command("node", "e2e");
    command.args([script, "--server", &server]);
    let (limit, counting) = (minutes(10), Counting::Script);
    session.step(Step { name, commands: vec![command], limit, counting });
}
