//! What may be depended on: the licences, sources and bans of `deny.toml`, held against `cargo metadata`. The same file
//! serves cargo-deny, for those who have it; here nothing needs to be installed.

use std::fs;

use anyhow::Context as _;
use serde::Deserialize;

use crate::{
    spdx,
    workspace::{Package, Workspace},
};

/// One line for each package that should not be there.
pub(crate) fn objections(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(workspace.path("deny.toml")).context("cannot read deny.toml")?;
    let rules: Rules = toml::from_str(&text).context("deny.toml is not as expected")?;
    Ok(workspace.packages.iter().flat_map(|package| rules.objections(package)).collect())
}

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

impl Rules {
    fn objections(&self, package: &Package) -> Vec<String> {
        let mut found = Vec::new();
        let mut object = |why: String| found.push(format!("{} {}: {why}", package.name, package.version));
        match &package.license {
            None => object("it names no licence".into()),
            Some(licence) => {
                match spdx::allows(licence, &|name| self.licenses.allow.iter().any(|one| one == name)) {
                    Some(true) => {}
                    Some(false) => object(format!("its licence is {licence}")),
                    None => object(format!("its licence cannot be read: {licence}")),
                }
            }
        }
        if let Some(ban) = self.bans.deny.iter().find(|ban| ban.name == package.name) {
            object(format!("it is banned: {}", ban.reason));
        }
        if let Some(source) = &package.source {
            let registry = source.split_once('+').map_or(source.as_str(), |(_, url)| url);
            if !self.sources.allow_registry.iter().any(|one| one == registry) {
                object(format!("it comes from {source}"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn rules() -> Rules {
        toml::from_str(include_str!("../../deny.toml")).unwrap()
    }

    fn objections(name: &str, license: Option<&str>, source: Option<&str>) -> Vec<String> {
        let package = serde_json::json!({
            "id": "", "version": "1.2.3", "features": {}, "name": name, "license": license, "source": source
        });
        rules().objections(&serde_json::from_value(package).unwrap())
    }

    #[test]
    fn good_packages_pass() {
        assert!(objections("ours", Some("MIT OR Apache-2.0"), None).is_empty());
        assert!(objections("theirs", Some("(MIT OR LGPL-2.1) AND Unicode-3.0"), Some(CRATES_IO)).is_empty());
    }

    #[test]
    fn others_are_named_with_the_reason() {
        assert_eq!(objections("a", None, None), ["a 1.2.3: it names no licence"]);
        assert_eq!(objections("b", Some("AGPL-3.0"), None), ["b 1.2.3: its licence is AGPL-3.0"]);
        assert_eq!(
            objections("c", Some("see file"), None),
            ["c 1.2.3: its licence cannot be read: see file"]
        );
        let git = "git+https://example.invalid/d";
        assert_eq!(objections("d", Some("MIT"), Some(git)), [format!("d 1.2.3: it comes from {git}")]);
        assert!(objections("openssl-sys", Some("MIT"), Some(CRATES_IO))[0].contains("banned"));
    }
}
