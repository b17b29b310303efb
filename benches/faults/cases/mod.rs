//! The faults, one for each row.

mod closing;
mod cut;
mod deploy;
mod gone;
mod hundred;

use super::books::Books;
use super::clients::{Crowd, Enough, Kind};
use super::proxy::Proxy;
use super::table::Row;
use anyhow::Result;
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// How much there is to be of it.
#[derive(Clone)]
pub(crate) struct Scale {
    pub(crate) deploys: u64,
    pub(crate) requests: u64,
    pub(crate) cuts: u64,
    pub(crate) time: Duration,
    pub(crate) seed: u64,
    /// The thread of the servers.
    pub(crate) thread: Handle,
}

type Run = fn(Scale) -> Pin<Box<dyn Future<Output = Result<Row>>>>;

/// One fault.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

/// All of them, in the order of the table.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: deploy::NAME,
        run: |scale| Box::pin(deploy::run(scale)),
    },
    Case {
        name: cut::NAME,
        run: |scale| Box::pin(cut::run(scale)),
    },
    Case {
        name: cut::HELD,
        run: |scale| Box::pin(cut::held(scale)),
    },
    Case {
        name: closing::NAME,
        run: |scale| Box::pin(closing::run(scale)),
    },
    Case {
        name: gone::FLAPS,
        run: |scale| Box::pin(gone::flaps(scale)),
    },
    Case {
        name: gone::STANDS,
        run: |scale| Box::pin(gone::stands(scale)),
    },
    Case {
        name: gone::HOLE,
        run: |scale| Box::pin(gone::hole(scale)),
    },
    Case {
        name: gone::VANISHED,
        run: |scale| Box::pin(gone::vanished(scale)),
    },
    Case {
        name: hundred::NAME,
        run: |scale| Box::pin(hundred::run(scale)),
    },
];

/// Clients of this proxy, up to two milliseconds between two requests of each.
fn crowd(proxy: &Proxy, scale: &Scale, enough: Enough) -> Crowd {
    Crowd {
        address: proxy.web,
        books: Books::default(),
        enough,
        pause: Duration::from_millis(2),
        seed: scale.seed,
    }
}

/// A case that is clients for a time beside something else.
async fn beside(
    crowd: &Crowd,
    kinds: &[Kind],
    each: u64,
    fault: impl Future<Output = Result<()>>,
) -> Result<()> {
    let failing = async {
        let failed = fault.await;
        crowd.enough.say();
        failed
    };
    let ((), failed) = tokio::join!(crowd.run(kinds, each), failing);
    failed
}

/// Nothing, for so long.
async fn wait(time: Duration) -> Result<()> {
    sleep(time).await;
    Ok(())
}
