//! The begin of most rounds: all clients connect, and each sends an event and waits for its ack. Then the server's
//! connect handlers have run, which CONNECT alone does not say, and every socket is in its rooms.

use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::Round;
use crate::generator::{Network, Traffic, Way, clip};

impl Round<'_> {
    /// Opens connections until there are `clients`, and greets on each new one.
    pub(super) fn greet(&mut self, clients: usize) -> anyhow::Result<()> {
        self.greet_with(clients, |_| GREETING.into())
    }

    /// The same, and each asks to join a room, whose name depends on its number.
    pub(super) fn greet_in_rooms(
        &mut self,
        clients: usize,
        room: impl Fn(usize) -> String,
    ) -> anyhow::Result<()> {
        self.greet_with(clients, |client| format!("420[\"join\",\"{}\"]", room(client)))
    }

    fn greet_with(&mut self, clients: usize, greeting: impl Fn(usize) -> String) -> anyhow::Result<()> {
        let known = self.generator.network().ready();
        let mut greetings = Greetings { greeting, acked: vec![true; known] };
        greetings.acked.resize(clients, false);
        self.generator.open(clients, Way::WebSocket, &mut greetings)?;
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
                network.send(client, &(greetings.greeting)(client));
            }
            network.flush()?;
        }
        Ok(())
    }
}

const GREETING: &str = "420[\"ack\",\"hello\"]";
const ANSWER: &str = "430[";
/// So long nothing at all comes before the unanswered greetings are sent again.
const PATIENCE: Duration = Duration::from_secs(2);
const REPEATS: usize = 5;

struct Greetings<F> {
    /// What a client says.
    greeting: F,
    /// By client.
    acked: Vec<bool>,
}

impl<F> Greetings<F> {
    fn waiting(&self) -> Option<usize> {
        self.acked.iter().position(|acked| !acked)
    }
}

impl<F: Fn(usize) -> String> Traffic for Greetings<F> {
    fn connected(&mut self, network: &mut Network, client: usize) -> anyhow::Result<()> {
        network.send(client, &(self.greeting)(client));
        Ok(())
    }

    fn packet(&mut self, _: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        ensure!(text.starts_with(ANSWER), "not the ack: `{}`", clip(text));
        let acked = self.acked.get_mut(client).with_context(|| format!("there is no client {client}"))?;
        if std::mem::replace(acked, true) {
            bail!("client {client} got an ack twice");
        }
        Ok(())
    }
}
