//! The arguments: what can be asked of the program, and in which words.
//!
//! Invariant: an argument that has a value has been understood; nobody parses
//! it again. Absent: commands that this version cannot do, rather than stubs
//! that say so.

use crate::config::{self, AdminAddr};
use clap::{Args, Parser, Subcommand};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A reverse proxy for the moment when things stop: drain it under load, and
/// no client notices.
#[derive(Debug, Parser)]
#[command(name = "ebbtide", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 good; 1 failed; 2 usage; \
    3 drained, but something was cut (drain --wait); 64 bad config";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the proxy until it has drained
    Run(Run),
    /// See it drain: servers, clients and a proxy in one process, no config needed
    Demo,
    /// Say everything that is wrong with a config
    Check(File),
    /// Print the JSON Schema of the config file
    Schema,
    /// Show a running proxy at a glance
    Status(Remote),
    /// Show every connection and what it waits for
    Connections(Remote),
    /// Drain a running proxy
    Drain(Drain),
    /// Show what a drain would cut short if it began now
    Forecast(Forecast),
    /// Show what the drain did
    Receipt(Remote),
    /// Have a running proxy read its config anew
    Reload(Reload),
    /// Show the config that a running proxy runs by, every default written out
    Config(Remote),
    /// Let a new program take over the sockets of the running one
    Handover(Handover),
}

/// What to run.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) file: File,
    /// Take over the sockets of the running process, which drains once this
    /// one serves; its handover socket is that of the config unless given
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true)]
    #[expect(
        clippy::option_option,
        reason = "how clap reads a value that may be left out"
    )]
    pub(super) takeover: Option<Option<PathBuf>>,
    /// Get ready, and take over when the running process gets SIGQUIT or
    /// `ebbtide handover`
    #[arg(long, requires = "takeover")]
    pub(super) standby: bool,
}

/// Who is to take over.
#[derive(Debug, Args)]
pub(super) struct Handover {
    /// Start this program, and wait until it serves; without, the successor
    /// that waits gets the word
    #[arg(long, value_name = "PROGRAM")]
    pub(super) exec: Option<PathBuf>,
    /// The successor's config [default: the running process's]
    #[arg(requires = "exec")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// A config, and what its drain has to fit.
#[derive(Debug, Args)]
pub(super) struct File {
    /// The config file [default: /etc/ebbtide/ebbtide.toml, else ./ebbtide.toml]
    pub(super) config: Option<PathBuf>,
    /// What the orchestrator gives between SIGTERM and SIGKILL, e.g. 30s: a drain
    /// that can take longer is refused
    #[arg(long, value_name = "TIME", env = "EBBTIDE_GRACE", value_parser = config::duration)]
    pub(super) grace: Option<Duration>,
}

/// What to do about a drain.
#[derive(Debug, Args)]
pub(super) struct Drain {
    /// Wait until it is over and print the receipt; exit with 3 if something was cut
    #[arg(long)]
    pub(super) wait: bool,
    /// Take back a drain that is still announcing, or that of a server at any time
    #[arg(long, conflicts_with = "wait")]
    pub(super) cancel: bool,
    /// Give what is in flight this much more time, e.g. 30s
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["wait", "cancel"])]
    pub(super) extend: Option<String>,
    /// Only this listener, not the process
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) listener: Option<String>,
    /// Only this server of an upstream, as in site/10.0.0.1:8080
    #[arg(long, value_name = "UPSTREAM/SERVER", value_parser = server,
          conflicts_with_all = ["listener", "extend"])]
    pub(super) server: Option<ServerName>,
    /// What a server's exchanges have to finish, as in 30s; the plan's times if left out
    #[arg(long, value_name = "TIME", value_parser = time, requires = "server", conflicts_with = "cancel")]
    pub(super) finish: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What to do about a config.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait until what the config has no place for any more has drained
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) wait: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// A duration, passed on as it is written.
fn time(text: &str) -> Result<String, String> {
    config::duration(text).map(|_| text.to_owned())
}

/// A listener's name, as the config has them.
fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("a listener's name has letters, digits, `_`, `-` and `.`".to_owned())
}

/// A server, by its names in the config.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) struct ServerName {
    pub(super) upstream: String,
    pub(super) server: String,
}

fn server(text: &str) -> Result<ServerName, String> {
    // Only the first: what follows may be the path of a socket.
    match text.split_once('/') {
        Some((upstream, server)) if !upstream.is_empty() && !server.is_empty() => Ok(ServerName {
            upstream: upstream.to_owned(),
            server: server.to_owned(),
        }),
        _ => {
            Err("a server is named by its upstream and itself, as in site/10.0.0.1:8080".to_owned())
        }
    }
}

/// What a forecast assumes.
#[derive(Debug, Args)]
pub(super) struct Forecast {
    /// What everything in flight would have to finish, as in 30s; the plan's times if left out
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) finish: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// How to reach a running proxy, and how to show its answer.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// Its admin interface: HOST:PORT, <https://HOST:PORT>, or unix:PATH
    #[arg(
        long,
        value_name = "ADDR",
        env = "EBBTIDE_ADMIN",
        default_value = "127.0.0.1:9900"
    )]
    pub(super) admin: Address,
    /// The admin token, if its config has one; arguments can be read by other
    /// users of the machine, the environment cannot
    #[arg(long, env = "EBBTIDE_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// The authority of its certificate, a PEM file, where it has TLS
    #[arg(long, value_name = "FILE", env = "EBBTIDE_CA")]
    pub(super) ca: Option<PathBuf>,
    /// A client certificate to show there, a PEM file
    #[arg(long, value_name = "FILE", env = "EBBTIDE_CERT", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// The private key of that certificate, a PEM file
    #[arg(long, value_name = "FILE", env = "EBBTIDE_KEY", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// An address to connect to; unlike [`AdminAddr`], a host may be a name.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(super) enum Address {
    /// `host:port`.
    Host(String),
    /// The same, over TLS.
    Secure(String),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("unix: needs a path, as in unix:/run/ebbtide.sock".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let (rest, address): (_, fn(String) -> Self) = match text.strip_prefix("https://") {
            Some(rest) => (rest.trim_end_matches('/'), Self::Secure),
            None => (text, Self::Host),
        };
        let port = rest
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse::<u16>()));
        match port {
            Some((host, Ok(_))) if is_host(host) => Ok(address(rest.to_owned())),
            _ => Err("this is none of HOST:PORT, https://HOST:PORT and unix:PATH".to_owned()),
        }
    }
}

/// An IPv6 address stands in brackets, as in a URL.
fn is_host(host: &str) -> bool {
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty() && (bracketed || !host.contains([':', '/']))
}

impl From<&AdminAddr> for Address {
    fn from(address: &AdminAddr) -> Self {
        match address {
            AdminAddr::Inet(inet) => Self::Host(inet.to_string()),
            AdminAddr::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Secure(host) => write!(f, "https://{host}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    use std::path::Path;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = line.split(' ');
        Arguments::try_parse_from(words).map(|arguments| arguments.command)
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_are_understood() {
        let run = parse("ebbtide run a.toml").expect("known");
        assert!(
            matches!(run, Command::Run(Run { file, takeover: None, .. }) if file.config == Some("a.toml".into()))
        );
        for (line, socket) in [
            ("ebbtide run --takeover a.toml", None),
            (
                "ebbtide run --takeover=e.sock --standby a.toml",
                Some("e.sock"),
            ),
        ] {
            let Ok(Command::Run(run)) = parse(line) else {
                panic!("not understood: {line}");
            };
            assert_eq!(
                run.file.config.as_deref(),
                Some(Path::new("a.toml")),
                "{line}"
            );
            assert_eq!(run.takeover, Some(socket.map(PathBuf::from)), "{line}");
        }
        let check = parse("ebbtide check").expect("known");
        assert!(matches!(check, Command::Check(file) if file.config.is_none()));
        let check = parse("ebbtide check a.toml --grace 1m30s").expect("known");
        let given = Some(Duration::from_secs(90));
        assert!(matches!(check, Command::Check(file) if file.grace == given));
    }

    #[test]
    fn commands_to_a_running_proxy_are_understood() {
        let handover = parse("ebbtide handover --exec ./new b.toml").expect("known");
        assert!(matches!(
            handover,
            Command::Handover(Handover {
                config: Some(_),
                ..
            })
        ));
        let drain =
            parse("ebbtide drain --wait --listener web --admin unix:/run/e.sock --json --token t");
        let Ok(Command::Drain(Drain {
            wait: true,
            cancel: false,
            extend: None,
            listener: Some(listener),
            server: None,
            finish: None,
            remote,
        })) = drain
        else {
            panic!("not understood: {drain:?}");
        };
        assert!(remote.json);
        assert_eq!(listener, "web");
        assert_eq!(remote.admin, Address::Unix("/run/e.sock".into()));
        assert_eq!(remote.token.as_deref(), Some("t"));
        let drain = parse("ebbtide drain --server site/unix:/run/a.sock --finish 30s --wait");
        let Ok(Command::Drain(Drain {
            server: Some(server),
            finish: Some(finish),
            ..
        })) = drain
        else {
            panic!("not understood: {drain:?}");
        };
        assert_eq!(server.upstream, "site");
        assert_eq!(server.server, "unix:/run/a.sock");
        assert_eq!(finish, "30s");
        let forecast = parse("ebbtide forecast --finish 1m30s --json");
        let Ok(Command::Forecast(Forecast {
            finish: Some(finish),
            remote,
        })) = forecast
        else {
            panic!("not understood: {forecast:?}");
        };
        assert!(remote.json);
        assert_eq!(finish, "1m30s");
    }

    #[test]
    fn what_is_not_understood_is_a_usage_error() {
        for line in [
            "ebbtide",
            "ebbtide fly",
            "ebbtide run a b",
            "ebbtide run --wait",
            "ebbtide run --standby",
            "ebbtide handover b.toml",
            "ebbtide check --grace 30",
            "ebbtide drain --wait --cancel",
            "ebbtide reload --wait --dry-run",
            "ebbtide drain --wait --extend 5s",
            "ebbtide drain --extend 5",
            "ebbtide drain --listener a&wait=true",
            "ebbtide drain --server site",
            "ebbtide drain --server /10.0.0.1:80",
            "ebbtide drain --server site/a --listener web",
            "ebbtide drain --server site/a --extend 5s",
            "ebbtide drain --server site/a --finish 5",
            "ebbtide drain --server site/a --cancel --finish 5s",
            "ebbtide drain --finish 5s",
            "ebbtide forecast --finish 30",
            "ebbtide forecast --finish 1.5s",
            "ebbtide status --admin 9900",
            "ebbtide status --admin :9900",
            "ebbtide status --admin host:99999",
            "ebbtide status --admin http://host:80",
            "ebbtide status --admin ::1:9900",
            "ebbtide status --admin unix:",
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.use_stderr(), "{line}");
            assert_eq!(
                error.exit_code(),
                i32::from(crate::cli::exit::USAGE),
                "{line}"
            );
        }
        let help = parse("ebbtide --help").expect_err("ends the program");
        assert_eq!(help.kind(), ErrorKind::DisplayHelp);
        assert!(help.to_string().contains("64 bad config"), "{help}");
    }

    #[test]
    fn addresses_are_read_and_shown() {
        for text in [
            "127.0.0.1:9900",
            "localhost:1",
            "[::1]:9900",
            "unix:/run/e.sock",
        ] {
            let address: Address = text.parse().expect("understood");
            assert_eq!(address.to_string(), text);
        }
    }
}
