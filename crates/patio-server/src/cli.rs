//! The command line: what can be typed after `patio`, and the environment variables that say the same.
//! [`crate::main`] reads it once and hands each subcommand its options.

use clap::{Args, Parser, Subcommand};

/// A Socket.IO server. Without a subcommand it serves.
#[derive(Debug, Parser)]
#[command(name = "patio", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve Socket.IO and the chat page (what `patio` does by itself)
    Serve(Serve),
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes any free port
    #[arg(long, env = "PATIO_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    pub(crate) listen: String,
}

impl Cli {
    /// The subcommand, `serve` if none was typed.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn listen(words: &[&str]) -> String {
        let Command::Serve(serve) = Cli::try_parse_from(words).unwrap().command();
        serve.listen
    }

    #[test]
    fn serve_is_what_no_subcommand_does() {
        <Cli as CommandFactory>::command().debug_assert();
        assert_eq!(listen(&["patio"]), "127.0.0.1:3000");
        assert_eq!(listen(&["patio", "--listen", "[::1]:80"]), "[::1]:80");
        assert_eq!(listen(&["patio", "serve", "--listen", "localhost:0"]), "localhost:0");
        assert!(Cli::try_parse_from(["patio", "--listen", "a:1", "serve"]).is_err());
    }
}
