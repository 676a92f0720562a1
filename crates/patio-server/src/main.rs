//! The binary `patio`: a Socket.IO server for a backend in any language.
//!
//! The command line ([`cli`]) says what to do, the configuration ([`config`]) how, and [`run`] does it: it binds the
//! listeners and joins what clients see ([`clients`] and, through [`hooks`], their backend; or the chat page of [`page`] and [`chat`]) with what backends use
//! ([`api`], [`health`], [`metrics`]). What backends ask for is done by [`ops`]. Errors end here, on standard error and with an exit
//! status.

mod api;
mod ask;
mod auth;
mod chat;
mod cli;
mod clients;
mod config;
mod expiry;
mod health;
mod hooks;
mod metrics;
mod ops;
mod origins;
mod page;
mod proxies;
mod rules;
mod run;

use std::process::ExitCode;

use anyhow::Context;
use cli::Task;
use config::{Config, Sources};
use serde_json::Value as Json;

/// Exit status: what was typed means nothing (`EX_USAGE`).
const WRONG_USAGE: i32 = 64;

/// Exit status: the configuration is wrong (`EX_CONFIG`).
const WRONG_CONFIGURATION: u8 = 78;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::task() {
        Task::Serve(sources) => with_config(sources, async |config| run::serve(config).await).await,
        Task::Check(sources) => {
            let check = async |config: Config| {
                config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
                println!("ok");
                Ok(())
            };
            with_config(sources, check).await
        }
        Task::Ask(sources, question) => {
            with_config(sources, async |config| ask::ask(&config, question).await).await
        }
        Task::Token(sources, claims) => {
            with_config(sources, async |config| {
                println!("{}", token(&config, claims)?);
                Ok(())
            })
            .await
        }
        Task::Config => {
            print!("{}", config::commented_default());
            ExitCode::SUCCESS
        }
    }
}

/// A token that says this, and what the configuration asks of tokens.
fn token(config: &Config, mut claims: Json) -> anyhow::Result<String> {
    let tokens = config.tokens.as_ref().context("the configuration has no keys for tokens: see auth.jwt")?;
    let secret = tokens
        .signing()
        .context("the configuration has only public keys: whoever has the private one signs")?;
    for (claim, value) in tokens.required() {
        claims[claim] = value.as_str().into();
    }
    Ok(auth::tokens::sign(&secret, &claims))
}

async fn with_config(sources: Sources, work: impl AsyncFnOnce(Config) -> anyhow::Result<()>) -> ExitCode {
    let config = match Config::read(sources) {
        Ok(config) => config,
        Err(invalid) => {
            invalid.lines().for_each(|line| eprintln!("patio: {line}"));
            return ExitCode::from(WRONG_CONFIGURATION);
        }
    };
    match work(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("patio: {error:#}");
            ExitCode::FAILURE
        }
    }
}
