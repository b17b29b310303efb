//! What attackers cost their honest neighbours.
//!
//! The release binary serves two honest clients, one of HTTP/1.1 and one of
//! HTTP/2, both over TLS and at a fixed rate: first alone, then beside one
//! attack after the other. Each attack has [`LANES`] attackers; one that is cut
//! off comes back at once. The table says what it did to the honest ones, what
//! it made the proxy keep in memory, what an attacker was told and when, and
//! what it was counted as.
//!
//! `make abuse` runs it. The environment says how much of it:
//! `ABUSE_SECONDS` (each attack, 5), `ABUSE_RATE` (requests of an honest client
//! in a second, 20), `ABUSE_ONLY` (attacks whose name has this in it) and
//! `ABUSE_BINARY` (the one to attack, in place of the one that was built).
//!
//! Deliberately absent: figures of speed. Attackers and proxy share the
//! machine here, so an attack takes from the honest ones also what it takes
//! to make it. The exit code is 1 if an honest request failed, if one in a
//! hundred took 200 ms or more, or if an attack that has a limit was not
//! counted by it.

mod attacks;
mod honest;
mod proxy;
mod server;
mod wire;

use anyhow::{Context as _, Result};
use attacks::{ATTACKS, Attack};
use honest::Honest;
use proxy::Proxy;
use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// How many attackers come at once.
const LANES: usize = 8;

/// What one in a hundred honest requests may take, whatever the attack.
const BAR: Duration = Duration::from_millis(200);

/// How long a proxy rests between two attacks.
const REST: Duration = Duration::from_secs(1);

fn number(name: &str, default: u64) -> Result<u64> {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name} is a number, not {text:?}")),
        Err(_) => Ok(default),
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// What became of the attackers.
#[derive(Default)]
struct Ends {
    /// How often each was told what.
    told: BTreeMap<String, usize>,
    after: Vec<Duration>,
}

impl Ends {
    fn add(&mut self, told: String, after: Duration) {
        *self.told.entry(told).or_default() += 1;
        self.after.push(after);
    }

    fn join(&mut self, other: Self) {
        for (told, times) in other.told {
            *self.told.entry(told).or_default() += times;
        }
        self.after.extend(other.after);
    }

    /// What most were told, and when half of them were gone.
    fn show(&mut self) -> String {
        self.after.sort_unstable();
        let Some(half) = self.after.get(self.after.len() / 2) else {
            return "held for all of it".to_owned();
        };
        let most = self.told.iter().max_by_key(|(_, times)| **times);
        let told = most.map_or("", |(told, _)| told.as_str());
        format!(
            "{told} after {} ms, {} times",
            half.as_millis(),
            self.after.len()
        )
    }
}

/// One attacker after the other, for so long.
async fn lane(attack: &Attack, proxy: &Proxy, time: Duration) -> Ends {
    let mut ends = Ends::default();
    let ended = async {
        loop {
            let began = Instant::now();
            let told = (attack.run)(proxy.addresses).await;
            ends.add(
                told.unwrap_or_else(|error| error.kind().to_string()),
                began.elapsed(),
            );
        }
    };
    // An attacker that is still there is neither told nor counted.
    let _: Result<(), _> = timeout(time, ended).await;
    ends
}

/// What was seen beside an attack.
struct Seen {
    honest: Honest,
    ends: Ends,
    grown: u64,
    counted: u64,
}

fn beside(attack: Option<&Attack>, proxy: &Proxy, time: Duration, rate: u64) -> Result<Seen> {
    let before = proxy.memory()?;
    let reason = attack.map_or("", |attack| attack.reason);
    let counted = proxy.limited(reason)?;
    let (honest, ends, most) = thread::scope(|scope| {
        let honest = scope.spawn(|| runtime()?.block_on(honest::run(proxy, time, rate)));
        let memory = scope.spawn(|| proxy.most_memory(time));
        let ends = scope.spawn(|| -> Result<Ends> {
            let Some(attack) = attack else {
                return Ok(Ends::default());
            };
            runtime()?.block_on(async {
                let lanes = (0..LANES).map(|_| lane(attack, proxy, time));
                let mut all = Ends::default();
                for ends in futures_util::future::join_all(lanes).await {
                    all.join(ends);
                }
                Ok(all)
            })
        });
        let panicked = |_| anyhow::anyhow!("a thread panicked");
        let honest = honest.join().map_err(panicked)??;
        let memory = memory.join().map_err(panicked)??;
        let ends = ends.join().map_err(panicked)??;
        anyhow::Ok((honest, ends, memory))
    })?;
    Ok(Seen {
        honest,
        ends,
        grown: most.saturating_sub(before),
        counted: proxy.limited(reason)? - counted,
    })
}

fn row(name: &str, reason: &str, seen: &mut Seen) -> String {
    let millis = |part| seen.honest.part(part).as_secs_f64() * 1e3;
    let (half, most) = (millis(50), millis(99));
    let counted = match reason {
        "" => "-".to_owned(),
        reason => format!("`{reason}` {}", seen.counted),
    };
    format!(
        "| {name} | {half:.1} | {most:.1} | {} | {} | {} | {counted} |",
        seen.honest.errors,
        seen.grown >> 10,
        if reason.is_empty() {
            "-".to_owned()
        } else {
            seen.ends.show()
        },
    )
}

fn main() -> Result<ExitCode> {
    let time = Duration::from_secs(number("ABUSE_SECONDS", 5)?);
    let rate = number("ABUSE_RATE", 20)?.max(1);
    let only = env::var("ABUSE_ONLY").unwrap_or_default();
    let server = server::start()?;
    let proxy = Proxy::start(server)?;
    let mut out = std::io::stdout();
    let mut say =
        |line: String| std::io::Write::write_all(&mut out, format!("{line}\n").as_bytes());
    say(
        "| attack | honest p50, ms | p99, ms | errors | memory, KiB | attackers | counted |".into(),
    )?;
    say("|---|---|---|---|---|---|---|".into())?;
    let mut alone = beside(None, &proxy, time, rate)?;
    say(row("none", "", &mut alone))?;
    let mut failed = alone.honest.errors > 0;
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(&only)) {
        let mut seen = beside(Some(attack), &proxy, time, rate)?;
        say(row(attack.name, attack.reason, &mut seen))?;
        if let Some(wrong) = &seen.honest.first {
            let says = format!("\n{}: an honest request failed: {wrong}\n", attack.name);
            std::io::Write::write_all(&mut std::io::stderr(), says.as_bytes())?;
        }
        failed |= seen.honest.errors > 0 || seen.counted == 0;
        failed |= seen.honest.part(99) >= BAR;
        thread::sleep(REST);
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
