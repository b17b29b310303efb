use super::*;

fn read(name: &str, text: &str) -> Result<Vec<String>, Vec<String>> {
    let zone = Arc::from("usual");
    let servers = listed_in(Path::new(name), text, Some(&zone));
    let shown = |server: model::Server| {
        let zone = server.zone.expect("a zone");
        format!("{} {} {zone}", server.address, server.weight)
    };
    servers
        .map(|servers| servers.into_iter().map(shown).collect())
        .map_err(|report| report.in_lines())
}

#[test]
fn a_line_is_an_address_with_what_is_said_of_it() {
    let text =
        "# made by hand\n\n10.0.0.1:80\n  10.0.0.2:80\tweight=3 zone=a  # two\r\n[::1]:80 zone=b";
    let good = ["10.0.0.1:80 1 usual", "10.0.0.2:80 3 a", "[::1]:80 1 b"];
    assert_eq!(
        read("a/servers.txt", text),
        Ok(good.map(str::to_owned).to_vec())
    );
    let socket = read("/a/servers.txt", "unix:run/a.sock\n");
    assert_eq!(socket, Ok(vec!["unix:/a/run/a.sock 1 usual".to_owned()]));
    assert_eq!(read("servers.txt", "# none\n"), Ok(Vec::new()));
    assert_eq!(read("servers.txt", ""), Ok(Vec::new()));
}

#[test]
fn toml_lists_them_as_an_upstream_does() {
    let text =
        "servers = [\"10.0.0.1:80\", { address = \"10.0.0.2:80\", weight = 3, zone = \"a\" }]";
    let good = ["10.0.0.1:80 1 usual", "10.0.0.2:80 3 a"];
    assert_eq!(
        read("servers.toml", text),
        Ok(good.map(str::to_owned).to_vec())
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_none_of_it_counts() {
    let cases = [
        (
            "s.txt",
            "10.0.0.1:80\n10.0.0.2\n",
            "s.txt:2: `10.0.0.2` is not the address",
        ),
        (
            "s.txt",
            "\n\n10.0.0.1:80 weight=x\n",
            "s.txt:3: `x` is no weight",
        ),
        (
            "s.txt",
            "10.0.0.1:80 weight=0\n",
            "s.txt:1: `weight` cannot be 0",
        ),
        (
            "s.txt",
            "10.0.0.1:80 weight=1 weight=2\n",
            "s.txt:1: `weight=2` says nothing",
        ),
        (
            "s.txt",
            "10.0.0.1:80 zone=a/b\n",
            "s.txt:1: `a/b` cannot name a zone",
        ),
        (
            "s.txt",
            "10.0.0.1:80\n10.0.0.1:80\n",
            "s.txt:2: 10.0.0.1:80 is in this upstream twice",
        ),
        (
            "s.txt",
            "db.internal:80\n",
            "names are not resolved in such a file",
        ),
        (
            "s.toml",
            "servers = [\"10.0.0.1:80\"",
            "s.toml:1: this is not TOML",
        ),
        ("s.toml", "server = []", "did you mean `servers`?"),
        (
            "s.toml",
            "servers = [\n{ dns = \"a.b\", port = 1 }]",
            "s.toml:2: a file lists addresses",
        ),
    ];
    for (name, text, says) in cases {
        let lines = read(name, text).expect_err(text);
        assert!(
            lines.iter().any(|line| line.contains(says)),
            "{says}: {lines:?}"
        );
    }
    let missing = listed(Path::new("/nowhere/servers.txt"), None).expect_err("missing");
    assert!(
        missing.in_lines()[0].starts_with("/nowhere/servers.txt: the list"),
        "{missing}"
    );
}
