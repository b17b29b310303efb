//! A rolling deploy: one server after the other is told to end as its operators
//! do it, and a new one is started in its place.

use super::super::clients::{Enough, Kind};
use super::super::proxy::{self, Proxy};
use super::super::servers::grpc::{SERVICE, Stoppable};
use super::super::servers::nginx::Nginx;
use super::super::servers::{address, app, listen};
use super::super::table::Row;
use super::{Scale, beside, crowd, wait};
use anyhow::Result;
use std::time::Duration;

pub(super) const NAME: &str = "rolling deploy of 3 nginx and 3 tonic";

/// Between two servers: a new one is to have something in flight.
const BETWEEN: Duration = Duration::from_millis(50);

/// Clients of each kind.
const EACH: u64 = 4;

pub(super) async fn run(scale: Scale) -> Result<Row> {
    let application = address()?;
    let listener = scale
        .thread
        .spawn(async move { listen(application) })
        .await??;
    let thought = Duration::from_millis(2);
    scale.thread.spawn(app::serve(listener, thought));
    let (mut sites, mut calls) = (Vec::new(), Vec::new());
    let (mut places, mut call_places) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (place, call_place) = (address()?, address()?);
        sites.push(Nginx::start(place, application).await?);
        calls.push((
            call_place,
            Stoppable::start(&scale.thread, call_place).await?,
        ));
        places.push(place);
        call_places.push(call_place);
    }
    // A deploy breaks off nothing; but a request may be on its way to a connection
    // that was idle when its server closed it, and that this one may be sent again
    // is for the route to say.
    let proxy = Proxy::start(&format!(
        "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [\n\
         {{ path = \"/{SERVICE}/\", upstream = \"calls\" }},\n\
         {{ upstream = \"site\", retry = {{ methods = [\"POST\"] }} }},\n]\n\n\
         [upstream.site]\n{}\n\n[upstream.calls]\n{}\nhttp = \"h2\"\n",
        proxy::servers(&places),
        proxy::servers(&call_places),
    ))?;
    let crowd = crowd(&proxy, &scale, Enough::said());
    beside(&crowd, &Kind::ALL, EACH, async {
        for _ in 0..scale.deploys {
            for (site, (place, call)) in sites.iter_mut().zip(&mut calls) {
                site.replace().await?;
                wait(BETWEEN).await?;
                call.stop().await?;
                *call = Stoppable::start(&scale.thread, *place).await?;
                wait(BETWEEN).await?;
            }
        }
        Ok(())
    })
    .await?;
    let name = format!("{NAME}, {} times", scale.deploys);
    Ok(Row::unseen(
        name,
        crowd.books.seen(),
        proxy.retried().await?,
    ))
}
