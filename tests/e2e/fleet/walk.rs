//! `drain --fleet`: one after the other, nobody lost, and where it stops.

use super::places::{Fleet, Kind, Load};
use super::{Ended, command, ended, run};
use crate::support::within;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::sync::Arc;
use tokio::process::Child;

const CALM: Kind = Kind {
    leaves: false,
    hasty: false,
};

fn results(account: &str) -> Vec<String> {
    let account: Value = serde_json::from_str(account).expect("one document");
    let instances = account["instances"].as_array().expect("an array");
    let results = instances.iter().map(|one| one["result"].as_str());
    results
        .map(|result| result.expect("a word").to_owned())
        .collect()
}

async fn over(walk: Child) -> Ended {
    let output = within("the walk", walk.wait_with_output()).await;
    ended(output.expect("run"))
}

#[tokio::test]
async fn a_fleet_is_replaced_one_by_one_and_no_request_is_lost() {
    let fleet = Arc::new(Fleet::start(&[CALM; 3]).await);
    let load = Load::on(&fleet);
    let all = fleet.addresses();
    let (code, account, said) = run(&["drain", "--fleet", &all, "--json"]).await;
    assert_eq!(code, Some(0), "{account}{said}");
    assert!(load.stop().await > 0);
    assert_eq!(results(&account), ["drained"; 3]);
    let account: Value = serde_json::from_str(&account).expect("one document");
    assert_eq!(account["stopped"], Value::Null);
    for instance in account["instances"].as_array().expect("an array") {
        assert_ne!(
            instance["before"]["instance"],
            instance["after"]["instance"]
        );
        assert_eq!(instance["receipt"]["lost"], 0, "{instance}");
    }
    // The next began to drain when the successor of the one before listened.
    for pair in fleet.places.windows(2) {
        let (before, next) = (pair[0].now(), pair[1].now());
        assert_eq!((before.exits, before.times("shutdown_start")), (1, 1));
        // Each process has two listeners.
        assert!(before.when("listening", 3) < next.when("shutdown_start", 0));
    }
    for place in &fleet.places {
        let line = format!("{} (", place.admin);
        assert_eq!(said.matches(&line).count(), 3, "{said}");
    }
}

#[tokio::test]
async fn the_first_that_cuts_something_ends_the_walk() {
    let hasty = Kind {
        hasty: true,
        ..CALM
    };
    let fleet = Fleet::start(&[CALM, hasty, CALM]).await;
    let mut tunnel = fleet.places[1].connect("tcp").await;
    tunnel.send("hello\n").await.expect("sent");
    tunnel.read_until("\n").await.expect("an echo");
    // Its client hears that it is over, and stays.
    let all = fleet.addresses();
    let (code, account, said) = run(&["drain", "--fleet", &all]).await;
    assert_eq!(code, Some(3), "{account}{said}");
    let cut = format!("Stopped: {} cut something", fleet.places[1].admin);
    assert!(account.contains(&cut), "{account}");
    assert!(account.contains("1 left untouched"), "{account}");
    assert_eq!(fleet.places[2].now().times("shutdown_start"), 0);
    drop(tunnel);
}

#[tokio::test]
async fn who_does_not_come_back_ends_the_walk() {
    let leaves = Kind {
        leaves: true,
        ..CALM
    };
    let fleet = Fleet::start(&[leaves, CALM]).await;
    let all = fleet.addresses();
    let walk = ["drain", "--fleet", &all, "--ready-timeout", "1s"];
    let (code, account, said) = run(&walk).await;
    assert_eq!(code, Some(1), "{account}{said}");
    assert!(account.contains("nobody was ready at"), "{account}");
    assert!(account.contains("1 left untouched"), "{account}");
    assert_eq!(fleet.places[0].now().exits, 1);
    assert_eq!(fleet.places[1].now().times("shutdown_start"), 0);
}

#[tokio::test]
async fn nothing_is_touched_unless_all_are_there_and_ready() {
    let fleet = Fleet::start(&[CALM; 2]).await;
    let [one, other] = &fleet.places[..] else {
        panic!("two were started");
    };
    let link = tempfile::tempdir().expect("a directory");
    let alias = link.path().join("alias.sock");
    let socket = one.admin.strip_prefix("unix:").expect("a Unix socket");
    std::os::unix::fs::symlink(socket, &alias).expect("linked");
    let with = |more: &str| format!("{},{},{more}", one.admin, other.admin);
    for (members, says) in [
        (with("unix:/nonexistent/e.sock"), "cannot be asked"),
        (with(&one.admin), "twice"),
        (
            with(&format!("unix:{}", alias.display())),
            "are one process",
        ),
    ] {
        let (code, result, complaint) = run(&["drain", "--fleet", &members]).await;
        assert_eq!((code, result.as_str()), (Some(1), ""), "{complaint}");
        assert!(complaint.contains(says), "{complaint}");
        assert!(complaint.contains("nothing was done"), "{complaint}");
    }
    let all = fleet.addresses();
    let everybody = ["drain", "--fleet", &all, "--max-concurrent", "2"];
    let (code, _, complaint) = run(&everybody).await;
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("nobody of 2 would be left"),
        "{complaint}"
    );
    assert_eq!(fleet.drains(), 0);
    // One that drains already.
    let client = fleet.held(1).await;
    run(&["drain", "--admin", &other.admin]).await;
    let (code, _, complaint) = run(&["drain", "--fleet", &all]).await;
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("is not ready (active announce)")
            || complaint.contains("is not ready (draining"),
        "{complaint}"
    );
    assert_eq!(one.now().times("shutdown_start"), 0);
    fleet.server.desk.release();
    drop(client);
}

#[tokio::test]
async fn an_interrupt_ends_the_walk_after_the_one_under_way() {
    let fleet = Fleet::start(&[CALM; 2]).await;
    let client = fleet.held(0).await;
    let all = fleet.addresses();
    let mut walk = command(&["drain", "--fleet", &all, "--json"]);
    let walk = walk.spawn().expect("run");
    fleet.places[0].begun(1).await;
    let pid = walk.id().and_then(|pid| pid.try_into().ok());
    let pid = pid.and_then(Pid::from_raw).expect("it runs");
    kill_process(pid, Signal::INT).expect("signal it");
    fleet.server.desk.release();
    let (code, account, said) = over(walk).await;
    assert_eq!(code, Some(1), "{account}{said}");
    assert_eq!(results(&account), ["drained", "left"]);
    assert!(account.contains("by your wish"), "{account}");
    assert_eq!(fleet.places[1].now().times("shutdown_start"), 0);
    drop(client);
}

#[tokio::test]
async fn as_many_as_are_allowed_are_away_at_once() {
    let fleet = Fleet::start(&[CALM; 3]).await;
    let clients = [fleet.held(0).await, fleet.held(1).await];
    let all = fleet.addresses();
    let mut walk = command(&["drain", "--fleet", &all, "--max-concurrent", "2", "--json"]);
    let walk = walk.spawn().expect("run");
    // Both at once: neither can end before the other has begun.
    fleet.places[0].begun(1).await;
    fleet.places[1].begun(1).await;
    assert_eq!(fleet.places[2].now().times("shutdown_start"), 0);
    fleet.server.desk.release();
    let (code, account, said) = over(walk).await;
    assert_eq!(code, Some(0), "{account}{said}");
    assert_eq!(results(&account), ["drained"; 3]);
    drop(clients);
}
