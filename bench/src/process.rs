//! What the operating system says about a process (CPU time, resident memory, limits), and what the servers of the
//! benchmark have in common: how they listen, say where, and end.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::Context;
use nix::{
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// A process of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    id: u32,
    clock: ClockId,
}

impl Process {
    /// The process with this id.
    pub fn new(id: u32) -> anyhow::Result<Self> {
        let clock = clock_getcpuclockid(Pid::from_raw(id.try_into()?))
            .with_context(|| format!("no CPU clock of process {id}"))?;
        Ok(Self { id, clock })
    }

    /// CPU time of all its threads, user and kernel, since it began; in nanoseconds, not in ticks of 10 ms. What the
    /// kernel does for a packet on loopback counts for the process that writes it.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        clock(self.clock).with_context(|| format!("process {} has ended", self.id))
    }

    /// Resident memory in bytes. `smaps_rollup` counts pages; `status` adds up counters that each CPU keeps and may be
    /// off by some hundred kilobytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.id);
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).context(path)?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> anyhow::Result<Duration> {
    clock(ClockId::CLOCK_THREAD_CPUTIME_ID).context("no CPU clock of this thread")
}

fn clock(id: ClockId) -> nix::Result<Duration> {
    clock_gettime(id).map(Duration::from)
}

/// As many open files as this user may have: both sides of a run need more than 10,000. Children inherit it.
pub fn raise_file_limit() {
    const WANTED: u64 = 200_000;
    // Root may raise the hard limit too; another user gets what the hard limit allows.
    if rlimit::setrlimit(rlimit::Resource::NOFILE, WANTED, WANTED).is_err() {
        rlimit::increase_nofile_limit(WANTED).ok();
    }
}

/// Connections that may wait to be accepted; the kernel's own bound is the other half of it.
pub const BACKLOG: u32 = 4096;

/// Listens with the longest backlog that the kernel allows, so that a storm of connections is not dropped.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into()).with_context(|| format!("cannot listen on {address}"))?;
    socket.listen(BACKLOG.cast_signed())?;
    Ok(socket.into())
}

/// The line by which the one who started a server learns its address.
pub fn announce(address: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    out.flush()
}

/// Ends this process when its standard input ends, that is when the one who started it has gone.
pub fn exit_at_end_of_input() {
    std::thread::spawn(|| {
        io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink()).ok();
        std::process::exit(0);
    });
}
