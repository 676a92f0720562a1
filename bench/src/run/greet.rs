//! The begin of most rounds: all clients connect, and each sends an event and waits for its ack. Then the server's
//! connect handlers have run, which CONNECT alone does not say, and every socket is in the room.

use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::Round;
use crate::generator::{Network, Traffic, clip};

impl Round {
    /// Opens connections until there are `clients`, and greets on each new one.
    pub(super) fn greet(&mut self, clients: usize) -> anyhow::Result<()> {
        let known = self.generator.network().ready();
        let mut greetings = Greetings { acked: vec![true; known] };
        greetings.acked.resize(clients, false);
        self.generator.open(clients, &mut greetings)?;
        let mut repeated = 0;
        while let Some(waits) = greetings.waiting() {
            if self.generator.turn(&mut greetings, PATIENCE).is_ok() {
                continue;
            }
            // Some servers drop an event that comes before the connect handler has run.
            repeated += 1;
            ensure!(repeated <= REPEATS, "client {waits} gets no ack for its first event");
            let network = self.generator.network();
            for client in greetings.acked.iter().enumerate().filter(|(_, acked)| !**acked).map(|(id, _)| id) {
                network.send(client, GREETING);
            }
            network.flush()?;
        }
        Ok(())
    }
}

const GREETING: &str = "420[\"ack\",\"hello\"]";
const ANSWER: &str = "430[\"hello\"]";
/// So long nothing at all comes before the unanswered greetings are sent again.
const PATIENCE: Duration = Duration::from_secs(2);
const REPEATS: usize = 5;

struct Greetings {
    /// By client.
    acked: Vec<bool>,
}

impl Greetings {
    fn waiting(&self) -> Option<usize> {
        self.acked.iter().position(|acked| !acked)
    }
}

impl Traffic for Greetings {
    fn connected(&mut self, network: &mut Network, client: usize) -> anyhow::Result<()> {
        network.send(client, GREETING);
        Ok(())
    }

    fn packet(&mut self, _: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        ensure!(text == ANSWER, "not the ack: `{}`", clip(text));
        let acked = self.acked.get_mut(client).with_context(|| format!("there is no client {client}"))?;
        if std::mem::replace(acked, true) {
            bail!("client {client} got an ack twice");
        }
        Ok(())
    }
}
