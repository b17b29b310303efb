//! The arguments as they are typed.

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
        walk: Walk { fleet: None, .. },
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
fn commands_to_a_fleet_are_understood() {
    let drain =
        parse("ebbtide drain --fleet a:1,b:1 --max-concurrent 2 --ready-timeout 30s --wait");
    let Ok(Command::Drain(Drain { walk, .. })) = drain else {
        panic!("not understood: {drain:?}");
    };
    assert_eq!(walk.fleet, Some("a:1,b:1".parse().expect("a fleet")));
    assert_eq!(walk.max_concurrent.get(), 2);
    assert_eq!(walk.ready_timeout, Duration::from_secs(30));
    let drain = parse("ebbtide drain --fleet file:fleet");
    let Ok(Command::Drain(Drain { walk, .. })) = drain else {
        panic!("not understood: {drain:?}");
    };
    assert_eq!(walk.max_concurrent.get(), 1);
    assert_eq!(walk.ready_timeout, Duration::from_secs(300));
    let status = parse("ebbtide status --fleet dns:proxies:9900");
    assert!(matches!(
        status,
        Ok(Command::Status(Status { fleet: Some(_), .. }))
    ));
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
        "ebbtide drain --fleet a",
        "ebbtide drain --fleet a:1 --max-concurrent 0",
        "ebbtide drain --fleet a:1 --cancel",
        "ebbtide drain --fleet a:1 --listener web",
        "ebbtide drain --fleet a:1 --ready-timeout 5",
        "ebbtide drain --max-concurrent 2",
        "ebbtide drain --ready-timeout 5s",
        "ebbtide status --fleet dns:name",
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
