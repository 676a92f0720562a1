//! The test of the page: starts the binary `patio` on a free port, drives its page with `e2e/page.mjs`, and ends the
//! binary as Ctrl-C does, which must succeed.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    counts::Counts,
    process::Process,
    session::{Counting, Outcome, one_command},
    workspace::Workspace,
};

const TO_LISTEN: Duration = Duration::from_secs(60);
const TO_END: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(300);

/// The whole test.
pub(crate) fn page(workspace: &Workspace, verbose: bool) -> Outcome {
    let mut command = Command::new(workspace.program("patio"));
    command.args(["--listen", "127.0.0.1:0"]);
    let mut patio = match Process::start(command, verbose) {
        Ok(patio) => patio,
        Err(error) => return Outcome::failed(String::new(), format!("cannot start patio: {error}")),
    };
    let Some(address) = patio.wait_for(TO_LISTEN, address) else {
        return Outcome::failed(patio.output(), "patio did not listen".into());
    };

    let mut script = workspace.command("node", "e2e");
    script.args(["page.mjs", "--url", &format!("http://{address}/")]);
    let mut outcome = one_command(script, LIMIT, Counting::Script, verbose);

    let began = Instant::now();
    patio.signal(Signal::SIGINT);
    let complaint = match patio.wait(TO_END) {
        Ok(Some(status)) if status.success() => None,
        Ok(Some(status)) => Some(format!("patio ended with {status} after Ctrl-C")),
        Ok(None) => Some(format!("patio ran on for {:?} after Ctrl-C", began.elapsed())),
        Err(error) => Some(format!("cannot wait for patio: {error}")),
    };
    if complaint.is_some() {
        outcome.counts = outcome.counts + Counts::FAILED;
        outcome.trouble = complaint;
    }
    outcome.output += &format!("$ patio\n{}", patio.output());
    outcome
}

/// The address that the binary prints when it listens.
fn address(output: &str) -> Option<String> {
    // A line that has not ended may be half an address.
    let whole = &output[..output.rfind('\n')?];
    whole.lines().find_map(|line| line.strip_prefix("listening on ")).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_a_whole_line() {
        assert_eq!(address("listening on 127.0.0.1:30"), None);
        assert_eq!(address("a warning\nlistening on 127.0.0.1:3000\nopen"), Some("127.0.0.1:3000".into()));
    }
}
