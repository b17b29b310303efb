//! `ebbtide demo`: a live drain, without any configuration.
//!
//! Servers, clients, a balancer and an operator are brought along; between
//! them stands a real proxy, made from a real config text. Mixed traffic runs
//! for a few seconds, then the operator drains the proxy in the middle of it,
//! with slow answers and endless streams in flight. In the end the clients'
//! own account is held against the proxy's receipt.
//!
//! Invariant: the exit code is 0 only if nothing was lost on either account,
//! and the two agree on how many were told.
//!
//! Deliberately absent: short cuts. Traffic goes over loopback sockets, and
//! the drain is asked for over the admin interface.

mod account;
mod backends;
mod clients;
mod load;
mod operator;
mod progress;
mod report;
mod setup;
#[cfg(test)]
mod tests;

use crate::drain::Receipt;
use crate::{clock, config, process};
use anyhow::{Context as _, Result, anyhow};
use clients::{Permit, Target};
use load::{Load, Targets};
use operator::Operator;
use progress::Progress;
use report::Report;
use setup::{Certificate, Directory};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How long the proxy may take to become ready.
const START_LIMIT: Duration = Duration::from_secs(5);
/// How long the load runs before the endless operations begin, and after.
const LOAD: Duration = Duration::from_secs(3);
const LOAD_WITH_ENDLESS: Duration = Duration::from_secs(1);
/// How long the drain may take; its plan needs eight seconds at most.
const DRAIN_LIMIT: Duration = Duration::from_secs(12);
/// How long clients may take to notice that everything is over.
const CLIENT_LIMIT: Duration = Duration::from_secs(2);

const OPENING: &str = "\
Ebbtide stands between clients and servers of five protocols. In four seconds
an operator takes it away. It then announces (readiness fails, all is served),
refuses new connections, retires the open ones, lets work finish to its
protocol's deadline, and tells the rest in their own protocol.

";

/// Run the demo; it takes about ten seconds.
///
/// # Errors
/// When it could not be set up, or the proxy did not drain at all. A drain
/// that lost something is no error but an exit code of 1.
pub fn run() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let directory = Directory::new()?;
    let certificate = Certificate::make(directory.path())?;
    let servers = runtime.block_on(backends::start())?;
    let text = setup::config(&servers);
    let config = config::parse(&directory.path().join("demo.toml"), &text)
        .map_err(|report| anyhow!("{report}"))?;

    let proxy = process::start(config)?;
    let config::AdminAddr::Inet(admin) = *proxy.admin() else {
        return Err(anyhow!("the admin interface is not on TCP"));
    };
    let mut told = io::stderr();
    told.write_all(OPENING.as_bytes())?;
    write!(told, "Look on in a browser: http://{admin}/\n\n")?;
    let at = |name: &str| {
        proxy
            .address(name)
            .with_context(|| format!("no listener {name}"))
    };
    let (web, secure, db) = (at("web")?, at("secure")?, at("db")?);
    let tls = |protocol| certificate.client(protocol).map(Some);
    let targets = Targets {
        web: Target::clear(web),
        secure: Target {
            address: secure,
            tls: tls("http/1.1")?,
        },
        secure_h2: Target {
            address: secure,
            tls: tls("h2")?,
        },
        grpc: Target::clear(web),
        db: Target::clear(db),
    };
    let operator = Operator { admin };
    let (load, receipt) = runtime.block_on(show(targets, operator))?;
    proxy.join()?;

    let report = Report::new(load.accounts(), &receipt);
    write!(io::stdout(), "{report}")?;
    Ok(if report.complaints().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The show itself: load, drain, receipt.
async fn show(targets: Targets, operator: Operator) -> Result<(Load, Receipt)> {
    let (publish, mut ready) = watch::channel(false);
    tokio::spawn(operator.watch_readiness(publish));
    timeout(START_LIMIT, ready.wait_for(|ready| *ready))
        .await
        .context("the proxy did not become ready")??;

    let mut load = Load::start(targets, Permit::new(ready));
    let mut progress = Progress::new(clock::now());
    follow(&mut progress, &load, operator, sleep(LOAD)).await;
    load.start_endless();
    follow(&mut progress, &load, operator, sleep(LOAD_WITH_ENDLESS)).await;

    operator.drain().await?;
    let over = timeout(DRAIN_LIMIT, operator.receipt());
    let receipt = follow(&mut progress, &load, operator, over)
        .await
        .context("the drain did not end")??;
    load.end(CLIENT_LIMIT).await;
    progress.show(clock::now(), "drained", load.sums());
    progress.end();
    Ok((load, receipt))
}

/// Show how things stand until `work` is done.
async fn follow<T>(
    progress: &mut Progress,
    load: &Load,
    operator: Operator,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = progress.due() => {}
        }
        let stage = operator.stage().await;
        let stage = stage.as_deref().unwrap_or("serving");
        progress.show(clock::now(), stage, load.sums());
    }
}
