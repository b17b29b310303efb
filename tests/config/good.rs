//! Files that must load, and what they become.

use crate::fixture::{Fixture, repository_text};
use ebbtide::config::{
    AdminAddr, Balance, Config, Discover, Family, HashBy, HealthCheck, HookRun, HostPattern,
    HttpCheck, Limits, LogFile, LogFormat, Place, ProxyProtocol, ProxyVersion, Server,
    ServerAddress, Serves, UpstreamHttp, load,
};
use ebbtide::drain::Plan;
use std::time::Duration;

const SMALL: &str = r#"
[listener.web]
listen = "127.0.0.1:0"
routes = [{ upstream = "site" }]
[upstream.site]
servers = ["127.0.0.1:8080"]
"#;

fn upstream_names(config: &Config) -> Vec<&str> {
    config
        .upstreams
        .iter()
        .map(|upstream| &*upstream.name)
        .collect()
}

#[test]
fn a_small_file_takes_the_defaults() {
    let config = Fixture::new().good(SMALL);
    let admin = config.admin;
    assert_eq!(
        admin.listen,
        AdminAddr::Inet("127.0.0.1:9900".parse().expect("an address"))
    );
    assert!(admin.tokens.is_empty());
    assert_eq!(config.process.workers, 0);
    let logs = config.process.logs;
    assert_eq!(
        (logs.format, logs.file, logs.access),
        (LogFormat::Auto, LogFile::Stderr, None)
    );
    assert_eq!(logs.level, "info");
    assert_eq!(config.plan, Plan::default());
    assert!(config.hooks.is_empty());
    let listener = &config.listeners[0];
    assert_eq!(listener.idle, Duration::from_secs(60));
    assert_eq!(listener.limits, Limits::default());
    assert_eq!(listener.max_age, Duration::ZERO);
    assert!(listener.tls.is_none() && !listener.grpc_health && !listener.grpc_web);
    assert_eq!(listener.proxy_protocol, ProxyProtocol::Off);
    let Serves::Http { routes } = &listener.serves else {
        panic!("not HTTP: {listener:?}");
    };
    assert_eq!(routes[0].name, "web/0");
    assert_eq!(
        (&routes[0].host, &*routes[0].path),
        (&HostPattern::Any, "/")
    );
    assert_eq!((routes[0].timeout, routes[0].retries), (Duration::ZERO, 1));
    let upstream = &config.upstreams[0];
    assert_eq!(
        (upstream.http, &upstream.balance),
        (UpstreamHttp::H1, &Balance::RoundRobin)
    );
    assert_eq!(upstream.connect_timeout, Duration::from_secs(1));
    assert!(upstream.health.is_none() && upstream.tls.is_none());
}

#[test]
fn the_first_block_of_the_design_loads() {
    let config = Fixture::new().good(&repository_text("tests/config/good/design.toml"));
    let names: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| &*listener.name)
        .collect();
    assert_eq!(names, ["web", "db"]);
    assert_eq!(upstream_names(&config), ["site", "orders", "postgres"]);
    let Serves::Http { routes } = &config.listeners[0].serves else {
        panic!("not HTTP");
    };
    assert_eq!(routes[0].host, HostPattern::Exact("api.example.com".into()));
    assert_eq!(routes[0].path, "/orders.v1.Orders/");
    assert_eq!(&*config.upstream(routes[0].upstream).name, "orders");
    assert_eq!(&*config.upstream(routes[1].upstream).name, "site");
    let Serves::Tcp { routes } = &config.listeners[1].serves else {
        panic!("not TCP");
    };
    assert_eq!((routes.len(), &routes[0].host), (1, &HostPattern::Any));
    assert_eq!(&*config.upstream(routes[0].upstream).name, "postgres");
    let health: Vec<_> = config
        .upstreams
        .iter()
        .filter_map(|upstream| upstream.health.clone())
        .collect();
    assert_eq!(
        health[0].check,
        HealthCheck::Http(HttpCheck::of("/healthz"))
    );
    assert_eq!(
        health[1].check,
        HealthCheck::Grpc {
            service: "orders.v1.Orders".into()
        }
    );
    assert_eq!(health[2].check, HealthCheck::Tcp);
    assert_eq!(health[2].every, Duration::from_secs(2));
    assert_eq!(config.plan.grace, Duration::from_secs(60));
    assert_eq!(config.plan.finish.grpc, Duration::from_secs(45));
    let tls = config.listeners[0].tls.as_ref().expect("TLS");
    assert_eq!(tls.certificates[0].names, ["site.example"]);
    assert!(tls.tickets && tls.client_ca.is_none());
}

#[test]
fn the_further_keys_of_the_design_load() {
    let fixture = Fixture::new();
    let config = fixture.good(&repository_text("tests/config/good/further.toml"));
    assert_eq!(config.process.logs.format, LogFormat::Json);
    let tls = config.listeners[0].tls.as_ref().expect("TLS");
    assert_eq!(tls.client_ca.as_ref().map(|roots| roots.len()), Some(1));
    let Serves::Http { routes } = &config.listeners[0].serves else {
        panic!("not HTTP");
    };
    let (name, value) = &routes[0].set_response_headers[0];
    assert_eq!((name.as_str(), value.as_bytes()), ("x-gen", &b"1"[..]));
    let tls = config.upstreams[0].tls.as_ref().expect("TLS");
    assert_eq!(tls.sni, "site.internal");
    assert_eq!(tls.ca, Some(fixture.path("ca.pem")));
    assert_eq!(
        tls.client,
        Some((fixture.path("c.pem"), fixture.path("k.pem")))
    );
    let HookRun::Http { method, url, .. } = &config.hooks[0].run else {
        panic!("not HTTP: {:?}", config.hooks);
    };
    assert_eq!(method, "PUT");
    assert_eq!(url.path(), "/v1/agent/service/deregister/web");
}

#[test]
fn servers_are_looked_for_in_dns_and_in_files() {
    let servers = "[\"10.0.0.1:80\", { dns = \"Site.internal.\", port = 80, weight = 3, zone = \"a\" }, \
        { srv = \"_http._tcp.site\", family = \"ipv6\" }, { file = \"run/servers.txt\" }]";
    let text = SMALL.replace("[\"127.0.0.1:8080\"]", servers);
    let more = "discover = { resolvers = [\"10.0.0.2\", \"[::1]:5353\"], hold = \"5s\" }\n";
    let fixture = Fixture::new();
    let config = fixture.good(&format!("[process]\nzone = \"a\"\n{text}{more}"));
    let site = &config.upstreams[0];
    assert_eq!(site.servers.len(), 1, "nobody was asked");
    let places: Vec<_> = site.sources.iter().map(|one| one.place.clone()).collect();
    let file = fixture.path("run/servers.txt");
    let expected = [
        Place::Dns {
            name: "site.internal.".into(),
            port: 80,
            family: Family::Any,
            weight: 3,
        },
        Place::Srv {
            name: "_http._tcp.site".into(),
            family: Family::Ipv6,
        },
        Place::File(file),
    ];
    assert_eq!(places, expected);
    assert_eq!(site.sources[0].zone.as_deref(), Some("a"));
    assert_eq!(site.zone.as_deref(), Some("a"), "those found may be in it");
    let resolvers = ["10.0.0.2:53", "[::1]:5353"].map(|one| one.parse().expect("an address"));
    let discover = Discover {
        resolvers: resolvers.to_vec(),
        hold: Duration::from_secs(5),
        ..Discover::default()
    };
    assert_eq!(site.discover, discover);
}

#[test]
fn what_is_found_stands_behind_what_is_written_and_no_address_twice() {
    let servers = "[\"10.0.0.1:80\", { dns = \"site.internal\", port = 80 }]";
    let text = SMALL.replace("[\"127.0.0.1:8080\"]", servers);
    let mut site = Fixture::new().good(&text).upstreams.remove(0);
    let found = |last: u8| Server {
        name: format!("10.0.0.{last}:80").into(),
        address: ServerAddress::Inet(([10, 0, 0, last], 80).into()),
        weight: 1,
        zone: None,
        found_by: Some("dns:site.internal:80".into()),
    };
    for (lasts, all) in [
        (&[2, 1, 3, 2][..], &[1, 2, 3][..]),
        (&[4], &[1, 4]),
        (&[], &[1]),
    ] {
        site.set_found(lasts.iter().map(|last| found(*last)));
        let names: Vec<_> = site
            .servers
            .iter()
            .map(|one| one.name.to_string())
            .collect();
        let all: Vec<_> = all.iter().map(|last| format!("10.0.0.{last}:80")).collect();
        assert_eq!(names, all);
    }
}

#[test]
fn servers_have_weights_and_zones_and_are_chosen_by_a_key() {
    let config = |zone: &str, hash: &str| {
        let servers = "[\"10.0.0.1:80\", { address = \"10.0.0.2:80\", weight = 3, zone = \"a\" }]";
        let keys = format!("balance = {hash}\nspill = \"100%\"\npanic = \"30%\"\n");
        let text = SMALL.replace("[\"127.0.0.1:8080\"]", servers);
        Fixture::new().good(&format!("{zone}{text}{keys}"))
    };
    let site = &config("[process]\nzone = \"a\"\n", "\"hash\"").upstreams[0];
    let servers: Vec<_> = site
        .servers
        .iter()
        .map(|server| (&*server.name, server.weight, server.zone.as_deref()))
        .collect();
    assert_eq!(
        servers,
        [("10.0.0.1:80", 1, None), ("10.0.0.2:80", 3, Some("a"))]
    );
    assert_eq!(
        (site.zone.as_deref(), site.spill, site.panic),
        (Some("a"), 100, 30)
    );
    assert_eq!(site.balance, Balance::Hash(HashBy::Client));
    for (hash, by) in [
        ("\"client\"", HashBy::Client),
        (
            "\"header:X-User\"",
            HashBy::Header("x-user".parse().expect("a name")),
        ),
        ("\"cookie:Id\"", HashBy::Cookie("Id".into())),
    ] {
        let config = config("", &format!("{{ hash = {hash} }}"));
        assert_eq!(config.upstreams[0].balance, Balance::Hash(by));
        assert_eq!(config.upstreams[0].zone, None, "this process has no zone");
    }
    let least = config("", "\"least_in_flight\"");
    assert_eq!(least.upstreams[0].balance, Balance::LeastInFlight);
}

#[test]
fn a_health_check_says_what_it_asks_and_wants() {
    let of = |health: &str| {
        let config = Fixture::new().good(&format!("{SMALL}health = {health}\n"));
        config.upstreams[0].health.clone().expect("health")
    };
    let usual = of("{ http = \"/\" }");
    assert_eq!((usual.rise, usual.fall, usual.jitter), (1, 2, 10));
    assert_eq!(usual.timeout, Duration::from_secs(2));
    assert_eq!(usual.check, HealthCheck::Http(HttpCheck::of("/")));
    let asked = of(
        "{ http = \"/up\", method = \"HEAD\", status = [200, 204], body = \"ok\", rise = 3, fall = 4, \
         timeout = \"1s\", jitter = \"0%\", headers = { Host = \"site\", X-Key = \"s3cret\" } }",
    );
    assert_eq!((asked.rise, asked.fall, asked.jitter), (3, 4, 0));
    assert!(!format!("{asked:?}").contains("s3cret"));
    let HealthCheck::Http(check) = asked.check else {
        panic!("not HTTP");
    };
    assert_eq!(
        (check.method.as_str(), check.status),
        ("HEAD", vec![200, 204])
    );
    assert_eq!(check.body.as_deref(), Some("ok"));
    assert_eq!(check.headers["host"], "site");
    assert_eq!(
        of("{ http = \"/\", status = 204 }").every,
        Duration::from_secs(5)
    );
}

#[test]
fn the_example_loads_from_its_directory() {
    let fixture = Fixture::new();
    fixture.write(
        "example.toml",
        repository_text("conf/example.toml").as_bytes(),
    );
    let path = fixture.path("example.toml");
    let config = load(&path).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(config.source, path);
    assert_eq!(config.listeners.len(), 2);
}

#[test]
fn the_example_for_consul_hides_its_token() {
    let fixture = Fixture::new();
    fixture.write("consul-token", b"secret-token\n");
    let config = fixture.good(&repository_text("conf/consul.toml"));
    assert_eq!(config.hooks.len(), 3);
    for hook in &config.hooks {
        let HookRun::Http { headers, body, .. } = &hook.run else {
            panic!("not HTTP: {hook:?}");
        };
        assert_eq!(headers[0].1, "secret-token");
        assert_eq!(*body, None);
    }
    assert!(!format!("{config:?}").contains("secret-token"));
}

#[test]
fn several_certificates_are_told_apart_by_name() {
    let text = format!(
        "{SMALL}[[listener.web.tls]]\ncert = \"certs/site.pem\"\nkey = \"certs/site.key\"\n\
         client_ca = \"certs/ca.pem\"\ntickets = false\n\
         [[listener.web.tls]]\ncert = \"certs/other.pem\"\nkey = \"certs/other.key\"\n"
    );
    let config = Fixture::new().good(&text);
    let tls = config.listeners[0].tls.as_ref().expect("TLS");
    let names: Vec<_> = tls
        .certificates
        .iter()
        .map(|it| it.names.join(" "))
        .collect();
    assert_eq!(names, ["site.example", "*.example.com"]);
    assert!(tls.client_ca.is_some() && !tls.tickets);
}

#[test]
fn addresses_of_every_kind_are_read() {
    let text = SMALL.replace(
        "[\"127.0.0.1:8080\"]",
        "[\"DB.internal:5432\", \"[::1]:80\", \"unix:run/a.sock\", \"unix:/run/b.sock\"]",
    );
    let fixture = Fixture::new();
    let config = fixture.good(&format!("[admin]\nlisten = \"unix:admin.sock\"\n{text}"));
    assert_eq!(
        config.admin.listen,
        AdminAddr::Unix(fixture.path("admin.sock"))
    );
    let servers = &config.upstreams[0].servers;
    let names: Vec<_> = servers.iter().map(|server| &*server.name).collect();
    assert_eq!(
        names,
        [
            "DB.internal:5432",
            "[::1]:80",
            "unix:run/a.sock",
            "unix:/run/b.sock"
        ]
    );
    let addresses: Vec<_> = servers
        .iter()
        .map(|server| server.address.clone())
        .collect();
    assert_eq!(
        addresses[0],
        ServerAddress::Inet("10.9.8.7:5432".parse().expect("an address"))
    );
    assert_eq!(
        addresses[1],
        ServerAddress::Inet("[::1]:80".parse().expect("an address"))
    );
    assert_eq!(
        addresses[2],
        ServerAddress::Unix(fixture.path("run/a.sock"))
    );
    assert_eq!(addresses[3], ServerAddress::Unix("/run/b.sock".into()));
}

#[test]
fn the_admin_token_can_be_in_a_file_and_that_file_is_watched() {
    let fixture = Fixture::new();
    fixture.write("token", b"secret-token\n");
    let text = format!("[admin]\nlisten = \"0.0.0.0:9900\"\ntoken = \"file:token\"\n{SMALL}");
    let config = fixture.good(&text);
    assert_eq!(config.admin.tokens, ["secret-token"]);
    assert_eq!(config.files.look(), config.files);
    fixture.write("token", b"another-token\n");
    assert_ne!(config.files.look(), config.files);
}

#[test]
fn an_admin_address_for_others_is_good_with_a_token() {
    let text = format!("[admin]\nlisten = \"0.0.0.0:9900\"\ntoken = \"secret-token\"\n{SMALL}");
    let config = Fixture::new().good(&text);
    assert_eq!(config.admin.tokens, ["secret-token"]);
    assert!(
        !format!("{config:?}").contains("secret-token"),
        "the token is shown"
    );
}

#[test]
fn addresses_that_only_look_alike_are_no_clash() {
    let text = format!(
        "{SMALL}[listener.a]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [listener.b]\nlisten = \"127.0.0.2:9900\"\nroutes = [{{ upstream = \"site\" }}]\n"
    );
    assert_eq!(Fixture::new().good(&text).listeners.len(), 3);
}

#[test]
fn the_receipt_is_kept_beside_the_file_unless_told_otherwise() {
    let fixture = Fixture::new();
    let with = |drain: &str| {
        fixture.good(&format!(
            "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
             [upstream.site]\nservers = [\"127.0.0.1:1\"]\n\n[drain]\n{drain}\n"
        ))
    };
    assert_eq!(with("").receipt, None);
    let receipt = |drain| with(drain).receipt;
    assert_eq!(
        receipt("receipt = \"receipt.json\""),
        Some(fixture.path("receipt.json"))
    );
    let there = fixture.path("certs/last.json");
    let absolute = format!("receipt = \"{}\"", there.display());
    assert_eq!(with(&absolute).receipt, Some(there));
}

#[test]
fn who_must_send_a_proxy_header_is_told_by_its_network() {
    let expected_from = |written: &str, peer: &str| {
        let listen = "listen = \"127.0.0.1:0\"\n";
        let text = SMALL.replace(listen, &format!("{listen}proxy_protocol = {written}\n"));
        let config = Fixture::new().good(&text);
        let peer = peer.parse().expect("an address");
        config.listeners[0].proxy_protocol.expected_from(peer)
    };
    let some = r#"{ from = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"] }"#;
    let cases = [
        ("false", "10.0.0.1", false),
        ("true", "203.0.113.9", true),
        (some, "10.255.0.1", true),
        (some, "::ffff:10.255.0.1", true),
        (some, "11.0.0.1", false),
        (some, "192.0.2.7", true),
        (some, "192.0.2.8", false),
        (some, "2001:db8:1::1", true),
        (some, "2001:db9::1", false),
    ];
    for (written, peer, expected) in cases {
        assert_eq!(expected_from(written, peer), expected, "{written} {peer}");
    }
}

#[test]
fn servers_are_told_by_the_version_that_is_written() {
    let version = |written: &str| {
        let text = format!("{SMALL}{written}");
        Fixture::new().good(&text).upstreams[0].proxy_protocol
    };
    assert_eq!(version(""), None);
    assert_eq!(version("proxy_protocol = \"v1\""), Some(ProxyVersion::V1));
    assert_eq!(version("proxy_protocol = \"v2\""), Some(ProxyVersion::V2));
}
