//! The load generator alone: one or more scenarios against a server that already runs.
//!
//! `load 127.0.0.1:3000 --pid 4711 broadcast:1000x8 ack:100x1`

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use bench::{
    process::{Process, raise_file_limit},
    run::{Effort, Host, Target, round},
    scenario::{ALL, Over, Scenario},
};
use clap::Parser;

/// Drives a Socket.IO server that speaks the benchmark's application protocol, as `patio_app.rs` shows it.
#[derive(Parser)]
struct Cli {
    /// Where the server listens.
    server: SocketAddr,
    /// Scenarios such as connect:2000, idle:10000, broadcast:1000x8@128/1 (receivers x in flight @ bytes / senders),
    /// ack:50x16; all of the benchmark when absent.
    scenarios: Vec<Scenario>,
    /// Process of the server: its CPU time and memory are read. Memory scenarios want a fresh process.
    #[arg(long)]
    pid: Option<u32>,
    /// Rounds of each scenario.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Server CPU seconds of the counted part of a round (without --pid: seconds).
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seconds that idle connections are held before memory is read; 52 hold two heartbeats.
    #[arg(long, default_value_t = 2.0)]
    rest: f64,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// The server was started by somebody else.
struct NotOurs;

impl Host for NotOurs {
    fn restart(&mut self) -> anyhow::Result<Target> {
        anyhow::bail!("only `cargo xtask bench` starts servers anew")
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    raise_file_limit();
    let target = Target::alone(cli.server, cli.pid.map(Process::new).transpose()?);
    let effort = Effort {
        cpu: Duration::try_from_secs_f64(cli.seconds)?,
        rest: Duration::try_from_secs_f64(cli.rest)?,
        ..Effort::FULL
    };
    let scenarios = match cli.scenarios.is_empty() {
        true => {
            let all = ALL.iter().map(|name| name.parse()).collect::<anyhow::Result<Vec<Scenario>>>()?;
            // One server is no cluster.
            all.into_iter().filter(|scenario| scenario.over() != Over::Redis).collect()
        }
        false => cli.scenarios,
    };
    for scenario in scenarios {
        for _ in 0..cli.rounds {
            let measurement =
                round(scenario, target, effort, &mut NotOurs).with_context(|| scenario.to_string())?;
            if cli.json {
                println!("{}", serde_json::to_string(&measurement)?);
            } else {
                println!("{}", measurement.summary(&scenario));
            }
        }
    }
    Ok(())
}
