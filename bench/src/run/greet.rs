//! The begin of most rounds: all clients connect, and each sends an event and waits for an answer. Then the server's
//! connect handlers have run, which CONNECT alone does not say, and every socket is in its rooms.

use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::Round;
use crate::generator::{Network, Traffic, Way, clip};

impl Round<'_> {
    /// Opens connections until there are `clients`, and greets on each new one.
    pub(super) fn greet(&mut self, clients: usize) -> anyhow::Result<()> {
        self.greet_with(clients, "430[\"hello\"]", |_, _| "420[\"ack\",\"hello\"]".into())
    }

    /// The same, and each asks to join a room, whose name depends on its number.
    pub(super) fn greet_in_rooms(
        &mut self,
        clients: usize,
        room: impl Fn(usize) -> String,
    ) -> anyhow::Result<()> {
        self.greet_with(clients, "430[", |_, client| format!("420[\"join\",\"{}\"]", room(client)))
    }

    /// The same, and each gets an event, for which it has asked by one of its own.
    pub(super) fn greet_with_events(&mut self, clients: usize) -> anyhow::Result<()> {
        let greeting =
            |network: &Network, client| format!("42[\"to\",\"{}\",\"hello\"]", network.sid(client));
        self.greet_with(clients, "42[\"b\",\"hello\"]", greeting)
    }

    fn greet_with(
        &mut self,
        clients: usize,
        answer: &'static str,
        greeting: impl Fn(&Network, usize) -> String,
    ) -> anyhow::Result<()> {
        let known = self.generator.network().ready();
        let mut greetings = Greetings { greeting, answer, answered: vec![true; known] };
        greetings.answered.resize(clients, false);
        self.generator.open(clients, Way::WebSocket, &mut greetings)?;
        let mut repeated = 0;
        while let Some(waits) = greetings.waiting() {
            if self.generator.turn(&mut greetings, PATIENCE)? {
                continue;
            }
            // Some servers drop an event that comes before the connect handler has run.
            repeated += 1;
            ensure!(repeated <= REPEATS, "client {waits} gets no answer to its first event");
            let network = self.generator.network();
            for client in
                greetings.answered.iter().enumerate().filter(|(_, answered)| !**answered).map(|(id, _)| id)
            {
                let greeting = (greetings.greeting)(network, client);
                network.send(client, &greeting);
            }
            network.flush()?;
        }
        Ok(())
    }
}

/// So long nothing at all comes before the unanswered greetings are sent again.
const PATIENCE: Duration = Duration::from_secs(2);
const REPEATS: usize = 5;

struct Greetings<F> {
    /// What a client says.
    greeting: F,
    /// What the answer begins with.
    answer: &'static str,
    /// By client.
    answered: Vec<bool>,
}

impl<F> Greetings<F> {
    fn waiting(&self) -> Option<usize> {
        self.answered.iter().position(|answered| !answered)
    }
}

impl<F: Fn(&Network, usize) -> String> Traffic for Greetings<F> {
    fn connected(&mut self, network: &mut Network, client: usize) -> anyhow::Result<()> {
        let greeting = (self.greeting)(network, client);
        network.send(client, &greeting);
        Ok(())
    }

    fn packet(&mut self, _: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        ensure!(text.starts_with(self.answer), "not the answer: `{}`", clip(text));
        let answered =
            self.answered.get_mut(client).with_context(|| format!("there is no client {client}"))?;
        if std::mem::replace(answered, true) {
            bail!("client {client} got its answer twice");
        }
        Ok(())
    }
}
