//! Autobahn's fuzzing client against the transport of sessions: WebSocket as RFC 6455 and 7692 have it, case by case.
//!
//! The client is a Python program of the package index, for Python 2.7 only. It is installed once, below the target
//! directory. The server is a test of `patio` that serves echoes (`crates/patio/src/engine/echo.rs`). Several clients
//! run at once, each with some of the sections; [`report`] judges what they write.

mod report;

use std::{fs, process::Command, time::Duration};

use anyhow::Context as _;
use serde_json::json;

use crate::{
    counts::Counts,
    process::Process,
    python2::Python2,
    session::{Counting, Outcome, Session, one_command},
    workspace::Workspace,
};

const TO_LISTEN: Duration = Duration::from_secs(120);
/// Alone, with all messages, the longest part takes a few minutes.
const TO_RUN: Duration = Duration::from_secs(1800);

/// Messages of each case of compression; in CI as many as Autobahn itself sends.
const MESSAGES: u32 = 50;
const MESSAGES_IN_CI: u32 = 1_000;

/// What one client runs.
struct Part {
    name: &'static str,
    /// The echo that it talks to: one of those that the test of `patio` serves.
    echo: &'static str,
    sections: &'static [u32],
}

/// Sections 12 and 13 are compression; only they offer it. Together they are most of the work, so they are two parts.
const PARTS: [Part; 4] = [
    Part { name: "tcp", echo: "tcp", sections: &[1, 2, 3, 4, 5, 6, 7, 9, 10] },
    Part { name: "boxed", echo: "boxed", sections: &[1, 2, 3, 4, 5, 6, 7, 9, 10] },
    Part { name: "deflate", echo: "deflate", sections: &[1, 2, 3, 4, 5, 6, 7, 9, 10, 12] },
    Part { name: "deflate-offers", echo: "deflate", sections: &[13] },
];

/// The Python that runs it, with the packages of the list in `e2e/autobahn`. Error: why there is none.
pub(crate) fn provide(workspace: &Workspace, session: &mut Session) -> Result<Python2, &'static str> {
    let list = workspace.path("e2e/autobahn/requirements.txt");
    Python2::provide("Autobahn's packages", &list, "autobahn", workspace, session)
}

/// All parts.
pub(crate) fn run(workspace: &Workspace, python: &Python2, in_ci: bool, verbose: bool) -> Outcome {
    let messages = if in_ci { MESSAGES_IN_CI } else { MESSAGES };
    let mut server = match Process::start(server(workspace), verbose) {
        Ok(server) => server,
        Err(error) => return Outcome::failed(String::new(), format!("cannot start the echo: {error}")),
    };
    let Some(echoes) = server.wait_for(TO_LISTEN, addresses) else {
        return Outcome::failed(server.output(), "the echo did not listen".into());
    };
    Outcome::of_all(&PARTS, PARTS.len(), |part| one_part(workspace, python, part, &echoes, messages, verbose))
}

/// The test of `patio` that serves the echoes, with the features of all tests: nothing is compiled anew for it.
fn server(workspace: &Workspace) -> Command {
    let mut command = workspace.cargo(&["test", "--workspace", "--all-features", "--lib", "--", "--exact"]);
    command.args(["engine::echo::messages_come_back_as_they_are", "--nocapture"]).env("PATIO_ECHO", "1");
    command
}

/// The echoes that the server names, with their addresses, once it has named all that are needed.
fn addresses(output: &str) -> Option<Vec<(String, String)>> {
    // A line that has not ended may be half an address.
    let whole = &output[..output.rfind('\n')?];
    let echo = |line: &str| {
        let (name, address) = line.split_once("PATIO_ECHO ")?.1.split_once(' ')?;
        Some((name.to_owned(), address.to_owned()))
    };
    let echoes: Vec<_> = whole.lines().filter_map(echo).collect();
    PARTS.iter().all(|part| echoes.iter().any(|(name, _)| name == part.echo)).then_some(echoes)
}

fn one_part(
    workspace: &Workspace,
    python: &Python2,
    part: &Part,
    echoes: &[(String, String)],
    messages: u32,
    verbose: bool,
) -> anyhow::Result<Outcome> {
    let Part { name, echo, sections } = *part;
    let folder = workspace.target("autobahn/reports").join(name);
    // What an earlier run wrote must not be taken for this one's.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (_, url) = echoes.iter().find(|(name, _)| name == echo).context("there is no such echo")?;
    let spec = folder.join("spec.json");
    let cases: Vec<_> = sections.iter().map(|section| format!("{section}.*")).collect();
    let servers = [json!({ "agent": name, "url": url })];
    fs::write(&spec, json!({ "outdir": folder, "servers": servers, "cases": cases }).to_string())?;

    let mut command = python.command();
    command.arg(workspace.path("e2e/autobahn/client.py")).arg(spec).arg(messages.to_string());
    let client = one_command(command, TO_RUN, Counting::Attempt, verbose);
    let written = fs::read_to_string(folder.join("index.json")).unwrap_or_else(|_| "{}".into());
    let (counts, complaints) = report::judge(&written, name, sections)?;
    let trouble = match (client.trouble, &complaints[..]) {
        (Some(trouble), _) => Some(trouble),
        (None, []) => None,
        (None, _) => Some(format!("{name}: {} cases failed, see {}", counts.failed, folder.display())),
    };
    let failed_by_itself = trouble.is_some() && counts.failed == 0;
    Ok(Outcome {
        counts: if failed_by_itself { counts + Counts::FAILED } else { counts },
        output: format!("{}\n{}\n", client.output, complaints.join("\n")),
        trouble,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_echoes_must_have_been_named() {
        let named = "test echo ... PATIO_ECHO tcp ws://127.0.0.1:1/\nPATIO_ECHO deflate ws://127.0.0.1:2/\n";
        assert_eq!(addresses(named), None);
        let half = format!("{named}PATIO_ECHO boxed ws://127.0.0.1:3");
        assert_eq!(addresses(&half), None);
        let echoes = addresses(&format!("{half}1/\n")).unwrap();
        assert_eq!(echoes[0], ("tcp".into(), "ws://127.0.0.1:1/".into()));
        assert_eq!(echoes[2], ("boxed".into(), "ws://127.0.0.1:31/".into()));
    }
}
