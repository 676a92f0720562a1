//! `cargo xtask test`: a list of suites, and what they need: programs, npm packages, and one build with one set of
//! features.

use std::{fs, process::Command, time::Duration};

use crate::{
    autobahn, fuzz, instructions,
    needs::{self, Need},
    page,
    python2::Python2,
    python3::Python3,
    session::{Counting, Session, Step},
    valkey,
    workspace::Workspace,
};

/// The one set of features and targets of everything here: a second set would compile most crates a second time. With
/// the tests' own dependencies, whose features are counted in, the programs are built for the same reason.
const FEATURES: [&str; 2] = ["--workspace", "--all-features"];

/// Tests that are run together, as one step or a few.
struct Suite {
    name: &'static str,
    needs: &'static [Need],
    /// Whether it needs what [`build`] builds.
    needs_build: bool,
    run: fn(&'static str, &Workspace, &mut Session),
}

/// What the scripts of `e2e` need. Their packages come with npm.
const SCRIPT: &[Need] = &[Need::Node, Need::Npm];
const BROWSER: &[Need] = &[Need::Node, Need::Npm, Need::Chromium];

const fn suite(
    name: &'static str,
    needs: &'static [Need],
    run: fn(&'static str, &Workspace, &mut Session),
) -> Suite {
    Suite { name, needs, needs_build: true, run }
}

const SUITES: [Suite; 16] = [
    suite("cargo test", &[Need::Redis], cargo_test),
    suite("e2e in Node", SCRIPT, |name, workspace, session| e2e(name, "run.mjs", workspace, session)),
    suite("mixed clusters", &[Need::Node, Need::Npm, Need::Redis], clusters),
    suite("Valkey", &[Need::Redis], valkey),
    suite("standalone server", &[Need::Node, Need::Npm, Need::Redis], |name, workspace, session| {
        let program = workspace.program("patio").display().to_string();
        node(name, "standalone/run.mjs", &program, workspace, session);
    }),
    suite("API document", &[Need::Node, Need::Npm, Need::Redis], api_document),
    suite("example backends", SCRIPT, backends),
    suite("e2e in Chromium", BROWSER, |name, workspace, session| {
        e2e(name, "browser.mjs", workspace, session)
    }),
    suite("page", BROWSER, |name, workspace, session| {
        session.perform(name, |verbose| page::page(workspace, verbose));
    }),
    suite("differential", SCRIPT, |name, workspace, session| {
        e2e(name, "differential/run.mjs", workspace, session);
    }),
    suite("conversations", SCRIPT, |name, workspace, session| {
        e2e(name, "conversations/run.mjs", workspace, session);
    }),
    suite("timers", SCRIPT, |name, workspace, session| {
        e2e(name, "differential/timers.mjs", workspace, session);
    }),
    Suite { needs_build: false, ..suite("soak", &[], soak) },
    suite("Autobahn", &[], autobahn),
    Suite { needs_build: false, ..suite("instructions", &[Need::Valgrind], instructions::suite) },
    Suite { needs_build: false, ..suite("fuzz", &[Need::Cxx], fuzz) },
];

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// Runs all tests.
pub(crate) fn test(workspace: &Workspace, session: &mut Session) {
    let wanted: Vec<&Suite> = SUITES.iter().filter(|suite| session.wants(suite.name)).collect();
    let needs: Vec<Need> = wanted.iter().flat_map(|suite| suite.needs).copied().collect();
    let missing = needs::provide(session, &needs);
    let has_npm = !needs.contains(&Need::Npm)
        || (!missing.contains(&Need::Node) && !missing.contains(&Need::Npm) && npm(workspace, session));
    let is_built = !wanted.iter().any(|suite| suite.needs_build) || build(workspace, session);
    for Suite { name, needs, needs_build, run } in wanted {
        match needs.iter().find(|need| missing.contains(need)) {
            _ if *needs_build && !is_built => session.skip(name, "the build failed"),
            Some(need) => session.skip(name, &format!("{need} is missing")),
            None if needs.contains(&Need::Npm) && !has_npm => {
                session.skip(name, "its npm packages are missing")
            }
            None => run(name, workspace, session),
        }
    }
}

/// The packages of the lock file in `e2e/`.
fn npm(workspace: &Workspace, session: &mut Session) -> bool {
    packages_of("npm packages", "e2e", workspace, session)
}

/// The packages of the lock file in a folder, unless they are there already.
fn packages_of(name: &'static str, folder: &str, workspace: &Workspace, session: &mut Session) -> bool {
    let modified = |file: &str| {
        let file = workspace.path(folder).join(file);
        fs::metadata(file).and_then(|file| file.modified()).ok()
    };
    let installed = modified("node_modules/.package-lock.json");
    if installed.is_some() && installed > modified("package-lock.json") {
        return true;
    }
    let mut command = workspace.command("npm", folder);
    command.arg("ci");
    let (limit, counting) = (minutes(10), Counting::Setup);
    session.step(Step { name, commands: vec![command], limit, counting })
}

/// All tests and programs.
fn build(workspace: &Workspace, session: &mut Session) -> bool {
    let command = workspace.cargo(&[&["build", "--all-targets", "--keep-going"], &FEATURES[..]].concat());
    let (limit, counting) = (minutes(30), Counting::Setup);
    session.step(Step { name: "build", commands: vec![command], limit, counting })
}

fn cargo_test(name: &'static str, workspace: &Workspace, session: &mut Session) {
    let command = workspace.cargo(&[&["test", "--no-fail-fast"], &FEATURES[..]].concat());
    let (limit, counting) = (minutes(20), Counting::CargoTest);
    session.step(Step { name, commands: vec![command], limit, counting });
}

/// The tests of clusters on the other server that speaks Redis' protocol.
fn valkey(name: &'static str, workspace: &Workspace, session: &mut Session) {
    let Some(program) = valkey::provide(workspace, session) else {
        return session.skip(name, "its package is missing");
    };
    // All packages, for the features with which they are built already. That program knows no TLS: `connections` is not here.
    const TESTS: [&str; 10] =
        ["--test", "contract", "--test", "outage", "--test", "faults", "--test", "newer", "--test", "exact"];
    let mut command = workspace.cargo(&[&["test", "--no-fail-fast"], &FEATURES[..], &TESTS].concat());
    command.env("PATIO_REDIS_SERVER", program);
    let (limit, counting) = (minutes(20), Counting::CargoTest);
    session.step(Step { name, commands: vec![command], limit, counting });
}

/// A script against the application of `e2e/src`.
fn e2e(name: &'static str, script: &str, workspace: &Workspace, session: &mut Session) {
    // The script hands it to a shell.
    let server = format!("'{}'", workspace.program("e2e").display().to_string().replace('\'', r"'\''"));
    node(name, script, &server, workspace, session);
}

/// Clusters of Node's servers and the program of `e2e/src/bin/cluster_node`, and emitters of other languages.
fn clusters(name: &'static str, workspace: &Workspace, session: &mut Session) {
    let list = workspace.path("e2e/cluster/requirements.txt");
    let emitter = "Python's emitter";
    let mut command =
        script("cluster/run.mjs", &workspace.program("cluster_node").display().to_string(), workspace);
    match Python2::provide(emitter, &list, "python-emitter", workspace, session) {
        Ok(python) => {
            let (variable, value) = python.environment();
            command.env(variable, value).arg("--python").arg(python.program());
        }
        Err(why) => session.skip(emitter, why),
    }
    let (limit, counting) = (minutes(10), Counting::Script);
    session.step(Step { name, commands: vec![command], limit, counting });
}

/// The API of the standalone server against its own document.
fn api_document(name: &'static str, workspace: &Workspace, session: &mut Session) {
    const PACKAGE: &str = "schemathesis==4.32.5";
    let Some(python) =
        Python3::provide("Schemathesis", &[PACKAGE], PACKAGE, "schemathesis", workspace, session)
    else {
        return session.skip(name, "Python 3 with pip is missing, or the package is");
    };
    let mut command =
        script("standalone/openapi.mjs", &workspace.program("patio").display().to_string(), workspace);
    command.env("PYTHONPATH", &python.packages).args(["--python", python.program]);
    let (limit, counting) = (minutes(5), Counting::Script);
    session.step(Step { name, commands: vec![command], limit, counting });
}

/// The backends of `examples/backends`, with the server that they are for.
fn backends(name: &'static str, workspace: &Workspace, session: &mut Session) {
    let folder = "examples/backends/express";
    if !packages_of("Express", folder, workspace, session) {
        return session.skip(name, "the packages of Express are missing");
    }
    let mut command =
        script("standalone/backends.mjs", &workspace.program("patio").display().to_string(), workspace);
    let list = workspace.path("examples/backends/fastapi/requirements.txt");
    match Python3::provide_list("FastAPI", &list, "fastapi", workspace, session) {
        Some(python) => {
            command.env("PYTHONPATH", &python.packages).args(["--python", python.program]);
        }
        None => session.skip("FastAPI", "Python 3 with pip is missing, or its packages are"),
    }
    let (limit, counting) = (minutes(5), Counting::Script);
    session.step(Step { name, commands: vec![command], limit, counting });
}

/// A script of `e2e` against a program.
fn script(script: &str, server: &str, workspace: &Workspace) -> Command {
    let mut command = workspace.command("node", "e2e");
    command.args([script, "--server", server]);
    command
}

fn node(name: &'static str, script: &str, server: &str, workspace: &Workspace, session: &mut Session) {
    let command = self::script(script, server, workspace);
    let (limit, counting) = (minutes(10), Counting::Script);
    session.step(Step { name, commands: vec![command], limit, counting });
}

/// What is left of 100,000 clients. Its profile runs four times as fast as that of the other tests.
fn soak(name: &'static str, workspace: &Workspace, session: &mut Session) {
    const SOAK: [&str; 7] = ["--profile", "soak", "--package", "e2e", "--bin", "soak", "--all-features"];
    let command = workspace.cargo(&[&["build"], &SOAK[..]].concat());
    let (limit, counting) = (minutes(30), Counting::Setup);
    if !session.step(Step { name: "build of the soak", commands: vec![command], limit, counting }) {
        return session.skip(name, "the build failed");
    }
    let command = workspace.cargo(&[&["run"], &SOAK[..]].concat());
    let (limit, counting) = (minutes(20), Counting::Script);
    session.step(Step { name, commands: vec![command], limit, counting });
}

/// WebSocket itself, case by case.
fn autobahn(name: &'static str, workspace: &Workspace, session: &mut Session) {
    let python = match autobahn::provide(workspace, session) {
        Ok(python) => python,
        Err(why) => return session.skip(name, why),
    };
    let in_ci = session.is_strict();
    session.perform(name, |verbose| autobahn::run(workspace, &python, in_ci, verbose));
}

/// What must hold for any bytes: a workspace of its own, compiled in its own way.
fn fuzz(name: &'static str, workspace: &Workspace, session: &mut Session) {
    let Some(cargo_fuzz) = fuzz::provide(workspace, session) else {
        return session.skip(name, "cargo-fuzz is missing");
    };
    if !fuzz::build(workspace, session, &cargo_fuzz) {
        return session.skip(name, "the build of its targets failed");
    }
    let in_ci = session.is_strict();
    session.perform(name, |verbose| fuzz::run(workspace, &cargo_fuzz, in_ci, verbose));
}
