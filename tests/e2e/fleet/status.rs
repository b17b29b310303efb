//! `status --fleet`: everybody in one table, those too who do not answer.

use super::places::{Fleet, Kind};
use super::{command, ended, run};
use crate::support::within;
use serde_json::Value;

#[tokio::test]
async fn who_drains_and_who_is_silent_is_seen() {
    let fleet = Fleet::start(&[Kind::default(); 2]).await;
    let all = fleet.addresses();
    let (code, table, complaint) = run(&["status", "--fleet", &all]).await;
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{table}");
    assert!(table.contains("2 processes, 2 ready"), "{table}");
    let client = fleet.held(1).await;
    let draining = run(&["drain", "--admin", &fleet.places[1].admin]).await;
    assert_eq!(draining.0, Some(0), "{draining:?}");
    let most = format!("{all},unix:/nonexistent/e.sock");
    let (code, table, complaint) = run(&["status", "--fleet", &most]).await;
    assert_eq!(code, Some(1), "{table}");
    assert_eq!(complaint, "ebbtide: 1 of 3 could not be asked\n");
    for says in [
        "3 processes, 1 ready",
        "draining: ",
        "1 http1",
        "unreachable",
        "is it running",
    ] {
        assert!(table.contains(says), "{says}: {table}");
    }
    let (code, document, _) = run(&["status", "--json", "--fleet", &most]).await;
    assert_eq!(code, Some(1));
    let document: Value = serde_json::from_str(&document).expect("one document");
    let instances = document["instances"].as_array().expect("an array");
    assert_eq!(instances[0]["status"]["ready"], true);
    assert_eq!(instances[1]["drain"]["draining"], true);
    assert_ne!(
        instances[0]["status"]["instance"],
        instances[1]["status"]["instance"]
    );
    assert_eq!(instances[2]["status"], Value::Null);
    fleet.server.desk.release();
    drop(client);
}

#[tokio::test]
async fn one_token_is_for_all() {
    let fleet = Fleet::start_with("token = \"s3cret\"", &[Kind::default(); 2]).await;
    let all = fleet.addresses();
    let (code, table, _) = run(&["status", "--fleet", &all]).await;
    assert_eq!(code, Some(1));
    assert!(table.contains("EBBTIDE_TOKEN"), "{table}");
    let (code, _, complaint) = run(&["drain", "--fleet", &all]).await;
    assert_eq!(code, Some(1));
    assert!(complaint.contains("EBBTIDE_TOKEN"), "{complaint}");
    assert!(complaint.contains("nothing was done"), "{complaint}");
    assert_eq!(fleet.drains(), 0);
    let mut walk = command(&["drain", "--fleet", &all]);
    walk.env("EBBTIDE_TOKEN", "s3cret");
    let (code, account, said) = ended(within("the walk", walk.output()).await.expect("run"));
    assert_eq!(code, Some(0), "{account}{said}");
    assert_eq!(fleet.drains(), 2);
}
