//! Handovers under load: nobody notices.

use super::{DRAIN, ends, next};
use crate::drain::scene::ended;
use crate::support::load::{Load, Servers};
use crate::support::proxy::Proxy;

/// How often a process takes over from the one before.
const HANDOVERS: usize = 50;

/// A WebSocket and a gRPC stream of the first process are alive when the last
/// one serves.
#[tokio::test]
async fn nobody_is_lost_however_often_a_new_process_takes_over() {
    let servers = Servers::start().await;
    let config = format!("{}{DRAIN}", servers.tables());
    let mut proxy = Proxy::start(&config).await;
    let load = Load::retired();
    let tasks = load.everything(&proxy);
    load.some_more(&tasks).await;
    let mut left = Vec::new();
    for round in 0..HANDOVERS {
        let old = next(&mut proxy, &config, round).await;
        left.push(old);
        load.some_more(&tasks).await;
        assert!(Load::is_well(&tasks), "{round}");
    }
    load.stop(tasks).await;
    for mut proxy in left {
        ended(&mut proxy).await;
    }
    ends(proxy).await;
}
