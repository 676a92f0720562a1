//! The combinations of features that each package is checked with: none, each alone, the default ones, all.

use std::collections::{BTreeMap, BTreeSet};

/// Lists of features for `--no-default-features --features …`, each once.
pub(crate) fn combinations(features: &BTreeMap<String, Vec<String>>) -> Vec<Vec<&str>> {
    let all: Vec<&str> = features.keys().map(String::as_str).filter(|name| *name != "default").collect();
    let default = features.get("default").map(|names| names.iter().map(String::as_str).collect());
    let mut seen = BTreeSet::new();
    let alone = all.iter().map(|name| vec![*name]);
    [vec![]]
        .into_iter()
        .chain(alone)
        .chain(default)
        .chain([all.clone()])
        .filter(|names: &Vec<&str>| seen.insert(names.iter().copied().collect::<BTreeSet<_>>()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(features: &[(&str, &[&str])]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| String::from(*name)).collect();
        let features = features.iter().map(|(name, on)| (String::from(*name), owned(on))).collect();
        combinations(&features).iter().map(|names| names.join(",")).collect()
    }

    #[test]
    fn each_combination_comes_once() {
        assert_eq!(of(&[]), [""]);
        assert_eq!(of(&[("contract", &[])]), ["", "contract"]);
        assert_eq!(of(&[("default", &["b"]), ("a", &[]), ("b", &[])]), ["", "a", "b", "a,b"]);
        assert_eq!(
            of(&[("default", &["c", "a"]), ("a", &[]), ("b", &["dep:x"]), ("c", &[])]),
            ["", "a", "b", "c", "c,a", "a,b,c"]
        );
    }
}
