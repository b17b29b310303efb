//! What is shown of a config in force: everything that holds, and no secret.

use crate::fixture::{Fixture, repository_text};
use ebbtide::config::{Change, Config, Diff};
use serde_json::{Value, json};

fn text(config: &Config) -> String {
    toml::to_string_pretty(&*config.shown).expect("TOML")
}

/// A config that says as little as it can, and more.
fn small(more: &str) -> String {
    format!(
        "[listener.web]\nlisten = \"127.0.0.1:8080\"\nroutes = [{{ upstream = \"site\" }}]\n\
         [upstream.site]\nservers = [\"127.0.0.1:1\"]\n{more}"
    )
}

#[test]
fn what_is_shown_loads_again_as_the_same_config() {
    let fixture = Fixture::new();
    let full = repository_text("conf/full.toml");
    let example = repository_text("conf/example.toml");
    let tcp =
        small("[listener.db]\nlisten = \"127.0.0.1:1\"\nprotocol = \"tcp\"\nupstream = \"site\"\n");
    let short = small("[drain]\ngrace = \"90s\"\nlate_requests = \"refuse\"\n");
    let hurried = small(
        "[drain]\ngrace = \"20s\"\nannounce = \"1s\"\nfinish = { http = \"1s\", grpc = \"1s\", websocket = \"1s\", tcp = \"1s\" }\n",
    );
    let access = small("[process]\nlogs = { access = { template = [\"path\"] } }\n");
    let named = small(
        "[listener.names]\nlisten = \"127.0.0.1:1\"\nprotocol = \"tcp\"\n\
         routes = [{ sni = \"a.example.com\", upstream = \"site\" }, { upstream = \"site\" }]\n",
    );
    let pair = "cert = \"certs/site.pem\", key = \"certs/site.key\"";
    let other = "cert = \"certs/other.pem\", key = \"certs/other.key\"";
    let pairs = small(&format!(
        "[listener.pairs]\nlisten = \"127.0.0.1:1\"\nroutes = [{{ upstream = \"site\" }}]\n\
         tls = [{{ {pair}, tickets = false }}, {{ {other} }}]\n[admin]\ntls = {{ {pair} }}\n"
    ));
    let health = small("health = { tcp = true }\nhttp = \"h2\"\n");
    let found = small("").replace(
        "[\"127.0.0.1:1\"]",
        "[\"127.0.0.1:1\", { dns = \"a.b\", port = 1 }, { srv = \"c.d\" }, { file = \"e\" }]",
    );
    for written in [
        full,
        found,
        example,
        small(""),
        tcp,
        short,
        hurried,
        access,
        health,
        named,
        pairs,
    ] {
        loads_again(&fixture, &fixture.good(&written));
    }
}

/// That what is shown of a config is that config, but for what is hidden.
pub(crate) fn loads_again(fixture: &Fixture, config: &Config) {
    let written = text(config);
    let again = fixture.good(&written);
    let diff = Diff::between(config, &again);
    let mut upstreams = diff.upstreams;
    // The fields that checks send are hidden.
    upstreams.retain(|(_, change)| *change != Change::Changed(vec!["health"]));
    assert_eq!((diff.listeners, upstreams), (vec![], vec![]), "{written}");
    assert_eq!(
        (diff.servers_gone, diff.refused),
        (vec![], Vec::<String>::new())
    );
    // What is hidden is the only difference.
    let hidden = ["hooks", "the admin tokens", "traces"];
    let more = diff.process.iter().find(|what| !hidden.contains(what));
    assert_eq!(more, None, "{written}");
    assert_eq!(again.shown, config.shown, "nothing is left to be filled in");
}

#[test]
fn every_default_is_written_out_and_nothing_else() {
    let config = Fixture::new().good(&small(""));
    let shown = &config.shown;
    assert_eq!(shown["admin"]["listen"], "127.0.0.1:9900");
    assert_eq!(shown["process"]["logs"]["access"], false);
    assert_eq!(shown["drain"]["finish"]["http"], "20s");
    let web = &shown["listener"]["web"];
    assert_eq!(web["limits"]["streams"], 128);
    assert_eq!(web["routes"][0]["host"], "*");
    assert_eq!(web["routes"][0]["retries"], 1);
    assert!(web.get("tls").is_none());
    let site = &shown["upstream"]["site"];
    assert_eq!(site["balance"], "round_robin");
    assert!(site.get("discover").is_none(), "nothing is looked for");
    assert!(site.get("health").is_none() && shown["admin"].get("token").is_none());
}

#[test]
fn no_secret_is_shown_or_printed() {
    let more = "[admin]\ntoken = \"s3cret-token\"\nread_token = \"s3cret-too\"\n\
        [[hook]]\non = \"announce\"\nhttp = { url = \"http://me:s3cret@127.0.0.1:1/a@b\", \
        headers = { x-consul-token = \"s3cret\" }, body = \"s3cret\" }\n\
        [[hook]]\non = \"refuse\"\nexec = [\"logger\", \"--key\", \"s3cret\"]\n\
        [process.traces]\notlp = \"http://127.0.0.1:1\"\nheaders = { authorization = \"s3cret\" }\n\
        [[hook]]\non = \"cut\"\nfile = { path = \"a\", content = \"s3cret\" }\n";
    let config = Fixture::new().good(&small(more));
    let shown = config.shown.to_string();
    assert!(!shown.contains("s3cret"), "{shown}");
    assert_eq!(config.shown["admin"]["token"], "(hidden)");
    assert_eq!(config.shown["admin"]["read_token"], "(hidden)");
    assert!(!format!("{:?}", config.admin).contains("s3cret"));
    assert!(!format!("{:?}", config.process).contains("s3cret"));
    let expected: Value = json!([
        { "on": "announce", "timeout": "2s",
          "http": { "url": "http://hidden@127.0.0.1:1/a@b", "method": "POST",
            "headers": { "x-consul-token": "(hidden)" }, "body": "(hidden)" } },
        { "on": "refuse", "timeout": "2s", "exec": ["logger", "(hidden)", "(hidden)"] },
        { "on": "cut", "timeout": "2s", "file": { "path": "a", "content": "(hidden)" } },
    ]);
    assert_eq!(config.shown["hook"], expected);
    assert!(!format!("{:?}", config.shown).contains("s3cret"));
}
