//! The command line: what can be typed after `patio`. Every setting is a flag, from the one list of them.

use std::{env, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value as Json, json};

use crate::{
    ask::{Call, Question},
    config::{self, Sources},
    expiry::now,
};

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    Serve(Sources),
    /// Read the configuration and say what is wrong with it.
    Check(Sources),
    /// Print the commented default configuration.
    Config,
    /// Print a token that says this.
    Token(Sources, Json),
    /// Ask a running server.
    Ask(Sources, Question),
}

/// What was typed; a mistake ends the process with status 64, help with 0.
pub(crate) fn task() -> Task {
    match command().try_get_matches() {
        Ok(matches) => read(&matches, env::vars()),
        Err(error) => {
            // Nothing can be done if that cannot be written.
            let _ = error.print();
            std::process::exit(if error.use_stderr() { crate::WRONG_USAGE } else { 0 });
        }
    }
}

fn command() -> Command {
    let serve = Command::new("serve").about("Serve clients and the API (what `patio` does by itself)");
    let check = Command::new("check").about("Read the configuration and say what is wrong with it");
    let config =
        Command::new("config").about("Print the default configuration, with what each setting is for");
    with_settings(Command::new("patio"))
        .about("A Socket.IO server for a backend in any language. Without a subcommand it serves.")
        .version(env!("CARGO_PKG_VERSION"))
        .args_conflicts_with_subcommands(true)
        .after_help(
            "Exit status: 0 it ended as it should, 1 it could not do its work, 64 wrong usage, 78 wrong configuration, \
             130 it was told twice to end.",
        )
        .subcommands([with_settings(serve), with_settings(check), config, token(), emit(), sockets(), rooms(), drain()])
}

fn token() -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    Command::new("token")
        .about("Print a token, signed with the first HS256 secret of the configuration, to try a client with")
        .args([file(), text("sub", "Whose it is"), text("nsp", "The namespace that it is for")])
        .arg(
            text("rooms", "Rooms that it is in from the beginning")
                .value_delimiter(',')
                .action(ArgAction::Append),
        )
        .arg(text("data", "Data of its socket, a JSON object").value_parser(json))
        .arg(
            text("expires", "When it ends, in seconds from now")
                .default_value("3600")
                .value_parser(clap::value_parser!(u64)),
        )
}

/// Where a running server is, and by which key it is asked.
fn asking(command: Command) -> Command {
    let url = Arg::new("url")
        .long("url")
        .value_name("URL")
        .help("Where it is [default: where the configuration says]");
    let nsp = Arg::new("nsp").long("nsp").value_name("NAMESPACE").default_value("/").help("The namespace");
    command.args([file(), key(), url, nsp])
}

fn emit() -> Command {
    let rooms = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("ROOM").action(ArgAction::Append).help(help)
    };
    asking(Command::new("emit").about("Have a running server emit an event"))
        .arg(Arg::new("event").required(true).help("Its name"))
        .arg(Arg::new("args").num_args(0..).help("Its arguments: JSON, or else text"))
        .arg(rooms("to", "Only to the sockets in this room; more than once: in any of them"))
        .arg(rooms("except", "Not to the sockets in this room"))
}

fn sockets() -> Command {
    let room = Arg::new("room").long("room").help("Only those in this room");
    paged(asking(Command::new("sockets").about("List the sockets of a running server and its cluster")))
        .arg(room)
}

fn rooms() -> Command {
    paged(asking(Command::new("rooms").about("List the rooms of a running server and its cluster")))
}

fn drain() -> Command {
    asking(Command::new("drain").about("Have a running server release its clients and end"))
}

fn paged(command: Command) -> Command {
    let text = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    command.args([text("limit", "How many at most"), text("cursor", "Where the last page ended")])
}

fn json(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn file() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("The configuration file [PATIO_CONFIG, default: patio.toml if it is there]")
}

fn key() -> Arg {
    Arg::new("api-key").long("api-key").value_name("KEY").help(
        "A key for the API with all scopes; better in the variable, which others cannot see [PATIO_API_KEY]",
    )
}

fn with_settings(command: Command) -> Command {
    let settings = config::flags().map(|(path, flag, help, is_switch)| {
        let arg = Arg::new(path).long(flag).help(help).action(ArgAction::Set);
        match is_switch {
            // `--insecure` alone is yes.
            true => arg
                .value_name("true|false")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            false => arg.value_name("VALUE"),
        }
    });
    command.args([file(), key()]).args(settings)
}

fn read(matches: &ArgMatches, variables: impl Iterator<Item = (String, String)>) -> Task {
    let variables: Vec<_> = variables.filter(|(name, _)| name.starts_with("PATIO_")).collect();
    let sources = |matches: &ArgMatches| {
        // Subcommands that ask have few of them.
        let typed = |path: &'static str| Some((path, matches.try_get_one::<String>(path).ok()??.clone()));
        Sources {
            file: matches.get_one::<PathBuf>("config").cloned(),
            flags: config::flags().filter_map(|(path, ..)| typed(path)).collect(),
            api_key: matches.try_get_one::<String>("api-key").ok().flatten().cloned(),
            variables: variables.clone(),
        }
    };
    let text = |matches: &ArgMatches, name: &str| matches.get_one::<String>(name).cloned();
    let all = |matches: &ArgMatches, name: &str| {
        let values = matches.get_many::<String>(name).into_iter().flatten();
        values.cloned().collect::<Vec<_>>()
    };
    let ask = |matches: &ArgMatches, call| {
        let key = variables.iter().find(|(name, _)| name == "PATIO_API_KEY").map(|(_, key)| key.clone());
        let question = Question { url: text(matches, "url"), key: text(matches, "api-key").or(key), call };
        Task::Ask(sources(matches), question)
    };
    let query = |matches: &ArgMatches, path: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for name in ["nsp", "room", "limit", "cursor"] {
            if let Ok(Some(value)) = matches.try_get_one::<String>(name) {
                query.append_pair(name, value);
            }
        }
        Call::Get(format!("{path}?{}", query.finish()))
    };
    match matches.subcommand() {
        Some(("check", matches)) => Task::Check(sources(matches)),
        Some(("config", _)) => Task::Config,
        Some(("token", matches)) => {
            let expires = matches.get_one::<u64>("expires").copied().unwrap_or_default();
            let mut claims = json!({ "exp": now().saturating_add(expires), "rooms": all(matches, "rooms") });
            for name in ["sub", "nsp"] {
                if let Some(value) = text(matches, name) {
                    claims[name] = value.into();
                }
            }
            if let Some(data) = matches.get_one::<Json>("data") {
                claims["data"] = data.clone();
            }
            Task::Token(sources(matches), claims)
        }
        Some(("emit", matches)) => {
            let arg = |text: String| serde_json::from_str(&text).unwrap_or(Json::String(text));
            let args: Vec<_> = all(matches, "args").into_iter().map(arg).collect();
            let mut operation = json!({ "op": "emit", "nsp": text(matches, "nsp"), "event": text(matches, "event"), "args": args });
            operation["except"] = all(matches, "except").into();
            if matches.contains_id("to") {
                operation["to"] = all(matches, "to").into();
            }
            ask(matches, Call::Post(operation))
        }
        Some(("sockets", matches)) => ask(matches, query(matches, "sockets")),
        Some(("rooms", matches)) => ask(matches, query(matches, "rooms")),
        Some(("drain", matches)) => ask(matches, Call::Drain),
        Some((_, matches)) => Task::Serve(sources(matches)),
        None => Task::Serve(sources(matches)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> Vec<(&'static str, String)> {
        let matches = command().try_get_matches_from(words).unwrap();
        match read(&matches, std::iter::empty()) {
            Task::Serve(sources) | Task::Check(sources) => sources.flags,
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_is_asked_of_a_server() {
        let ask = |words: &[&str]| {
            let matches = command().try_get_matches_from(words).unwrap();
            let variables = [("PATIO_API_KEY".to_owned(), "from the variable".to_owned())];
            match read(&matches, variables.into_iter()) {
                Task::Ask(_, question) => question,
                task => panic!("{task:?}"),
            }
        };
        let question =
            ask(&["patio", "emit", "news", "{\"a\":1}", "text", "--to", "a", "--to", "b", "--api-key", "k"]);
        let Call::Post(operation) = question.call else { panic!() };
        assert_eq!(operation["args"], json!([{ "a": 1 }, "text"]));
        assert_eq!((operation["to"].clone(), question.key.as_deref()), (json!(["a", "b"]), Some("k")));
        let question = ask(&["patio", "emit", "news", "--url", "http://x"]);
        let Call::Post(operation) = question.call else { panic!() };
        assert_eq!((operation.get("to"), question.key.as_deref()), (None, Some("from the variable")));
        let question = ask(&["patio", "sockets", "--room", "a b", "--limit", "5"]);
        assert!(matches!(question.call, Call::Get(path) if path == "sockets?nsp=%2F&room=a+b&limit=5"));
        assert!(matches!(ask(&["patio", "drain"]).call, Call::Drain));
        assert!(command().try_get_matches_from(["patio", "emit"]).is_err());
    }

    #[test]
    fn every_setting_is_a_flag() {
        command().debug_assert();
        assert_eq!(flags(&["patio"]), []);
        assert_eq!(flags(&["patio", "--listen", "[::1]:80"]), [("listen", "[::1]:80".to_owned())]);
        assert_eq!(flags(&["patio", "serve", "--redis-url", "x"]), [("redis.url", "x".to_owned())]);
        assert_eq!(flags(&["patio", "check", "--insecure"]), [("insecure", "true".to_owned())]);
        assert_eq!(flags(&["patio", "--insecure=false"]), [("insecure", "false".to_owned())]);
        for wrong in [
            &["patio", "--lisen", "x"][..],
            &["patio", "--listen", "a:1", "serve"],
            &["patio", "config", "--listen", "x"],
        ] {
            assert!(command().try_get_matches_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
