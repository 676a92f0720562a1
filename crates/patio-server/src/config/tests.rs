//! What configurations come to, layer by layer, and what is said of wrong ones.

use std::fs;

use super::*;

fn read(file: &str, flags: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Result<Config, Invalid> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    fs::write(&path, file).unwrap();
    fs::write(folder.path().join("secret"), "a secret that has thirty-two bytes\n").unwrap();
    Config::read(Sources {
        file: Some(path),
        flags: flags.iter().map(|(path, value)| (*path, (*value).to_owned())).collect(),
        api_key: None,
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    })
}

fn wrong(file: &str, variables: &[(&str, &str)]) -> String {
    let invalid = read(file, &[], variables).expect_err(file).to_string();
    // Without the folder, which is another one each time.
    match invalid.split_once("p.toml") {
        Some((before, after)) => {
            let at = before.rfind(['(', ' ']).map_or(0, |at| at + 1);
            format!("{}p.toml{after}", &before[..at])
        }
        None => invalid,
    }
}

#[test]
fn the_commented_default_is_the_default() {
    let written = read(&commented_default(), &[], &[]).unwrap();
    let none = read("", &[], &[]).unwrap();
    assert_eq!(format!("{written:?}"), format!("{none:?}"));
    assert_eq!((none.listen.as_str(), none.demo), ("127.0.0.1:3000", true));
    assert_eq!(none.limits.api_operations, 1_000);
    // What it says of lists is right, too.
    let lists = commented_default()
        .replace("# [[", "[[")
        .replace("# secret = \"…\"", "secret = \"0123456789abcdef0123456789abcdef\"");
    let lists: String = lists
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(line)
                if line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '))
                    && line != "name = \"…\"" =>
            {
                line
            }
            _ => line,
        })
        .map(|line| line.replace("sha256 = \"…\"", &format!("sha256 = \"{}\"", "0".repeat(64))))
        .filter(|line| {
            !line.contains('…')
                && !["demo = true", "url = "].iter().any(|optional| line.starts_with(optional))
        })
        .collect::<Vec<_>>()
        .join("\n");
    let all = read(&lists, &[], &[]).unwrap_or_else(|invalid| panic!("{invalid}\n{lists}"));
    assert!(all.tokens.is_some() && !all.keys.is_empty() && !all.rules.is_empty() && !all.demo);
}

#[test]
fn flags_count_before_variables_before_the_file() {
    let file = "listen = \"127.0.0.1:1\"\ndrain_seconds = 1\n[redis]\nurl = \"redis://1\"\n";
    let config = read(
        file,
        &[("listen", "127.0.0.1:3")],
        &[("PATIO_LISTEN", "127.0.0.1:2"), ("PATIO_DRAIN_SECONDS", "2")],
    )
    .unwrap();
    assert_eq!((config.listen.as_str(), config.drain), ("127.0.0.1:3", Duration::from_secs(2)));
    let redis = config.redis.unwrap();
    assert_eq!((redis.url.0.as_str(), redis.adapter), ("redis://1", Adapter::PubSub));
    let named = read(
        "",
        &[],
        &[
            ("PATIO_NAMESPACES", "/,/chat"),
            ("PATIO_REDIS_URL", "redis://2"),
            ("PATIO_REDIS_ADAPTER", "streams"),
        ],
    );
    let named = named.unwrap();
    assert_eq!(named.namespaces, ["/", "/chat"]);
    assert_eq!(named.redis.unwrap().adapter, Adapter::Streams);
}

#[test]
fn secrets_are_not_shown() {
    let file = "[redis]\nurl = \"redis://:hidden@x\"\n[[auth.jwt.keys]]\nalgorithm = \"HS256\"\nfile = \"secret\"\n[[api_keys]]\nkey = \"hidden-hidden-hidden\"\nscopes = []";
    let shown = format!("{:?}", read(file, &[], &[]).unwrap());
    assert!(!shown.contains("hidden") && !shown.contains("thirty"), "{shown}");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (file, variables, expected) in [
        ("listen = ", &[][..], "p.toml:1: "),
        ("a = 1\nlisten = [", &[], "p.toml:2: "),
        ("lisen = \"x\"", &[], "lisen: is no field here; did you mean `listen`? (p.toml)"),
        ("[redis]\nurll = \"x\"", &[], "redis.urll: is no field here; did you mean `url`? (p.toml)"),
        (
            "",
            &[("PATIO_LISEN", "x")],
            "PATIO_LISEN: is no variable of this server; did you mean PATIO_LISTEN?",
        ),
        ("", &[("PATIO_DRAIN_SECONDS", "soon")], "PATIO_DRAIN_SECONDS: must be a whole number, not `soon`"),
        (
            "",
            &[("PATIO_REDIS_ADAPTER", "x")],
            "redis.adapter: must be one of pubsub, sharded, streams, not `x` (PATIO_REDIS_ADAPTER)",
        ),
        (
            "drain_seconds = \"x\"",
            &[],
            "drain_seconds: must be a whole number that is not negative, not text (p.toml)",
        ),
        ("namespaces = [\"chat\"]", &[], "namespaces[0]: must begin with a slash (p.toml)"),
        ("namespaces = []", &[], "namespaces: is empty"),
        ("allowed_origins = [\"example.com\"]", &[], "allowed_origins[0]: must be an origin"),
        ("[limits]\napi_operations = 0", &[], "limits.api_operations: must be at least 1 (p.toml)"),
        ("[log]\nformat = \"xml\"", &[], "log.format: must be one of text, json, not `xml` (p.toml)"),
        ("[auth.jwt]\nissuer = \"x\"", &[], "auth.jwt.keys: are missing, so no token could count"),
        (
            "[[auth.jwt.keys]]\nalgorithm = \"HS256\"\nsecret = \"short\"",
            &[],
            "auth.jwt.keys[0].secret: is shorter than 32 bytes (p.toml)",
        ),
        (
            "[[auth.jwt.keys]]\nalgorithm = \"none\"\nfile = \"secret\"",
            &[],
            "auth.jwt.keys[0].file: none is not one of",
        ),
        ("[[auth.jwt.keys]]\nalgorithm = \"HS256\"\nfile = \"gone\"", &[], "auth.jwt.keys[0].file: "),
        (
            "[[auth.jwt.keys]]\nalgorithm = \"HS256\"",
            &[],
            "auth.jwt.keys[0].secret: exactly one of it, `file` and `jwks_url` must be there",
        ),
        ("[[api_keys]]\nkey = \"short\"\nscopes = []", &[], "api_keys[0].key: is shorter than 16 bytes"),
        (
            "[[api_keys]]\nsha256 = \"x\"\nscopes = []",
            &[],
            "api_keys[0].sha256: must be 64 hexadecimal digits",
        ),
        (
            "[[api_keys]]\nkey = \"0123456789abcdef\"\nscopes = [\"all\"]",
            &[],
            "api_keys[0].scopes[0]: must be one of publish, query, admin",
        ),
        (
            "[[rules]]\nevent = \"e\"\naction = \"drp\"",
            &[],
            "rules[0].action: must be one of hook, relay, drop, not `drp`",
        ),
        (
            "[[rules]]\nevent = \"e\"\naction = \"drop\"\nevents_per_second = 0",
            &[],
            "rules[0].events_per_second: must be a whole number, at least 1",
        ),
        ("[[rules]]\nevent = \"e\"\naction = \"hook\"", &[], "rules[0].url: is missing"),
        (
            "[[rules]]\nevent = \"e\"\naction = \"drop\"\nurl = \"http://x\"",
            &[],
            "rules[0].url: is for the action `hook` only",
        ),
        ("[hooks]\nsecrets = [\"x\"]", &[], "hooks.secrets[0]: must begin with whsec_ (p.toml)"),
        ("[hooks]\ntimeout_ms = 0", &[], "hooks.timeout_ms: must be at least 1"),
        ("[hooks.connect]\nurl = \"ftp://x\"", &[], "hooks.connect.url: must begin with http:// or https://"),
        (
            "listen = \"0.0.0.0:1\"",
            &[],
            "listen: 0.0.0.0:1 can be reached from elsewhere, and there is no authentication",
        ),
        (
            "listen = \"example.com:1\"\n[[auth.jwt.keys]]\nalgorithm = \"HS256\"\nfile = \"secret\"",
            &[],
            "allowed_origins: is empty",
        ),
        ("internal_listen = \"127.0.0.1:3000\"", &[], "internal_listen: is the same as listen"),
    ] {
        let said = wrong(file, variables);
        assert!(said.starts_with(expected), "{file}\nexpected {expected}\nsaid     {said}");
    }
}

#[test]
fn insecure_is_a_choice() {
    let config = read("listen = \"0.0.0.0:1\"\ninsecure = true", &[], &[]).unwrap();
    assert!(config.warnings.iter().any(|warning| warning == INSECURE));
    for listen in ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.9.9.9:1"] {
        assert!(is_loopback(listen), "{listen}");
    }
    for listen in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.com:1", "localhost.example.com:1"] {
        assert!(!is_loopback(listen), "{listen}");
    }
}

#[test]
fn what_the_documents_show_is_right() {
    let blocks = |document: &str| -> Vec<String> {
        let parts = document.split("```toml\n").skip(1);
        parts.filter_map(|part| part.split_once("```").map(|(block, _)| block.to_owned())).collect()
    };
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let documents = [include_str!("../../../../docs/server.md"), include_str!("../../../../docs/hooks.md")];
    let shown: Vec<_> = documents.iter().flat_map(|document| blocks(document)).collect();
    assert_eq!(shown.len(), 3);
    for block in shown {
        read(&block.replace("whsec_…", secret), &[], &[])
            .unwrap_or_else(|invalid| panic!("{invalid}\n{block}"));
    }
}
