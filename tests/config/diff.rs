//! What a reload would change, told from the two configs.

use crate::fixture::Fixture;
use ebbtide::config::Diff;

const BASE: &str = r#"
[listener.web]
listen = "127.0.0.1:8080"
tls = { cert = "certs/site.pem", key = "certs/site.key" }
routes = [
  { host = "api.example.com", upstream = "orders" },
  { upstream = "site" },
]

[listener.db]
listen = "127.0.0.1:5432"
protocol = "tcp"
upstream = "site"

[upstream.site]
servers = ["10.0.0.1:80", "10.0.0.2:80"]

[upstream.orders]
servers = ["10.0.1.1:80"]
tls = { sni = "orders.internal", ca = "certs/ca.pem" }
"#;

/// What is said of the change from `BASE` to the same with these replaced.
fn said(replaced: &[(&str, &str)]) -> String {
    let fixture = Fixture::new();
    let old = fixture.good(BASE);
    let mut text = BASE.to_owned();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    Diff::between(&old, &fixture.good(&text)).to_string()
}

#[test]
fn an_equal_config_changes_nothing() {
    assert_eq!(said(&[]), "changes nothing\n");
    let listener =
        "[listener.db]\nlisten = \"127.0.0.1:5432\"\nprotocol = \"tcp\"\nupstream = \"site\"\n";
    let upstreams = (
        "[upstream.site]",
        "[upstream.spare]\nservers = [\"10.0.3.1:80\"]\n[upstream.site]",
    );
    let moved = said(&[
        (listener, ""),
        ("[upstream.site]", &format!("{listener}\n[upstream.site]")),
    ]);
    assert_eq!(
        moved, "changes nothing\n",
        "the order of names means nothing"
    );
    assert_eq!(
        said(&[upstreams]),
        "adds upstream spare\n",
        "positions move, names stay"
    );
}

#[test]
fn listeners_are_added_drained_replaced_and_changed() {
    let more = "[listener.more]\nlisten = \"127.0.0.1:9\"\nroutes = [{ upstream = \"site\" }]\n[listener.db]";
    assert_eq!(said(&[("[listener.db]", more)]), "adds listener more\n");
    let renamed = said(&[("[listener.db]", "[listener.sql]")]);
    assert_eq!(
        renamed,
        "adds listener sql\ndrains listener db and takes it away\n"
    );
    let elsewhere = said(&[("127.0.0.1:5432", "127.0.0.1:5433")]);
    assert_eq!(elsewhere, "adds the new listener db, drains the old\n");
    let settings = "[listener.db]\nidle = \"5s\"\nlimits = { connections = 9 }\nafter = [\"web\"]";
    let changed = said(&[
        ("[listener.db]", settings),
        (
            "[upstream.site]",
            "[drain]\ngrace = \"90s\"\n[upstream.site]",
        ),
    ]);
    assert_eq!(
        changed,
        "changes listener db: idle, limits, after\nchanges the drain plan\n"
    );
}

#[test]
fn what_is_spoken_of_grpc_is_a_setting() {
    let keys =
        "[listener.web]\ngrpc_health = true\ngrpc_web = true\nkeepalive = { least = \"0s\" }";
    assert_eq!(
        said(&[("[listener.web]", keys)]),
        "changes listener web: keepalive, grpc_health, grpc_web\n"
    );
}

#[test]
fn who_tells_of_clients_and_who_is_told_are_settings() {
    let settings = [
        (
            "[listener.db]",
            "[listener.db]\nproxy_protocol = { from = [\"10.0.0.0/8\"] }",
        ),
        (
            "[upstream.site]",
            "[upstream.site]\nproxy_protocol = \"v1\"",
        ),
    ];
    assert_eq!(
        said(&settings),
        "changes listener db: proxy_protocol\nchanges upstream site: proxy_protocol\n"
    );
}

#[test]
fn routes_are_compared_by_what_they_say() {
    let changed = "changes listener web: routes\n";
    assert_eq!(said(&[("api.example.com", "*.example.com")]), changed);
    let headers = "upstream = \"orders\", set_response_headers = { x-gen = \"2\" } }";
    assert_eq!(said(&[("upstream = \"orders\" }", headers)]), changed);
    let path = "{ path = \"/x\", upstream = \"site\" },\n  { upstream = \"site\" },";
    assert_eq!(said(&[("{ upstream = \"site\" },", path)]), changed);
    let retry = "upstream = \"orders\", retry = { status = [503] } }";
    assert_eq!(said(&[("upstream = \"orders\" }", retry)]), changed);
}

#[test]
fn how_servers_are_chosen_is_a_setting() {
    let least = "[upstream.site]\nbalance = \"least_in_flight\"\nspill = \"50%\"\npanic = \"1%\"";
    assert_eq!(
        said(&[("[upstream.site]", least)]),
        "changes upstream site: balance, spill, panic\n"
    );
    let heard = "[upstream.site]\neject = false\ngoing = { closes = 0 }\nslow_start = \"1s\"";
    assert_eq!(
        said(&[("[upstream.site]", heard)]),
        "changes upstream site: slow_start, eject, going\n"
    );
    let room = "[upstream.site]\nlimits = { requests = 9, share = \"50%\" }\nadaptive = true";
    assert_eq!(
        said(&[("[upstream.site]", room)]),
        "changes upstream site: limits, adaptive\n"
    );
    let kept = "[upstream.site]\npool = { warm = 1, max_age = \"5m\" }";
    assert_eq!(
        said(&[("[upstream.site]", kept)]),
        "changes upstream site: pool\n"
    );
    let found = "[{ dns = \"site.internal\", port = 80 }]\n[upstream.site.discover]\nhold = \"1s\"";
    assert_eq!(
        said(&[("[\"10.0.0.1:80\", \"10.0.0.2:80\"]", found)]),
        "changes upstream site: servers, discover\n\
         drains server 10.0.0.1:80 of upstream site\n\
         drains server 10.0.0.2:80 of upstream site\n"
    );
    let weight = "{ address = \"10.0.0.1:80\", weight = 2 }";
    assert_eq!(
        said(&[("\"10.0.0.1:80\"", weight)]),
        "changes upstream site: servers\n"
    );
    let zone = ("[listener.web]", "[process]\nzone = \"a\"\n[listener.web]");
    assert_eq!(said(&[zone]), "changes `process.zone`\n");
}

#[test]
fn servers_that_are_gone_are_named() {
    let gone = said(&[("\"10.0.0.1:80\", ", "")]);
    assert_eq!(
        gone,
        "changes upstream site: servers\ndrains server 10.0.0.1:80 of upstream site\n"
    );
    let more = said(&[("\"10.0.0.1:80\", ", "\"10.0.0.1:80\", \"10.0.0.3:80\", ")]);
    assert_eq!(more, "changes upstream site: servers\n");
}

#[test]
fn new_content_under_an_old_path_is_a_change() {
    let fixture = Fixture::new();
    let old = fixture.good(BASE);
    for (from, to) in [
        ("certs/client.pem", "certs/site.pem"),
        ("certs/client.key", "certs/site.key"),
    ] {
        let content = std::fs::read(fixture.path(from)).expect(from);
        fixture.write(to, &content);
    }
    let authority = std::fs::read(fixture.path("certs/other.pem")).expect("a certificate");
    fixture.write("certs/ca.pem", &authority);
    let said = Diff::between(&old, &fixture.good(BASE)).to_string();
    assert_eq!(
        said,
        "changes listener web: tls\nchanges upstream orders: tls\n"
    );
}

#[test]
fn what_needs_a_new_process_is_refused_in_words() {
    let process =
        "[process]\nworkers = 3\nlogs = { format = \"text\", level = \"debug\" }\n[listener.web]";
    let admin = format!("[admin]\nlisten = \"127.0.0.1:9901\"\n{process}");
    let said = said(&[("[listener.web]", &admin)]);
    for part in [
        "changes the log level, the log format\n",
        "`admin.listen` cannot",
        "`process.workers` cannot",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn traces_can_change_while_the_process_runs() {
    let on = "[process.traces]\notlp = \"http://127.0.0.1:4317\"\n[upstream.site]";
    assert_eq!(said(&[("[upstream.site]", on)]), "changes traces\n");
}
