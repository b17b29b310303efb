//! The commands against a real admin interface, in a runtime of its own.

use super::*;
use crate::admin::view;
use crate::admin::{Admin, AdminListener, Doorman};
use crate::cli::args::Address;
use crate::cli::exit;
use crate::cli::list::By;
use crate::config::AdminAddr;
use crate::control::{self, Inbox};
use crate::drain::{
    Accounts, Event, Ledger, Machine, Phase, Plan, Stage, StageSpan, Timestamp, Trigger,
};
use crate::proxy::registry::Registry;
use crate::telemetry::metrics::Metrics;
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// An admin interface whose drain ends at once, with this many cuts.
struct Proxy {
    address: Address,
    stop: tokio::sync::mpsc::Sender<AdminListener>,
    thread: JoinHandle<()>,
}

fn receipt_with(cuts: u64) -> Receipt {
    let mut machine = Machine::new(Plan::default());
    let now = Timestamp::ZERO;
    machine.handle(Event::Reached(Phase::Active), now);
    machine.handle(Event::Drain(Trigger::Api), now);
    machine.handle(Event::CutNow, now);
    machine.handle(Event::Quiescent, now);
    let mut accounts = Accounts::default();
    accounts.requests[Protocol::Http1 as usize] = Ledger {
        opened: cuts,
        cut: cuts,
        ..Ledger::default()
    };
    let course = machine.course(None).expect("it began");
    Receipt::of(course, Duration::ZERO, now, accounts)
}

async fn conduct(mut inbox: Inbox, cuts: u64) {
    while let Some(control::Request::Command(asked)) = inbox.recv().await {
        if asked.command.wish == control::Wish::Cancel {
            asked.answer(Err(control::Refusal::NotDraining));
            continue;
        }
        let mut status = control::Status::new(Plan::default());
        status.process = control::Position {
            phase: Phase::Draining,
            stage: Some(Stage::Refuse),
            started: Some(Timestamp::ZERO),
            stages: vec![StageSpan {
                stage: Stage::Announce,
                began: Timestamp::ZERO,
                ended: None,
            }],
            ..status.process
        };
        inbox.publish(status);
        asked.answer(Ok(()));
        inbox.publish_receipt(Arc::new(receipt_with(cuts)));
    }
}

impl Proxy {
    fn start(cuts: u64, token: Option<&str>) -> Self {
        let token = token.map(str::to_owned);
        let (stop, listeners) = tokio::sync::mpsc::channel(1);
        let desk = stop.clone();
        let (bound, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let plan = Plan::default();
                let (control, inbox) = control::channel(control::Status::new(plan));
                tokio::spawn(conduct(inbox, cuts));
                let doorman = Doorman::with_tokens(token.into_iter().collect(), Vec::new());
                let admin = Admin::new(
                    control,
                    Registry::new(),
                    Vec::new(),
                    Metrics::new(),
                    doorman,
                );
                let anywhere = AdminAddr::Inet(([127, 0, 0, 1], 0).into());
                let listener = AdminListener::bind(&anywhere).await.expect("bound");
                let address = listener.address().expect("known");
                bound.send(Address::from(&address)).expect("awaited");
                desk.send(listener).await.expect("there is room");
                drop(desk);
                admin.serve(listeners).await;
            });
        });
        Self {
            address: address.recv().expect("bound"),
            stop,
            thread,
        }
    }

    fn remote(&self, token: Option<&str>) -> Remote {
        Remote {
            admin: self.address.clone(),
            token: token.map(str::to_owned),
            ca: None,
            cert: None,
            key: None,
            json: true,
        }
    }

    fn stop(self) -> Address {
        drop(self.stop);
        self.thread.join().expect("no panic");
        self.address
    }
}

fn of_process(remote: Remote) -> args::Receipt {
    args::Receipt {
        listener: None,
        remote,
    }
}

fn all(remote: Remote) -> args::Connections {
    args::Connections {
        sort: By::default(),
        reverse: false,
        listener: None,
        protocol: None,
        state: None,
        limit: None,
        remote,
    }
}

/// What to do, in the order of the arguments: wait, cancel.
fn drain_with(remote: Remote, wait: bool, cancel: bool) -> anyhow::Result<Done> {
    drain(&Drain {
        wait,
        cancel,
        extend: None,
        listener: None,
        server: None,
        finish: None,
        walk: args::Walk::default(),
        remote,
    })
}

#[test]
fn waiting_for_a_drain_tells_whether_something_was_cut() {
    for (cuts, code) in [(0, 0), (2, exit::CUT)] {
        let proxy = Proxy::start(cuts, None);
        let done = drain_with(proxy.remote(None), true, false).expect("drained");
        assert_eq!(done.code, code);
        let receipt: Receipt = serde_json::from_str(&done.result).expect("as it came");
        assert_eq!(receipt, receipt_with(cuts));
        let mut for_people = proxy.remote(None);
        for_people.json = false;
        let done = drain_with(for_people, true, false).expect("drained");
        assert_eq!(done.code, code);
        assert_eq!(done.result, receipt.to_string());
        proxy.stop();
    }
}

#[test]
fn every_command_reads_its_answer() {
    let proxy = Proxy::start(0, None);
    let remote = proxy.remote(None);
    assert_eq!(status(&remote).expect("answered").code, 0);
    assert_eq!(connections(&all(remote.clone())).expect("answered").code, 0);
    let ahead = forecast(&args::Forecast {
        finish: Some("1s500ms".into()),
        remote: proxy.remote(None),
    });
    let ahead: Forecast =
        serde_json::from_str(&ahead.expect("answered").result).expect("as it came");
    assert_eq!(ahead.plan.finish.grpc, Duration::from_millis(1_500));
    let none_yet = receipt(&of_process(remote.clone())).expect_err("no drain has been");
    assert!(none_yet.to_string().contains("yet"), "{none_yet}");
    let refused = drain_with(proxy.remote(None), false, true).expect_err("no drain is");
    assert_eq!(refused.to_string(), "no drain is under way");
    let begun = drain_with(proxy.remote(None), false, false).expect("begun");
    assert!(begun.result.contains("\"draining\":true"), "{begun:?}");
    assert_eq!(receipt(&of_process(remote.clone())).expect("there").code, 0);
    proxy.stop();
}

#[test]
fn the_token_is_sent_and_its_lack_explained() {
    let proxy = Proxy::start(0, Some("s3cret"));
    status(&proxy.remote(Some("s3cret"))).expect("the right one");
    let error = status(&proxy.remote(None)).expect_err("none");
    assert!(error.to_string().contains("EBBTIDE_TOKEN"), "{error}");
    proxy.stop();
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let proxy = Proxy::start(0, None);
    let mut remote = proxy.remote(None);
    remote.admin = proxy.stop();
    let error = status(&remote).expect_err("nobody answers");
    let text = format!("{error:#}");
    assert!(text.contains(&remote.admin.to_string()), "{text}");
    assert!(text.contains("is it running"), "{text}");
}

#[test]
fn progress_is_readable() {
    let mut progress = Progress {
        trace: None,
        listener: None,
        draining: true,
        phase: Phase::Active,
        stage: Some(Stage::Announce),
        ready: false,
        trigger: Some(Trigger::Api),
        elapsed_ms: Some(1_000.5),
        stages: Vec::new(),
        connections: 1,
        in_flight: [(Protocol::Tcp, 1)].into(),
        deadlines: Some(view::Deadlines {
            refuse_in_ms: 4_000,
            farewell_in_ms: BTreeMap::new(),
            cut_in_ms: 26_000,
        }),
        plan: Plan::default(),
    };
    let expected = "draining, stage announce; listeners refuse in 4s\n\
        1 connection left, in flight: 1 tcp\n\
        over in 26s at the latest";
    assert_eq!(progress_text(&progress), expected);
    progress.draining = false;
    let none = "no drain is under way; phase active";
    assert_eq!(progress_text(&progress), none);
}
