//! A part of a test in a process of its own, for what is measured of a process: this program again, with its part in
//! the environment.

use std::{
    env,
    fmt::Display,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

/// A process of this test. It ends with this one: its standard input is closed then.
pub(crate) struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
}

/// What marks a line for the parent among those of the test harness.
const MARK: &str = "@ ";

impl Process {
    /// Starts the test `test` of this program, with more in its environment.
    pub(crate) fn start(test: &str, environment: &[(&str, &str)]) -> Self {
        // The shell raises the number of open files to what the machine allows.
        let child = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -H -n); exec \"$0\" \"$@\""])
            .arg(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Tells it something.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line that is for this process.
    pub(crate) fn said(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.out.read_line(&mut line).unwrap(), 0, "the process has ended");
            if let Some((_, said)) = line.split_once(MARK) {
                return said.trim().to_owned();
            }
        }
    }

    /// Closes its input, and waits until it has ended.
    pub(crate) fn ended(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells the parent something.
pub(crate) fn tell(what: impl Display) {
    println!("{MARK}{what}");
}

/// A line of this process's status in bytes: `VmRSS`, what is resident, or `VmHWM`, the most that was.
pub(crate) fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}
