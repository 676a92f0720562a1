//! The command line: what can be typed after `cargo xtask`. [`crate::main`] reads it once.

use anyhow::bail;

/// What `cargo xtask` prints without a task.
pub(crate) const HELP: &str = "\
cargo xtask test    run all tests: Rust, official clients in Node and Chromium, clusters with Node.js
                    servers on Redis, Node.js as the standard, soak, Autobahn,
                    instructions of the hot paths, fuzz
cargo xtask ci      the same, and format, clippy, documents, feature combinations, licences
cargo xtask bench   measure Patio beside its peers; its options follow: cargo xtask bench --quick
cargo xtask instructions
                    count the instructions of the hot paths, and record what test compares with

Options of test and ci:
  --only TEXT       only steps whose name contains TEXT; may be repeated
  --verbose         show the output of every step while it runs, not only that of failed ones

What is missing (packages of npm and Python, cargo-fuzz; apt packages, as root or with sudo) is installed. What cannot
be installed is named, and its suites are skipped; with CI=true that is a failure.
";

/// A task, with what was typed after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Print [`HELP`].
    Help,
    /// Run all tests.
    Test(Options),
    /// Run all tests and all checks.
    Ci(Options),
    /// Count the instructions of the hot paths, and record them.
    Instructions,
    /// Hand these arguments to the benchmark.
    Bench(Vec<String>),
}

/// Options of [`Task::Test`] and [`Task::Ci`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Parts of the names of the steps to run; none means all.
    pub(crate) only: Vec<String>,
    /// Show all output as it comes.
    pub(crate) verbose: bool,
}

/// Reads the words after `cargo xtask`.
pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Task> {
    Ok(match words.next().as_deref() {
        None | Some("help" | "--help" | "-h") => Task::Help,
        Some("test") => options(words)?.map_or(Task::Help, Task::Test),
        Some("ci") => options(words)?.map_or(Task::Help, Task::Ci),
        Some("instructions") => match words.next().as_deref() {
            None => Task::Instructions,
            Some("--help" | "-h") => Task::Help,
            Some(other) => bail!("instructions has no option {other:?}; `cargo xtask` lists them"),
        },
        Some("bench") => Task::Bench(words.collect()),
        Some(other) => bail!("there is no task {other:?}; `cargo xtask` lists them"),
    })
}

/// The options, or nothing when help is asked for.
fn options(mut words: impl Iterator<Item = String>) -> anyhow::Result<Option<Options>> {
    let mut options = Options::default();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--only" => match words.next() {
                Some(text) => options.only.push(text),
                None => bail!("--only wants a part of a step's name"),
            },
            "--verbose" | "-v" => options.verbose = true,
            "--help" | "-h" => return Ok(None),
            other => bail!("there is no option {other:?}; `cargo xtask` lists them"),
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> anyhow::Result<Task> {
        parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn tasks_and_options() {
        assert_eq!(read("").unwrap(), Task::Help);
        assert_eq!(read("test --help").unwrap(), Task::Help);
        assert_eq!(read("ci").unwrap(), Task::Ci(Options::default()));
        assert_eq!(read("instructions").unwrap(), Task::Instructions);
        let only = vec!["page".to_owned(), "fmt".to_owned()];
        let options = Options { only, verbose: true };
        assert_eq!(read("test --only page --verbose --only fmt").unwrap(), Task::Test(options));
        assert_eq!(
            read("bench --quick --help").unwrap(),
            Task::Bench(vec!["--quick".into(), "--help".into()])
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["tests", "test page", "ci --only", "instructions ack"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
