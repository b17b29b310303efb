//! How many instructions does a request cost?
//!
//! The binary runs under valgrind's callgrind, which counts instructions in user
//! space, once for [`FEW`] requests and once for [`MANY`]: the difference, by request,
//! is the cost without start and end. Unlike time it does not depend on what else
//! the machine does, so that a change can be held to it: `figures.toml` says what each
//! kind of request cost when it was last written, and one that costs more than
//! [`LEEWAY`] above that fails the bench. One that costs as much less is to be written
//! down, so that what was won is kept.
//!
//! `INSTRUCTIONS_WRITE=1` writes the figures anew. `INSTRUCTIONS_BINARY` is another
//! build to count. They hold for the compiler that is named with them; with another
//! one they are shown and nothing fails.

mod counted;
mod load;
mod server;

use anyhow::{Context as _, Result, bail};
use counted::Counted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::Command;
use std::{env, fs};

const FIGURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/instructions/figures.toml"
);
const FEW: u64 = 2_000;
const MANY: u64 = 10_000;
/// How often each kind is counted: how many streams the proxy finds ready at once
/// is up to the machine after all.
const TIMES: usize = 3;
/// How far above its figure a cost may be, in per cent.
const LEEWAY: u64 = 3;

/// What is counted: a name, its listener, and who asks.
const KINDS: [(&str, &str, load::Load); 3] = [
    ("http1", "http1", load::http1),
    ("http2_to_http1", "http1", load::http2),
    ("grpc", "grpc", load::grpc),
];

/// What requests cost when it was last written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Figures {
    /// `rustc --version`.
    compiler: String,
    /// Of each kind, the instructions of one request.
    instructions: BTreeMap<String, u64>,
}

impl Figures {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(FIGURES).context(FIGURES)?;
        toml::from_str(&text).context(FIGURES)
    }

    fn write(&self) -> Result<()> {
        let text = toml::to_string(self)?;
        let says = "# Instructions of one request; `make instructions-write` writes them.\n";
        Ok(fs::write(FIGURES, format!("{says}{text}"))?)
    }
}

fn main() -> Result<()> {
    let servers = server::start()?;
    let mut counted = Figures {
        compiler: compiler()?,
        ..Figures::default()
    };
    for (kind, listener, load) in KINDS {
        let cost = cost(servers, listener, load).with_context(|| kind.to_owned())?;
        counted.instructions.insert(kind.to_owned(), cost);
    }
    if env::var_os("INSTRUCTIONS_WRITE").is_some() {
        return counted.write();
    }
    judge(&Figures::read()?, &counted)
}

/// Instructions of one request: the median of [`TIMES`].
fn cost(servers: server::Servers, listener: &str, load: load::Load) -> Result<u64> {
    let costs = (0..TIMES).map(|_| once(servers, listener, load));
    let mut costs = costs.collect::<Result<Vec<u64>>>()?;
    costs.sort_unstable();
    Ok(costs[TIMES / 2])
}

fn once(servers: server::Servers, listener: &str, load: load::Load) -> Result<u64> {
    let of = |requests: u64| -> Result<u64> {
        let counted = Counted::start(servers)?;
        let address: SocketAddr = counted.listener(listener)?;
        load(address, requests)?;
        counted.end()
    };
    let (few, many) = (of(FEW)?, of(MANY)?);
    Ok(many.saturating_sub(few) / (MANY - FEW))
}

fn judge(before: &Figures, now: &Figures) -> Result<()> {
    let mut out = io::stdout();
    writeln!(
        out,
        "{:<18}{:>10}{:>10}{:>9}",
        "instructions", "before", "now", ""
    )?;
    let (mut more, mut less) = (Vec::new(), Vec::new());
    for (kind, now) in &now.instructions {
        let before = *before.instructions.get(kind).unwrap_or(&0);
        let difference = now.abs_diff(before);
        let sign = if *now < before { '-' } else { '+' };
        let tenths = difference * 1_000 / before.max(1);
        let share = format!("{sign}{}.{} %", tenths / 10, tenths % 10);
        writeln!(out, "{kind:<18}{before:>10}{now:>10}{share:>9}")?;
        if difference * 100 > before * LEEWAY {
            let list = if *now > before { &mut more } else { &mut less };
            list.push(kind.as_str());
        }
    }
    if before.compiler != now.compiler {
        writeln!(
            out,
            "\nThe figures are those of {}, this is {}: nothing is held to them.",
            before.compiler, now.compiler
        )?;
        return Ok(());
    }
    if !less.is_empty() {
        writeln!(
            out,
            "\n{}: `make instructions-write` keeps what was won",
            less.join(", ")
        )?;
    }
    if !more.is_empty() {
        bail!(
            "more than {LEEWAY} % above figures.toml: {}. If that is meant, \
             `make instructions-write`",
            more.join(", ")
        );
    }
    Ok(())
}

fn compiler() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output()?.stdout;
    Ok(String::from_utf8(said)?.trim().to_owned())
}
