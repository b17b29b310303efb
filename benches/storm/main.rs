//! A thousand drains under load, and nobody may notice.
//!
//! Each drain is that of a fresh process, the release binary, between clients
//! and servers of this program's own: HTTP/1.1, HTTP/2, gRPC, WebSocket and
//! TCP, in clear text and over TLS, on kept connections and on new ones, with
//! work that ends by itself and work that never would. It comes at a moment, in
//! a way and on a plan that a seed decides. Afterwards the clients' books, the
//! log and the receipt must agree that nothing was lost.
//!
//! `make drain-storm` runs it. The environment says how much of it:
//! `STORM_DRAINS` (1,000), `STORM_SEED` (the first seed, 1), `STORM_LANES`
//! (how many drains at once, 4) and `STORM_FOLDER` (where the log and config
//! of each drain that lost something are kept, `target/storm`).
//!
//! Deliberately absent: figures of speed; see the bench of drains. The exit
//! code is 1 if anything was lost.

mod books;
mod cast;
mod clients;
mod drain;
mod judge;
mod proxy;
mod script;
mod servers;
mod tally;
mod tls;

use anyhow::{Context as _, Result};
use cast::Tls;
use script::Script;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use tally::Tally;
use tls::Certificate;
use tokio::runtime;

/// How often a drain is tried that is void.
const TRIES: u32 = 5;

/// How much of a storm it is.
struct Storm {
    drains: u64,
    seed: u64,
    lanes: u64,
    folder: PathBuf,
}

impl Storm {
    fn read() -> Result<Self> {
        let folder = env::var_os("STORM_FOLDER").map(PathBuf::from);
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/storm");
        Ok(Self {
            drains: number("STORM_DRAINS", 1_000)?,
            seed: number("STORM_SEED", 1)?,
            lanes: number("STORM_LANES", 4)?.max(1),
            folder: folder.unwrap_or(default),
        })
    }
}

fn number(name: &str, default: u64) -> Result<u64> {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name} is a number, not {text:?}")),
        Err(_) => Ok(default),
    }
}

fn main() -> Result<ExitCode> {
    let storm = Storm::read()?;
    let certificate = Certificate::make()?;
    let tally = Tally::begin(storm.drains, storm.seed);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..storm.lanes.min(storm.drains))
            .map(|_| scope.spawn(|| lane(&storm, &certificate, &next, &tally)))
            .collect();
        lanes.into_iter().try_for_each(|lane| {
            let ended = lane.join();
            ended.unwrap_or_else(|_| Err(anyhow::anyhow!("a lane panicked")))
        })
    })?;
    let lost = tally.end()?;
    Ok(if lost {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// One drain after the other, before the same servers.
fn lane(storm: &Storm, certificate: &Certificate, next: &AtomicU64, tally: &Tally) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tls = certificate.clients()?;
    runtime.block_on(async {
        let servers = servers::start().await?;
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= storm.drains {
                return Ok(());
            }
            let script = Script::new(storm.seed + number);
            let folder = storm.folder.join(script.seed.to_string());
            fs::create_dir_all(&folder)?;
            certificate.write(&folder)?;
            let kept = one(&script, servers, &tls, &folder, tally).await?;
            if !kept {
                fs::remove_dir_all(&folder)?;
            }
        }
    })
}

/// One drain; whether its folder is to be kept. A drain with complaints during
/// which this program stood still proves nothing, and is tried again.
async fn one(
    script: &Script,
    servers: script::Servers,
    tls: &Tls,
    folder: &Path,
    tally: &Tally,
) -> Result<bool> {
    let mut tries = 0;
    let verdict = loop {
        tries += 1;
        let verdict = drain::run(script, servers, tls, folder).await;
        let verdict = verdict.unwrap_or_else(|error| judge::Verdict {
            complaints: vec![format!("{error:#}")],
            ..judge::Verdict::default()
        });
        if verdict.complaints.is_empty() || !verdict.void || tries == TRIES {
            break verdict;
        }
        tally.void();
    };
    let kept = !verdict.complaints.is_empty();
    if kept {
        fs::write(folder.join("complaints.txt"), verdict.complaints.join("\n"))?;
    }
    tally.enter(script, &verdict, folder)?;
    Ok(kept)
}
