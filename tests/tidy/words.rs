//! The words of the project: which are banned, and where another project's
//! name for something makes an exception.

/// A banned word or phrase and what to write instead.
pub(crate) struct Banned {
    pub(crate) words: &'static [&'static str],
    pub(crate) instead: &'static str,
}

const fn banned(words: &'static [&'static str], instead: &'static str) -> Banned {
    Banned { words, instead }
}

/// What is banned everywhere, in identifiers as in prose; a plural counts.
pub(crate) const BANNED: &[Banned] = &[
    banned(&["graceful", "shutdown"], "drain"),
    banned(&["soft", "stop"], "drain"),
    banned(&["schedule"], "plan, stage"),
    banned(&["inactive"], "idle"),
    banned(&["abort"], "farewell, or cut"),
    banned(&["aborted"], "farewelled, or cut"),
    banned(&["killed"], "cut"),
    banned(&["frontend"], "downstream, listener"),
    banned(&["backend"], "upstream, server"),
    banned(&["cluster"], "upstream"),
    banned(&["endpoint"], "server; for the admin interface: resource"),
    banned(&["session"], "connection, request, stream or tunnel"),
    banned(&["restart"], "reload, or handover"),
    banned(&["todo"], "an issue"),
    banned(&["fixme"], "an issue"),
    banned(&["xxx"], "an issue"),
];

/// A text that may stand although a banned word is in it.
pub(crate) struct Allowed {
    pub(crate) text: &'static str,
    /// Only in files whose path begins so.
    pub(crate) under: &'static str,
    pub(crate) reason: &'static str,
}

const fn allowed(text: &'static str, under: &'static str, reason: &'static str) -> Allowed {
    Allowed {
        text,
        under,
        reason,
    }
}

/// Every exception, with its reason.
pub(crate) const ALLOWED: &[Allowed] = &[
    allowed(".graceful_shutdown(", "src/", "a method of h2 and hyper"),
    allowed(".abort()", "src/", "a method of tokio's task handles"),
    allowed("AbortHandle", "src/", "a type of tokio"),
    allowed("abort_handle", "src/", "a method of tokio's task handles"),
    allowed("abort_all(", "src/", "a method of tokio's JoinSet"),
    allowed("abort_on_drop", "src/", "a type of tokio-util"),
    allowed("Code::Aborted", "src/", "a status of gRPC"),
    allowed(
        "ConnectionAborted",
        "src/",
        "a variant of std::io::ErrorKind",
    ),
    allowed(
        "NoServerSessionStorage",
        "src/",
        "a type of rustls: TLS resumption",
    ),
    allowed(
        "ServerSessionMemoryCache",
        "src/",
        "a type of rustls: TLS resumption",
    ),
    allowed(
        "session_storage",
        "src/",
        "a field of rustls: TLS resumption",
    ),
    allowed(
        "Backend",
        "src/proxy/upstream/",
        "a type of pingora-load-balancing",
    ),
    allowed(
        "Backend",
        "benches/balance.rs",
        "a type of pingora-load-balancing",
    ),
    allowed(
        "from_backends",
        "benches/balance.rs",
        "a function of pingora-load-balancing",
    ),
    allowed("CrosstermBackend", "src/cli/top/", "a type of ratatui"),
    allowed("TestBackend", "src/cli/top/", "a type of ratatui"),
    allowed("ratatui::backend", "src/cli/top/", "a module of ratatui"),
    allowed(".backend()", "src/cli/top/", "a method of ratatui"),
    allowed(
        "get_http_session",
        "src/proxy/upstream/",
        "a method of pingora-core",
    ),
    allowed(
        "ackend",
        "src/cli/demo/",
        "the demo brings servers of its own, and calls them so",
    ),
    allowed("RestartSec=", "conf/systemd/", "a setting of systemd"),
    allowed("Restart=", "conf/systemd/", "a setting of systemd"),
    allowed("RestartPreventExitStatus", "", "a setting of systemd"),
    allowed("systemctl restart", "docs/", "a command of systemd"),
    allowed("cluster.local", "", "the usual domain in Kubernetes"),
    allowed("clusterIP", "docs/", "a word of Kubernetes"),
    allowed("EndpointSlice", "docs/", "a word of Kubernetes"),
    allowed("ScheduleAnyway", "conf/kubernetes/", "a word of Kubernetes"),
    allowed("embedded backends", "", "what the demo brings with it"),
];

/// The banned words in one line of a file.
pub(crate) fn offences(path: &str, line: &str) -> Vec<&'static Banned> {
    let mut line = line.to_owned();
    for allowed in ALLOWED {
        debug_assert!(!allowed.reason.is_empty());
        if path.starts_with(allowed.under) {
            line = line.replace(allowed.text, " ");
        }
    }
    let words = split(&line);
    BANNED
        .iter()
        .filter(|banned| {
            words.windows(banned.words.len()).any(|window| {
                window.iter().zip(banned.words).all(|(word, banned)| {
                    word.strip_suffix('s').is_some_and(|one| one == *banned) || word == banned
                })
            })
        })
        .collect()
}

/// The words of a line, lower case: `GracefulShutdown`, `graceful_shutdown`
/// and "graceful shutdown" are the same two.
fn split(line: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut lower_before = false;
    for c in line.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && lower_before) {
            words.push(String::new());
        }
        if c.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        lower_before = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}
