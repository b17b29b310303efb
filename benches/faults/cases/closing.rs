//! Servers that close their idle connections when they like: at once, in a while,
//! half, and just when the next request comes.

use super::super::clients::{Enough, Kind};
use super::super::proxy::{self, Proxy};
use super::super::servers::raw::{self, Fate, Fates, Manner};
use super::super::servers::{address, listen};
use super::super::table::Row;
use super::{Scale, crowd};
use anyhow::Result;
use fastrand::Rng;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) const NAME: &str = "idle connections closed at random instants";

/// Clients of each kind.
const EACH: u64 = 4;

/// One in so many answers is followed by an end.
const ONE_IN: u32 = 20;

/// What a seed decides.
fn fates(seed: u64) -> Fates {
    let rng = Mutex::new(Rng::with_seed(seed));
    Arc::new(move || {
        let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = Duration::from_micros(rng.u64(..3000));
        match rng.u32(..ONE_IN * 4) {
            0 => Fate::ClosesAtOnce,
            1 => Fate::ClosesAfter(soon),
            2 => Fate::LingersAfter(soon),
            3 => Fate::ClosesUpon,
            _ => Fate::Waits,
        }
    })
}

pub(super) async fn run(scale: Scale) -> Result<Row> {
    let mut places = Vec::new();
    for number in 0..3 {
        let place = address()?;
        let listener = scale.thread.spawn(async move { listen(place) }).await??;
        let fates = fates(scale.seed + number);
        scale
            .thread
            .spawn(raw::serve(listener, Manner::Well, fates));
        places.push(place);
    }
    let proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\n\
         routes = [{{ upstream = \"site\", retry = {{ methods = [\"POST\"] }} }}]\n\n\
         [upstream.site]\n{}\n",
        proxy::servers(&places),
    ))?;
    let mut crowd = crowd(&proxy, &scale, Enough::after(scale.requests));
    crowd.pause = Duration::from_micros(500);
    let kinds = [Kind::Get1, Kind::Post1, Kind::Get2, Kind::Post2];
    crowd.run(&kinds, EACH).await;
    Ok(Row::unseen(
        format!("{NAME}, after one of {ONE_IN} answers"),
        crowd.books.seen(),
        proxy.retried().await?,
    ))
}
