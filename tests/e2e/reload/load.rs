//! Reloads under load: nobody notices, and nothing is left behind.

use super::{DRAIN, ends, reload};
use crate::support::certificate::Certificate;
use crate::support::load::{Load, Servers};
use crate::support::proxy::Proxy;
use crate::support::servers::Server;

/// How often the config changes under load.
const RELOADS: usize = 200;

/// How often, to see that nothing is left behind.
const MANY_RELOADS: usize = 500;

/// More memory than this must not be needed for what comes after the first
/// hundred.
const GROWTH: u64 = 8 << 20;

#[tokio::test]
async fn nobody_is_lost_however_often_the_config_changes() {
    let servers = Servers::start().await;
    let config = format!("{}{DRAIN}", servers.tables());
    let proxy = Proxy::start(&config).await;
    let second = Server::http1().await;
    let load = Load::untouched();
    let tasks = load.everything(&proxy);
    load.some_more(&tasks).await;
    for round in 0..RELOADS {
        let changed = change(&proxy, &config, &servers.http, &second, round);
        let done = reload(&proxy, &changed).await;
        assert_eq!(done["applied"], true, "{round}: {done}");
        load.some_more(&tasks).await;
        assert!(Load::is_well(&tasks), "{round}");
    }
    load.stop(tasks).await;
    ends(proxy).await;
}

#[tokio::test]
async fn reloads_leave_nothing_behind() {
    let servers = Servers::start().await;
    let config = format!("{}{DRAIN}", servers.tables());
    let proxy = Proxy::start(&config).await;
    let second = Server::http1().await;
    let mut before = (0, 0);
    for round in 0..MANY_RELOADS {
        let changed = change(&proxy, &config, &servers.http, &second, round);
        reload(&proxy, &changed).await;
        if round == MANY_RELOADS / 5 {
            settled(&proxy).await;
            before = (proxy.descriptors(), proxy.memory());
        }
    }
    settled(&proxy).await;
    proxy.until_descriptors(before.0).await;
    let memory = proxy.memory();
    assert!(memory < before.1 + GROWTH, "{} to {memory}", before.1);
    ends(proxy).await;
}

/// Wait until the listeners that were removed have closed.
async fn settled(proxy: &Proxy) {
    let only_ours = |status: &serde_json::Value| {
        let listeners = status["listeners"].as_array().expect("an array");
        listeners.iter().all(|one| one["phase"] != "draining")
    };
    proxy.until_status(only_ours).await;
}

/// Something different each time: a header, a server, a listener, a limit, a
/// certificate, the plan.
fn change(proxy: &Proxy, config: &str, first: &Server, second: &Server, round: usize) -> String {
    match round % 6 {
        0 => {
            let route = format!(
                "{{ upstream = \"site\", set_response_headers = {{ x-gen = \"{round}\" }} }}"
            );
            config.replace("{ upstream = \"site\" }", &route)
        }
        1 => config.replace(&first.address.to_string(), &second.address.to_string()),
        2 => {
            let more = "[listener.other]\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
                        upstream = \"echo\"\n\n[listener.tcp]";
            config.replace("[listener.tcp]", more)
        }
        3 => config.replace(
            "[listener.web]",
            "[listener.web]\nlimits = { connections = 50 }",
        ),
        4 => {
            Certificate::new().write(proxy.directory());
            config.to_owned()
        }
        _ => config.replace("announce = \"0s\"", "announce = \"5ms\""),
    }
}
