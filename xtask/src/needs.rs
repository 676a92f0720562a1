//! Programs beyond Rust that the tests need: found, or installed by apt as root or with sudo, or named in one line.

use std::{
    collections::BTreeSet,
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::session::{Counting, Session, Step};

const LIMIT: Duration = Duration::from_secs(600);

/// A program that comes with a Debian package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Node,
    Npm,
    Chromium,
    /// libFuzzer is compiled from its source.
    Cxx,
    Valgrind,
    Redis,
}

impl Need {
    /// What to install. Node.js and npm are expected to be there, in whatever way they came; apt's are as good. A browser
    /// shows no text without a font.
    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Node => &["nodejs"],
            Self::Npm => &["npm"],
            Self::Chromium => &["chromium", "fonts-liberation"],
            Self::Cxx => &["g++"],
            Self::Valgrind => &["valgrind"],
            // With redis-cli, which comes in a package of its own.
            Self::Redis => &["redis-server", "redis-tools"],
        }
    }

    /// Whether it is there; Chromium where the scripts in `e2e/` look for it.
    fn is_met(self) -> bool {
        match self {
            Self::Node => find("node").is_some(),
            Self::Npm => find("npm").is_some(),
            Self::Chromium => {
                env::var_os("CHROMIUM").map_or_else(|| "/usr/bin/chromium".into(), PathBuf::from).exists()
            }
            Self::Cxx => env::var_os("CXX").is_some() || find("c++").is_some(),
            Self::Valgrind => find("valgrind").is_some(),
            Self::Redis => find("redis-server").is_some() && find("redis-cli").is_some(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "Node.js",
            Self::Npm => "npm",
            Self::Chromium => "Chromium",
            Self::Cxx => "a C++ compiler",
            Self::Valgrind => "Valgrind",
            Self::Redis => "Redis",
        })
    }
}

/// Brings what is missing of `needs` and says what is still missing then.
pub(crate) fn provide(session: &mut Session, needs: &[Need]) -> Vec<Need> {
    let missing = missing(needs);
    if missing.is_empty() {
        return missing;
    }
    let packages: Vec<_> = missing.iter().flat_map(|need| need.packages()).copied().collect();
    if let Some(privilege) = privilege() {
        let apt = |arguments: &[&str]| {
            let words =
                [privilege, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], arguments].concat();
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            command
        };
        let retry = ["-o", "Acquire::Retries=3"];
        let update = apt(&[&["update"][..], &retry].concat());
        let install =
            apt(&[&["install", "--yes", "--no-install-recommends"], &retry[..], &packages].concat());
        let commands = vec![update, install];
        session.step(Step { name: "apt packages", commands, limit: LIMIT, counting: Counting::Attempt });
    }
    let missing = self::missing(needs);
    if !missing.is_empty() {
        println!("To run everything, install what is missing: apt-get install {}", packages.join(" "));
    }
    missing
}

fn missing(needs: &[Need]) -> Vec<Need> {
    let needs: BTreeSet<Need> = needs.iter().copied().collect();
    needs.into_iter().filter(|need| !need.is_met()).collect()
}

/// What goes before `apt-get` for it to be allowed to install; nothing if there is no way or no `apt-get`.
fn privilege() -> Option<&'static [&'static str]> {
    find("apt-get")?;
    let runs = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()
    };
    if runs("id", &["-u"]).is_some_and(|answer| answer.stdout.trim_ascii() == b"0") {
        return Some(&[]);
    }
    runs("sudo", &["-n", "true"]).is_some_and(|answer| answer.status.success()).then_some(&["sudo", "-n"])
}

/// A program on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file: &PathBuf| Path::is_file(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find("sh").is_some());
        assert_eq!(find("a program that nobody has"), None);
    }
}
