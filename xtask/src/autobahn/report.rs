//! The report that Autobahn's client writes, case by case, and what each case counts as.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;

use crate::counts::Counts;

/// How many cases there are in each section: one that is not run must not go unnoticed.
const SECTIONS: [(u32, usize); 11] =
    [(1, 16), (2, 11), (3, 7), (4, 10), (5, 20), (6, 145), (7, 37), (9, 54), (10, 1), (12, 90), (13, 126)];

/// `index.json`: the cases of each server.
type Report = BTreeMap<String, BTreeMap<String, Case>>;

/// One case: how the server behaved up to the close, and how it closed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    behavior: String,
    behavior_close: String,
    #[serde(rename = "reportfile")]
    report: String,
}

/// Each case of these sections as one test, and a line for each that did not pass.
pub(crate) fn judge(report: &str, server: &str, sections: &[u32]) -> anyhow::Result<(Counts, Vec<String>)> {
    let mut report: Report = serde_json::from_str(report).context("Autobahn's report is not what it was")?;
    let cases = report.remove(server).unwrap_or_default();
    let mut complaints = Vec::new();
    let mut counts = Counts::default();
    for (id, case) in &cases {
        if case.passes(id) {
            counts = counts + Counts::PASSED;
        } else {
            let Case { behavior, behavior_close, report } = case;
            let line =
                format!("FAILED {id} of {server}: {behavior}, its close {behavior_close}, see {report}");
            complaints.push(line);
            counts = counts + Counts::FAILED;
        }
    }
    for section in sections {
        let expected = SECTIONS.iter().find(|(number, _)| number == section).map_or(0, |(_, cases)| *cases);
        let run = cases.keys().filter(|id| id.split('.').next() == Some(&section.to_string())).count();
        if run != expected {
            complaints.push(format!(
                "NOT RUN as expected: {run} of {expected} cases of {server}, section {section}"
            ));
            counts.failed += run.abs_diff(expected) as u64;
        }
    }
    Ok((counts, complaints))
}

impl Case {
    fn passes(&self, id: &str) -> bool {
        let is_good = |behavior: &str| match behavior {
            "OK" => true,
            // What a server does after a close (7.1.6) and with close codes that nobody has given a meaning (7.13) is
            // left open: Autobahn only writes down what it saw.
            "INFORMATIONAL" => id == "7.1.6" || id.starts_with("7.13."),
            _ => false,
        };
        is_good(&self.behavior) && is_good(&self.behavior_close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: (&str, &str) = ("OK", "OK");
    const INFORMATIONAL: (&str, &str) = ("INFORMATIONAL", "INFORMATIONAL");

    /// The verdict on section 3, whose seven cases are good but for one.
    fn verdict(section: u32, cases: usize, other: Option<(&str, (&str, &str))>) -> (Counts, Vec<String>) {
        let good = (1..=cases).map(|n| (format!("{section}.{n}"), GOOD));
        let other = other.map(|(id, behaviors)| (id.to_owned(), behaviors));
        let cases: BTreeMap<_, _> = good
            .chain(other)
            .map(|(id, (behavior, close))| {
                let case = serde_json::json!({
                    "behavior": behavior, "behaviorClose": close, "duration": 2, "remoteCloseCode": 1000,
                    "reportfile": format!("a_case_{}.json", id.replace('.', "_")),
                });
                (id, case)
            })
            .collect();
        judge(&serde_json::json!({ "a": cases }).to_string(), "a", &[section]).unwrap()
    }

    fn counts(passed: u64, failed: u64) -> Counts {
        Counts { passed, failed, skipped: 0 }
    }

    #[test]
    fn good_cases_pass() {
        assert_eq!(verdict(3, 7, None), (counts(7, 0), vec![]));
    }

    #[test]
    fn a_case_that_is_not_strict_or_does_not_close_cleanly_fails() {
        for behaviors in [
            ("NON-STRICT", "OK"),
            ("OK", "UNCLEAN"),
            ("OK", "WRONG CODE"),
            ("OK", "FAILED BY CLIENT"),
            ("FAILED", "OK"),
            ("UNIMPLEMENTED", "OK"),
            INFORMATIONAL,
        ] {
            let (counted, complaints) = verdict(3, 7, Some(("3.4", behaviors)));
            assert_eq!(counted, counts(6, 1), "{behaviors:?}");
            let (behavior, close) = behaviors;
            assert_eq!(
                complaints,
                [format!("FAILED 3.4 of a: {behavior}, its close {close}, see a_case_3_4.json")]
            );
        }
    }

    #[test]
    fn some_cases_only_inform() {
        for id in ["7.1.6", "7.13.1", "7.13.2"] {
            assert_eq!(verdict(7, 36, Some((id, INFORMATIONAL))), (counts(37, 0), vec![]));
            assert_eq!(verdict(7, 36, Some((id, ("OK", "UNCLEAN")))).0, counts(36, 1));
        }
        for id in ["7.1.5", "7.3.1", "7.1.61"] {
            assert_eq!(verdict(7, 36, Some((id, INFORMATIONAL))).0, counts(36, 1), "{id}");
        }
    }

    #[test]
    fn cases_that_were_not_run_fail() {
        let line = |run| format!("NOT RUN as expected: {run} of 7 cases of a, section 3");
        assert_eq!(verdict(3, 6, None), (counts(6, 1), vec![line(6)]));
        assert_eq!(verdict(3, 0, None), (counts(0, 7), vec![line(0)]));
        assert_eq!(verdict(3, 8, None), (counts(8, 1), vec![line(8)]));
        assert_eq!(judge("{}", "a", &[3]).unwrap(), (counts(0, 7), vec![line(0)]));
        assert!(judge("[]", "a", &[3]).is_err());
    }

    #[test]
    fn all_cases_are_known() {
        let sum = |sections: &[u32]| -> usize {
            SECTIONS.iter().filter(|(section, _)| sections.contains(section)).map(|(_, cases)| cases).sum()
        };
        // As the suite says when it starts.
        assert_eq!(sum(&[1, 2, 3, 4, 5, 6, 7, 9, 10]), 301);
        assert_eq!(SECTIONS.iter().map(|(_, cases)| cases).sum::<usize>(), 517);
    }
}
