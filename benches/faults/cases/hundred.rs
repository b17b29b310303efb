//! A hundred servers of which ten are bad, each in its way.

use super::super::clients::{Enough, Kind};
use super::super::proxy::{self, Proxy};
use super::super::servers::raw::{self, Manner};
use super::super::servers::{address, listen};
use super::super::table::Row;
use super::{Scale, beside, crowd, wait};
use anyhow::Result;
use std::time::Duration;

pub(super) const NAME: &str = "100 servers of which 10 are bad";

/// Clients of each kind.
const EACH: u64 = 4;

/// Of a hundred requests, so many may have met a bad server once all are out.
const PART: u64 = 1;

/// How the server with this number answers; `None` if nobody listens there.
fn manner(number: usize) -> Option<Manner> {
    Some(match number {
        7 | 17 | 27 => Manner::Refuses,
        37 | 47 | 57 => Manner::Late(Duration::from_secs(5)),
        67 | 77 => Manner::BreaksOff,
        87 | 97 => return None,
        _ => Manner::Well,
    })
}

pub(super) async fn run(scale: Scale) -> Result<Row> {
    let mut places = Vec::new();
    for number in 0..100 {
        let place = address()?;
        if let Some(manner) = manner(number) {
            let listener = scale.thread.spawn(async move { listen(place) }).await??;
            scale
                .thread
                .spawn(raw::serve(listener, manner, raw::keeping()));
        }
        places.push(place);
    }
    let proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\", \
         retries = 2, retry = {{ methods = [\"POST\"], try_timeout = \"250ms\" }} }}]\n\n\
         [upstream.site]\n{}\n\
         eject = {{ server_errors = 3, resets = 3, connect_errors = 3, time = \"5m\", longest = \"5m\" }}\n",
        proxy::servers(&places),
    ))?;
    let mut crowd = crowd(&proxy, &scale, Enough::said());
    crowd.pause = Duration::from_micros(500);
    let kinds = [Kind::Get1, Kind::Post1, Kind::Get2, Kind::Post2];
    let out = "ebbtide_upstream_server_ejected";
    let mut ejected = 0;
    let mut met = (0, 0);
    beside(&crowd, &kinds, EACH, async {
        wait(scale.time).await?;
        ejected = proxy.metric(out, &[]).await?;
        let before = (proxy.retried().await?, crowd.books.requests());
        wait(scale.time).await?;
        let after = (proxy.retried().await?, crowd.books.requests());
        met = (after.0 - before.0, after.1 - before.1);
        Ok(())
    })
    .await?;
    let row = Row::unseen(NAME, crowd.books.seen(), proxy.retried().await?);
    Ok(row
        .and(
            "the bad ones ejected",
            ejected == 10,
            format!("{ejected} are ejected"),
        )
        .and(
            "then none sent again",
            met.0 * 100 <= met.1 * PART,
            format!("{} of {} were", met.0, met.1),
        ))
}
