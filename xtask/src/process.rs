//! Programs that a step runs: each leads a process group of its own, its output is collected, and the whole group ends
//! with it, when its time is up, or when we are told to end. No server of a test outlives its step.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// How often a process is looked at.
const TICK: Duration = Duration::from_millis(20);
/// What a group gets between being asked to end and being killed: the e2e scripts give their servers ten seconds.
const GRACE: Duration = Duration::from_secs(12);
/// The status of a shell's command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// The groups that are running.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A running program. When dropped it is ended, with all that it started.
pub(crate) struct Process {
    child: Child,
    group: Pid,
    output: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Process {
    /// Starts it, without input. `echo` shows its output as it comes.
    pub(crate) fn start(mut command: Command, echo: bool) -> io::Result<Self> {
        let (mut source, sink) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(sink.try_clone()?).stderr(sink).process_group(0);
        let mut groups = lock(&GROUPS);
        let child = command.spawn()?;
        let group = Pid::from_raw(child.id().cast_signed());
        groups.push(group);
        drop(groups);
        // It holds ends of the pipe too, and the reader waits for the last of them.
        drop(command);
        let output = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&output);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                lock(&collected).extend_from_slice(&buffer[..length]);
                if echo {
                    // Nobody looks: collecting goes on.
                    let _ = io::stdout().write_all(&buffer[..length]);
                }
            }
        });
        Ok(Self { child, group, output, reader })
    }

    /// What it printed so far, on standard output and standard error, in the order in which it came.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&lock(&self.output)).into_owned()
    }

    /// Waits until it has ended, or until this much time has passed: then nothing.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.end_group();
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            thread::sleep(TICK);
        }
    }

    /// Waits until its output makes `found` return something; nothing if it ends before or the time is up.
    pub(crate) fn wait_for<T>(&mut self, limit: Duration, found: impl Fn(&str) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        loop {
            let ended = !matches!(self.wait(TICK), Ok(None));
            let what = found(&self.output());
            if what.is_some() || ended || Instant::now() >= end {
                return what;
            }
        }
    }

    /// Sends a signal to it alone, not to what it started.
    pub(crate) fn signal(&self, signal: Signal) {
        // It has ended already: then there is nothing to do.
        let _ = nix::sys::signal::kill(self.group, signal);
    }

    /// Kills what the program has left behind, and waits for the rest of the output.
    fn end_group(&self) {
        let mut groups = lock(&GROUPS);
        if let Some(index) = groups.iter().position(|group| *group == self.group) {
            groups.swap_remove(index);
            // There is no such group any more: as it should be.
            let _ = killpg(self.group, Signal::SIGKILL);
        }
        drop(groups);
        // A process that left the group may keep the pipe open.
        let end = Instant::now() + Duration::from_secs(2);
        while !self.reader.is_finished() && Instant::now() < end {
            thread::sleep(TICK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.wait(Duration::ZERO) {
            let _ = killpg(self.group, Signal::SIGTERM);
            if !matches!(self.wait(GRACE), Ok(Some(_))) {
                self.end_group();
                let _ = self.child.wait();
            }
        }
    }
}

/// From now on a signal that ends this process ends the groups too, which a terminal's Ctrl-C does not reach. (A handler:
/// to block the signals and wait for them would block them in every program that is started, too.)
pub(crate) fn end_with_us() -> anyhow::Result<()> {
    let handler = || {
        // Held to the end, so that no group is started behind our back.
        let groups = lock(&GROUPS);
        for (signal, pause) in [(Signal::SIGTERM, 2), (Signal::SIGKILL, 0)] {
            for group in groups.iter() {
                let _ = killpg(*group, signal);
            }
            if !groups.is_empty() {
                thread::sleep(Duration::from_secs(pause));
            }
        }
        process::exit(INTERRUPTED);
    };
    ctrlc::set_handler(handler).context("cannot handle signals")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command, false).unwrap()
    }

    fn alive(pid: &str) -> bool {
        // A process that has ended and has not been collected by its new parent is not alive.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn child_of(process: &mut Process) -> String {
        process
            .wait_for(Duration::from_secs(10), |output| output.strip_suffix('\n').map(String::from))
            .unwrap()
    }

    fn ended(pid: &str) -> bool {
        (0..500).any(|_| {
            thread::sleep(TICK);
            !alive(pid)
        })
    }

    #[test]
    fn both_outputs_are_collected_in_order() {
        let mut process = shell("echo one; echo two >&2; echo three; exit 4");
        assert_eq!(process.wait(Duration::from_secs(10)).unwrap().unwrap().code(), Some(4));
        assert_eq!(process.output(), "one\ntwo\nthree\n");
    }

    #[test]
    fn what_a_program_leaves_behind_ends_with_it() {
        let mut process = shell("sleep 600 & echo $!");
        let pid = child_of(&mut process);
        process.wait(Duration::from_secs(10)).unwrap().unwrap();
        assert!(ended(&pid));
    }

    #[test]
    fn dropping_ends_all() {
        let mut process = shell("sleep 600 & echo $!; wait");
        let pid = child_of(&mut process);
        assert!(process.wait(Duration::ZERO).unwrap().is_none());
        assert!(alive(&pid));
        drop(process);
        assert!(ended(&pid));
    }

    #[test]
    fn waiting_for_output_ends_with_the_program() {
        let mut process = shell("echo a");
        assert_eq!(process.wait_for(Duration::from_secs(60), |output| output.find('b')), None);
    }
}
