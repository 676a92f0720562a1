//! The commands of this repository: `cargo xtask test`, `ci`, `bench` and `instructions`.
//!
//! The words typed ([`cli`]) choose a task. [`mod@test`] and [`ci`] are lists of steps: programs that [`process`] runs with
//! a time-out, whose output [`counts`] reads, and which [`session`] reports, up to the closing line
//! `N passed, N failed, N skipped`.

mod autobahn;
mod ci;
mod cli;
mod counts;
mod features;
mod fuzz;
mod instructions;
mod licences;
mod needs;
mod page;
mod process;
mod python2;
mod python3;
mod session;
mod spdx;
mod test;
mod valkey;
mod workspace;

use std::{env, os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::Context as _;

use crate::{
    cli::{Options, Task},
    session::Session,
    workspace::Workspace,
};

fn main() -> ExitCode {
    match perform() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform() -> anyhow::Result<ExitCode> {
    match cli::parse(env::args().skip(1))? {
        Task::Help => {
            print!("{}", cli::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Task::Test(options) => run(options, test::test),
        Task::Ci(options) => run(options, ci::ci),
        Task::Instructions => run(Options::default(), instructions::record),
        Task::Bench(arguments) => {
            let mut cargo = workspace::cargo();
            cargo.args(["run", "--release", "--package", "bench", "--"]).args(arguments);
            // Returns only when it cannot become cargo.
            Err(cargo.exec()).context("cannot start cargo")
        }
    }
}

/// Runs a list of steps, up to the closing line.
fn run(options: Options, steps: fn(&Workspace, &mut Session)) -> anyhow::Result<ExitCode> {
    process::end_with_us()?;
    let workspace = Workspace::read()?;
    let mut session = Session::new(options);
    steps(&workspace, &mut session);
    Ok(session.finish())
}
