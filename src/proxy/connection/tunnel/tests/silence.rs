//! Tunnels through which nothing passes.

use super::super::scene::{Scene, ended, read, read_all, silent};
use super::piped;
use crate::clock;
use crate::config::Limits;
use crate::drain::{Orders, Plan, Protocol};
use crate::proxy::registry::Limit;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

/// A scene whose tunnels may be silent for so long.
fn quiet_for(idle: Duration) -> Scene {
    let scene = Scene::new(Protocol::Tcp);
    scene.limit(&Limits {
        tunnel_idle: idle,
        ..Limits::default()
    });
    scene
}

#[tokio::test]
async fn silence_ends_both_sides_in_order() {
    let scene = quiet_for(Duration::from_millis(50));
    let (task, mut client, mut server) = piped(&scene, 64);
    assert_eq!(read_all(&mut client).await, b"");
    assert_eq!(read_all(&mut server).await, b"");
    drop((client, server));
    ended(task).await;
    let ledger = scene.ledger();
    assert_eq!((ledger.finished, ledger.opened), (1, 1), "{ledger:?}");
    assert_eq!(scene.limited(Limit::TunnelIdle), 1);
}

#[tokio::test]
async fn a_peer_that_does_not_leave_is_not_waited_for() {
    let scene = quiet_for(Duration::from_millis(50));
    scene.publish(Orders {
        plan: Plan {
            farewell: Duration::from_millis(50),
            ..Plan::default()
        },
        ..Orders::default()
    });
    let (task, client, server) = piped(&scene, 64);
    ended(task).await;
    assert_eq!(scene.ledger().finished, 1);
    drop((client, server));
}

#[tokio::test]
async fn a_byte_either_way_begins_the_silence_anew() {
    const IDLE: Duration = Duration::from_secs(1);
    for from_client in [true, false] {
        loop {
            let scene = quiet_for(IDLE);
            let before = clock::now();
            let (task, mut client, mut server) = piped(&scene, 64);
            sleep(IDLE / 2).await;
            let said = clock::now();
            let (one, other) = if from_client {
                (&mut client, &mut server)
            } else {
                (&mut server, &mut client)
            };
            let sent = one.write_all(b"!").await;
            if said.saturating_since(before) >= IDLE {
                // This machine was held up for longer than the tunnel may be.
                continue;
            }
            sent.expect("open");
            assert_eq!(read(other, 1).await, b"!");
            assert_eq!(read_all(other).await, b"");
            assert!(clock::now().saturating_since(said) >= IDLE);
            drop((client, server));
            ended(task).await;
            break;
        }
    }
}

#[tokio::test]
async fn without_a_limit_a_tunnel_may_be_silent() {
    let scene = quiet_for(Duration::ZERO);
    let (task, mut client, mut server) = piped(&scene, 64);
    sleep(Duration::from_millis(200)).await;
    assert!(silent(&mut client).await);
    server.write_all(b"still").await.expect("open");
    assert_eq!(read(&mut client, 5).await, b"still");
    drop((client, server));
    ended(task).await;
    assert_eq!(scene.limited(Limit::TunnelIdle), 0);
}
