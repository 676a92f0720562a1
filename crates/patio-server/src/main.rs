//! The binary `patio`: a Socket.IO server with a chat page, to be started and used.
//!
//! The command line ([`cli`]) says what to do, [`run`] does it: it binds the listener and joins the page ([`page`])
//! with the Socket.IO server ([`chat`]). Errors end here, as one line on standard error and exit status 1.

mod api;
mod auth;
mod chat;
mod cli;
mod expiry;
mod ops;
mod page;
mod run;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command() {
        Command::Serve(options) => run::serve(options).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("patio: {error:#}");
            ExitCode::FAILURE
        }
    }
}
