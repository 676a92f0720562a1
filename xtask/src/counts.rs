//! How many tests passed, failed and were skipped: read from what `cargo test` and the scripts in `e2e/` print, summed
//! by [`crate::session`].

use std::{fmt, iter::Sum, ops::Add};

/// Numbers of tests. Its Display is the closing line of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    pub(crate) const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// The sum of the `test result:` lines of a run of `cargo test`; a test binary has one, documents have some.
    /// What a filter left out counts nowhere.
    pub(crate) fn of_cargo_test(output: &str) -> Self {
        output.lines().filter_map(test_result).sum()
    }

    /// The last line `N passed, N failed, N skipped`, if there is one.
    pub(crate) fn of_script(output: &str) -> Option<Self> {
        output.lines().rev().find_map(closing_line)
    }

    /// Whether there was any test at all.
    pub(crate) fn any(self) -> bool {
        self != Self::default()
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The lines of a failed step's output that name what failed, in the words of `cargo test` and of the scripts.
pub(crate) fn failures(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter(|line| {
        (line.starts_with("test ") && line.ends_with("... FAILED"))
            || line.starts_with("FAILED ")
            || line.starts_with("NOT RUN")
    })
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
fn test_result(line: &str) -> Option<Counts> {
    let (verdict, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    if !matches!(verdict, "ok" | "FAILED") {
        return None;
    }
    let mut parts = numbers.split("; ");
    let mut next = |word| number(parts.next()?, word);
    Some(Counts { passed: next("passed")?, failed: next("failed")?, skipped: next("ignored")? })
}

/// `12 passed, 0 failed, 1 skipped`
fn closing_line(line: &str) -> Option<Counts> {
    let mut parts = line.trim_end().split(", ");
    let mut next = |word| number(parts.next()?, word);
    let counts = Counts { passed: next("passed")?, failed: next("failed")?, skipped: next("skipped")? };
    parts.next().is_none().then_some(counts)
}

fn number(part: &str, word: &str) -> Option<u64> {
    part.strip_suffix(word)?.strip_suffix(' ')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARGO: &str = "
     Running unittests src/lib.rs (target/debug/deps/patio-1)

running 3 tests
test a ... ok
test b ... ignored
test c ... FAILED

failures:

---- c stdout ----
said: 9 passed, 9 failed, 9 skipped

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests patio

test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 7 filtered out; finished in 1.25s

all doctests ran in 1.27s; merged doctests compilation took 1.11s
";

    #[test]
    fn lines_of_cargo_test_are_summed() {
        assert_eq!(Counts::of_cargo_test(CARGO), Counts { passed: 41, failed: 1, skipped: 3 });
        assert!(!Counts::of_cargo_test("error: could not compile `patio`").any());
        assert!(!Counts::of_cargo_test("test result: well. 1 passed; 1 failed; 1 ignored").any());
        assert!(!Counts::of_cargo_test("test result: ok. many passed").any());
    }

    #[test]
    fn the_last_closing_line_of_a_script_counts() {
        let output = "1 passed, 0 failed, 0 skipped\ntook 3.2 s\n381 passed, 2 failed, 0 skipped\nbye\n";
        assert_eq!(Counts::of_script(output), Some(Counts { passed: 381, failed: 2, skipped: 0 }));
        for line in [
            "",
            "1 passed, 0 failed",
            "1 passed, 0 failed, 0 skipped, 1 lost",
            "x passed, 0 failed, 0 skipped",
        ] {
            assert_eq!(Counts::of_script(line), None, "{line}");
        }
    }

    #[test]
    fn the_display_is_a_closing_line() {
        let counts = Counts { passed: 3, failed: 0, skipped: 1 } + Counts::FAILED;
        assert_eq!(counts.to_string(), "3 passed, 1 failed, 1 skipped");
        assert_eq!(Counts::of_script(&counts.to_string()), Some(counts));
    }

    #[test]
    fn failures_are_named() {
        let script = "ok      a\nFAILED  b\n        c\nFAILED 4.8.4 polling text: no\nNOT RUN d\n";
        let named: Vec<_> = failures(CARGO).chain(failures(script)).collect();
        assert_eq!(named, ["test c ... FAILED", "FAILED  b", "FAILED 4.8.4 polling text: no", "NOT RUN d"]);
    }
}
