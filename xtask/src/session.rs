//! A run of many steps: says what runs, shows the whole output of what fails, and ends with a table of times and counts
//! and the line `N passed, N failed, N skipped`. Steps come from [`mod@crate::test`] and [`crate::ci`].

use std::{
    env,
    fmt::Write as _,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cli::Options,
    counts::{self, Counts},
    process::Process,
};

/// After this time a silent step says that it is still there: some machines end what says nothing.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);
/// Names of failed tests that are repeated at the end, for each step.
const NAMED: usize = 20;
/// Characters of each of these lines; the whole of it stands above.
const WIDTH: usize = 160;

/// Programs to be run one after another.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) commands: Vec<Command>,
    /// Time for each command; then it is ended with all that it started.
    pub(crate) limit: Duration,
    pub(crate) counting: Counting,
}

/// What a command of a step counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    /// As `cargo test` says.
    CargoTest,
    /// As the closing line says.
    Script,
    /// As one test.
    One,
    /// As nothing, but a failure counts.
    Setup,
    /// As nothing: whoever needs it finds out that it failed.
    Attempt,
}

/// How a step ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    /// What is shown when there is trouble.
    pub(crate) output: String,
    /// Why it failed; nothing when it did not.
    pub(crate) trouble: Option<String>,
}

/// The run so far.
pub(crate) struct Session {
    options: Options,
    /// Whether to skip is to fail.
    strict: bool,
    began: Instant,
    known: Vec<&'static str>,
    rows: Vec<Row>,
}

/// A line of the table.
struct Row {
    name: &'static str,
    time: Duration,
    counts: Counts,
    remark: String,
    failures: Vec<String>,
}

impl Session {
    /// A run without steps. `CI` in the environment makes it strict.
    pub(crate) fn new(options: Options) -> Self {
        let strict = env::var("CI").is_ok_and(|value| !["", "0", "false"].contains(&value.as_str()));
        Self { options, strict, began: Instant::now(), known: Vec::new(), rows: Vec::new() }
    }

    /// Whether this is a run of CI, which has more time and skips nothing.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether the step is to be run, by `--only`.
    pub(crate) fn wants(&mut self, name: &'static str) -> bool {
        self.known.push(name);
        let only = &self.options.only;
        only.is_empty() || only.iter().any(|text| name.contains(text.as_str()))
    }

    /// Runs the commands of a step, all of them also when one fails. Whether all went well.
    pub(crate) fn step(&mut self, step: Step) -> bool {
        self.perform(step.name, |verbose| {
            let mut whole = Outcome::default();
            for command in step.commands {
                whole.add(one_command(command, step.limit, step.counting, verbose));
            }
            whole
        })
    }

    /// Runs a step that is more than commands. The work is told whether to show output as it comes.
    pub(crate) fn perform(&mut self, name: &'static str, work: impl FnOnce(bool) -> Outcome) -> bool {
        println!("── {name}");
        let began = Instant::now();
        let Outcome { counts, output, trouble } = work(self.options.verbose);
        let time = began.elapsed();
        let mut failures = Vec::new();
        if let Some(trouble) = &trouble {
            if !self.options.verbose {
                println!("{}", output.trim_end());
            }
            failures.extend(counts::failures(&output).map(String::from));
            println!("   FAILED after {}: {trouble}", seconds(time));
        } else {
            let counted = if counts.any() { format!(", {counts}") } else { String::new() };
            println!("   ok, {}{counted}", seconds(time));
        }
        let fine = trouble.is_none();
        let remark = trouble.map_or_else(String::new, |trouble| format!("FAILED: {trouble}"));
        self.rows.push(Row { name, time, counts, remark, failures });
        fine
    }

    /// Does not run a step, for this reason. It counts as one test.
    pub(crate) fn skip(&mut self, name: &'static str, why: &str) {
        let counts = if self.strict { Counts::FAILED } else { Counts::SKIPPED };
        println!("── {name}\n   NOT RUN: {why}");
        let remark = format!("NOT RUN: {why}");
        self.rows.push(Row { name, time: Duration::ZERO, counts, remark, failures: Vec::new() });
    }

    /// Prints the table and the closing line. Success only if nothing failed and, in CI, nothing was skipped.
    pub(crate) fn finish(self) -> ExitCode {
        let total: Counts = self.rows.iter().map(|row| row.counts).sum();
        println!("\n{}", table(&self.rows, self.began.elapsed()));
        for row in self.rows.iter().filter(|row| !row.failures.is_empty()) {
            println!("Failed in {}:", row.name);
            for line in row.failures.iter().take(NAMED) {
                println!("  {}", line.chars().take(WIDTH).collect::<String>());
            }
            if let more @ 1.. = row.failures.len().saturating_sub(NAMED) {
                println!("  and {more} more");
            }
        }
        if self.rows.is_empty() {
            println!("No step has such a name. There are: {}", self.known.join(", "));
        }
        let forbidden = self.strict && total.skipped > 0;
        if forbidden {
            println!("FAILED: tests were skipped, and CI is set");
        }
        println!("{total}");
        let fine = total.failed == 0 && total.any() && !forbidden;
        if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Outcome {
    /// A failure that counts as one test.
    pub(crate) fn failed(output: String, trouble: String) -> Self {
        Self { counts: Counts::FAILED, output, trouble: Some(trouble) }
    }

    /// What `work` makes of all items, so many at once. Work that cannot be done is a failure.
    pub(crate) fn of_all<T: Sync>(
        items: &[T],
        at_once: usize,
        work: impl Fn(&T) -> anyhow::Result<Self> + Sync,
    ) -> Self {
        let mut whole = Self::default();
        for together in items.chunks(at_once) {
            thread::scope(|scope| {
                let running: Vec<_> = together.iter().map(|item| scope.spawn(|| work(item))).collect();
                for one in running {
                    let done = one.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the work panicked")));
                    whole.add(done.unwrap_or_else(|error| Self::failed(String::new(), format!("{error:#}"))));
                }
            });
        }
        whole
    }

    /// Joins what the next command of the same step did; of the outputs only those of failures are kept.
    fn add(&mut self, next: Self) {
        self.counts = self.counts + next.counts;
        if let Some(trouble) = next.trouble {
            self.output += &next.output;
            self.trouble = Some(match self.trouble.take() {
                None => trouble,
                Some(_) => "several commands failed".into(),
            });
        }
    }
}

/// Runs a command to its end or to the end of its time, and reads its output.
pub(crate) fn one_command(command: Command, limit: Duration, counting: Counting, verbose: bool) -> Outcome {
    let line = command_line(&command);
    let mut process = match Process::start(command, verbose) {
        Ok(process) => process,
        Err(error) => return judge(String::new(), Some(format!("cannot start {line}: {error}")), counting),
    };
    let began = Instant::now();
    let trouble = loop {
        let left = limit.saturating_sub(began.elapsed());
        match process.wait(left.min(SIGN_OF_LIFE)) {
            Ok(Some(status)) if status.success() => break None,
            Ok(Some(status)) => break Some(format!("{status}: {line}")),
            Ok(None) if left.is_zero() => break Some(format!("took more than {}: {line}", seconds(limit))),
            Ok(None) => println!("   … {}", seconds(began.elapsed())),
            Err(error) => break Some(format!("cannot wait for {line}: {error}")),
        }
    };
    let output = process.output();
    drop(process);
    judge(format!("$ {line}\n{output}"), trouble, counting)
}

/// What the output of a command and its end amount to.
fn judge(output: String, mut trouble: Option<String>, counting: Counting) -> Outcome {
    let mut counts = match counting {
        Counting::CargoTest => Counts::of_cargo_test(&output),
        Counting::Script => Counts::of_script(&output).unwrap_or_default(),
        Counting::One if trouble.is_none() => Counts::PASSED,
        Counting::One | Counting::Setup | Counting::Attempt => Counts::default(),
    };
    let tests = matches!(counting, Counting::CargoTest | Counting::Script);
    if trouble.is_none() && counts.failed > 0 {
        trouble = Some(format!("{counts}, yet its status is 0"));
    }
    if trouble.is_none() && tests && !counts.any() {
        trouble = Some("it ran no test".into());
    }
    // A crash, a test that does not compile, or a time-out: counted by nobody else.
    if trouble.is_some() && counts.failed == 0 && counting != Counting::Attempt {
        counts = counts + Counts::FAILED;
    }
    Outcome { counts, output, trouble }
}

fn table(rows: &[Row], whole: Duration) -> String {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(5);
    let mut table = format!("{:width$}  {:>12}  passed  failed  skipped\n", "step", "time");
    for Row { name, time, counts: Counts { passed, failed, skipped }, remark, .. } in rows {
        let line = format!(
            "{name:width$}  {:>12}  {passed:>6}  {failed:>6}  {skipped:>7}  {remark}",
            seconds(*time)
        );
        table += line.trim_end();
        table.push('\n');
    }
    // Writing to a String does not fail.
    let _ = writeln!(table, "{:width$}  {:>12}", "whole", seconds(whole));
    table
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    if let Some((_, name)) = words[0].rsplit_once('/') {
        words[0] = name.to_owned().into();
    }
    words.join(" ")
}

/// `0.4 s`, `59.9 s`, `12 min 03 s`
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, counting: Counting) -> Outcome {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        one_command(command, Duration::from_secs(20), counting, false)
    }

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn counts_come_from_the_output() {
        let outcome = run("echo 3 passed, 0 failed, 1 skipped", Counting::Script);
        assert_eq!((outcome.counts, outcome.trouble), (counts(3, 0, 1), None));
        let outcome = run("echo 3 passed, 2 failed, 1 skipped; exit 1", Counting::Script);
        assert_eq!(outcome.counts, counts(3, 2, 1));
        assert!(outcome.trouble.unwrap().contains("exit status: 1"));
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        let outcome = run(&format!("echo '{line}'; echo '{line}'"), Counting::CargoTest);
        assert_eq!((outcome.counts, outcome.trouble), (counts(4, 0, 0), None));
    }

    #[test]
    fn a_failure_that_counts_itself_nowhere_counts_as_one() {
        let outcome = run("echo 3 passed, 0 failed, 0 skipped; exit 7", Counting::Script);
        assert_eq!(outcome.counts, counts(3, 1, 0));
        assert_eq!(run("echo error; exit 101", Counting::CargoTest).counts, counts(0, 1, 0));
        assert_eq!(run("exit 1", Counting::One).counts, counts(0, 1, 0));
        assert_eq!(run("exit 1", Counting::Setup).counts, counts(0, 1, 0));
        let attempt = run("exit 1", Counting::Attempt);
        assert_eq!(attempt.counts, counts(0, 0, 0));
        assert!(attempt.trouble.is_some());
    }

    #[test]
    fn success_without_a_test_is_a_failure() {
        assert_eq!(run("echo done", Counting::Script).counts, counts(0, 1, 0));
        assert_eq!(run("true", Counting::CargoTest).counts, counts(0, 1, 0));
        assert!(run("echo 1 passed, 1 failed, 0 skipped", Counting::Script).trouble.is_some());
        assert_eq!(run("true", Counting::One).counts, counts(1, 0, 0));
        assert_eq!(run("true", Counting::Setup).counts, counts(0, 0, 0));
    }

    #[test]
    fn time_runs_out() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo before; sleep 600; echo after"]);
        let outcome = one_command(command, Duration::from_millis(300), Counting::One, false);
        assert_eq!(outcome.counts, counts(0, 1, 0));
        assert!(outcome.output.ends_with("\nbefore\n"), "{}", outcome.output);
        assert!(outcome.trouble.unwrap().starts_with("took more than 0.3 s: sh -c"));
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure() {
        let outcome = one_command(Command::new("/nowhere/x"), SIGN_OF_LIFE, Counting::One, false);
        assert!(outcome.trouble.unwrap().starts_with("cannot start x: "));
    }

    #[test]
    fn times_are_short() {
        assert_eq!(seconds(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(723)), "12 min 03 s");
    }
}
