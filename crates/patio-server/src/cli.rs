//! The command line: what can be typed after `patio`. Every setting is a flag, from the one list of them.

use std::{env, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{self, Sources};

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    Serve(Sources),
    /// Read the configuration and say what is wrong with it.
    Check(Sources),
    /// Print the commented default configuration.
    Config,
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
        .subcommands([with_settings(serve), with_settings(check), config])
}

fn with_settings(command: Command) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("The configuration file [PATIO_CONFIG, default: patio.toml if it is there]");
    let key = Arg::new("api-key").long("api-key").value_name("KEY").help(
        "A key for the API with all scopes; better in the variable, which others cannot see [PATIO_API_KEY]",
    );
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
    command.args([file, key]).args(settings)
}

fn read(matches: &ArgMatches, variables: impl Iterator<Item = (String, String)>) -> Task {
    let variables: Vec<_> = variables.filter(|(name, _)| name.starts_with("PATIO_")).collect();
    let sources = |matches: &ArgMatches| {
        let typed = |path: &'static str| Some((path, matches.get_one::<String>(path)?.clone()));
        Sources {
            file: matches.get_one::<PathBuf>("config").cloned(),
            flags: config::flags().filter_map(|(path, ..)| typed(path)).collect(),
            api_key: matches.get_one::<String>("api-key").cloned(),
            variables: variables.clone(),
        }
    };
    match matches.subcommand() {
        Some(("check", matches)) => Task::Check(sources(matches)),
        Some(("config", _)) => Task::Config,
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
            Task::Config => Vec::new(),
        }
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
