//! The server's process: started, asked, ended. It ends with this one too: its standard input is closed then.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{self, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::server::Report;

/// The longest that is waited until nothing is left: silent clients take six seconds.
const SETTLES: Duration = Duration::from_secs(20);

/// What is freed by the last tasks is freed a moment after they are counted no more.
const MOMENT: Duration = Duration::from_millis(300);

pub(crate) struct Child {
    process: process::Child,
    out: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Child {
    pub(crate) fn start(recovery: bool) -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("--serve").args(recovery.then_some("--recovery"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(process.stdout.take().context("standard output is piped")?);
        let mut child = Self { process, out, address: ([0, 0, 0, 0], 0).into() };
        child.address = child.said()?.parse()?;
        Ok(child)
    }

    /// What the server holds now.
    pub(crate) fn report(&mut self) -> anyhow::Result<Report> {
        writeln!(self.process.stdin.as_mut().context("standard input is piped")?, "report")?;
        Ok(serde_json::from_str(&self.said()?)?)
    }

    /// What the server holds when nothing is left but so many tasks, or after [`SETTLES`].
    pub(crate) async fn settle(&mut self, tasks: usize) -> anyhow::Result<Report> {
        let began = Instant::now();
        while !self.report()?.is_idle(tasks) && began.elapsed() < SETTLES {
            tokio::time::sleep(MOMENT).await;
        }
        tokio::time::sleep(MOMENT).await;
        self.report()
    }

    /// Lets the server end by itself.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    fn said(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.out.read_line(&mut line)? > 0, "the server has ended");
        Ok(line.trim().to_owned())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
