//! The units in `conf/systemd`, held to the program and the example config.

use crate::fixture::repository_text;
use ebbtide::config::duration;
use std::time::Duration;

/// The values of a key, in their order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let text = repository_text(&format!("conf/systemd/{unit}"));
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let found = lines.filter(|(name, _)| *name == key);
    found.map(|(_, value)| value.to_owned()).collect()
}

fn value(unit: &str, key: &str) -> String {
    let [value] = &values(unit, key)[..] else {
        panic!("{unit} has not one {key}");
    };
    value.clone()
}

#[test]
fn the_plan_is_held_to_the_time_that_the_unit_gives() {
    let given = duration(&value("ebbtide.service", "TimeoutStopSec")).expect("a time");
    let told = value("ebbtide.service", "Environment");
    let told = told.strip_prefix("EBBTIDE_GRACE=").expect("the variable");
    assert_eq!(duration(told), Ok(given));
    // The example config is made for it.
    let example: toml::Table = repository_text("conf/example.toml").parse().expect("TOML");
    let grace = example["drain"]["grace"].as_str().expect("a time");
    assert_eq!(duration(grace), Ok(given));
}

#[test]
fn the_service_is_of_the_kind_that_the_program_is() {
    let service = "ebbtide.service";
    assert_eq!(value(service, "Type"), "notify-reload");
    assert_eq!(value(service, "KillMode"), "control-group");
    let config = value(service, "ExecStart");
    assert_eq!(
        config,
        "/usr/local/bin/ebbtide run /etc/ebbtide/ebbtide.toml"
    );
    let watchdog = duration(&value(service, "WatchdogSec")).expect("a time");
    assert!(
        watchdog >= Duration::from_secs(10),
        "a busy machine is no dead process"
    );
    assert_eq!(value(service, "RestartPreventExitStatus"), "64");
    // It asks the kernel which handshakes are half done.
    let families = value(service, "RestrictAddressFamilies");
    for family in ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"] {
        assert!(families.split(' ').any(|one| one == family), "{family}");
    }
}

#[test]
fn the_socket_is_that_of_the_example() {
    let example: toml::Table = repository_text("conf/example.toml").parse().expect("TOML");
    let name = value("ebbtide.socket", "FileDescriptorName");
    let listen = example["listener"][name.as_str()]["listen"].as_str();
    assert_eq!(
        listen,
        Some(value("ebbtide.socket", "ListenStream").as_str())
    );
    assert_eq!(value("ebbtide.socket", "Service"), "ebbtide.service");
}
