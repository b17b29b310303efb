//! The load: which clients there are, and how many of each.
//!
//! Enough of every protocol that a drain finds each of them in every position:
//! between two requests, in the middle of one, in a long one, in one without
//! an end. A few late clients and long operations are there so that the later
//! stages have something to do.
//!
//! Deliberately absent: throughput. A demo build on a laptop must keep up.

use super::account::{Account, Sums};
use super::backends::{COUNT, COUNTED, ECHO, STREAMED_CHUNK, STREAMED_CHUNKS, WATCH};
use super::clients::{self, Call, Permit, Question, Target};
use crate::drain::Protocol;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The addresses that the clients know.
#[derive(Clone)]
pub(super) struct Targets {
    /// HTTP/1.1 and WebSocket, clear text.
    pub(super) web: Target,
    /// HTTP/1.1 and WebSocket, over TLS.
    pub(super) secure: Target,
    /// HTTP/2, over TLS.
    pub(super) secure_h2: Target,
    /// gRPC: HTTP/2 with prior knowledge.
    pub(super) grpc: Target,
    /// TCP.
    pub(super) db: Target,
}

/// All clients, and their books.
pub(super) struct Load {
    targets: Targets,
    permit: Permit,
    accounts: Vec<Arc<Account>>,
    clients: JoinSet<()>,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Load {
    /// Start every client that is there from the beginning.
    pub(super) fn start(targets: Targets, permit: Permit) -> Self {
        let mut load = Self {
            targets,
            permit,
            accounts: Vec::new(),
            clients: JoinSet::new(),
        };
        load.http1();
        load.http2();
        load.grpc();
        load.websocket();
        load.tcp();
        load
    }

    /// Begin what will certainly not be over when its deadline comes.
    pub(super) fn start_endless(&mut self) {
        let account = self.account("HTTP/1.1, a 30 s report", Protocol::Http1);
        let report = Question::new("/slow/30000", *b"slow\n");
        let target = self.targets.web.clone();
        self.clients
            .spawn(clients::one_request(account, target, report));

        let account = self.account("gRPC, an endless stream", Protocol::Grpc);
        for _ in 0..2 {
            let target = self.targets.grpc.clone();
            self.clients
                .spawn(clients::watch(Arc::clone(&account), target, WATCH));
        }
    }

    /// The books so far, in the order in which their traffic began.
    pub(super) fn accounts(&self) -> &[Arc<Account>] {
        &self.accounts
    }

    /// The sums over all books.
    pub(super) fn sums(&self) -> Sums {
        let sums = self.accounts.iter().map(|account| account.sums());
        sums.fold(Sums::default(), Sums::plus)
    }

    /// Wait until every client has ended. One that has not within `limit` is
    /// stopped, and what it had in flight is lost.
    pub(super) async fn end(&mut self, limit: Duration) {
        let all = async { while self.clients.join_next().await.is_some() {} };
        if timeout(limit, all).await.is_err() {
            self.clients.shutdown().await;
        }
    }

    fn account(&mut self, name: &'static str, protocol: Protocol) -> Arc<Account> {
        let account = Account::new(name, protocol);
        self.accounts.push(Arc::clone(&account));
        account
    }

    fn http1(&mut self) {
        let quick = Question::new("/", *b"ok\n");
        let clear = self.account("HTTP/1.1", Protocol::Http1);
        for _ in 0..6 {
            self.keep_alive(
                &clear,
                self.targets.web.clone(),
                quick.clone(),
                ms(10),
                self.permit.clone(),
            );
        }
        self.keep_alive(
            &clear,
            self.targets.web.clone(),
            quick.clone(),
            ms(50),
            self.permit.late(),
        );

        let secure = self.account("HTTP/1.1 over TLS", Protocol::Http1);
        for _ in 0..4 {
            self.keep_alive(
                &secure,
                self.targets.secure.clone(),
                quick.clone(),
                ms(10),
                self.permit.clone(),
            );
        }

        let slow = self.account("HTTP/1.1, answers of 1 to 3 s", Protocol::Http1);
        for delay in [1000, 2000, 3000] {
            let question = Question::new(format!("/slow/{delay}"), *b"slow\n");
            self.keep_alive(
                &slow,
                self.targets.web.clone(),
                question,
                ms(10),
                self.permit.clone(),
            );
        }

        let streamed = self.account("HTTP/1.1, streamed answers", Protocol::Http1);
        let question = Question::new("/stream", STREAMED_CHUNK.repeat(STREAMED_CHUNKS));
        for target in [self.targets.web.clone(), self.targets.secure.clone()] {
            self.keep_alive(
                &streamed,
                target,
                question.clone(),
                ms(10),
                self.permit.clone(),
            );
        }
    }

    fn keep_alive(
        &mut self,
        account: &Arc<Account>,
        target: Target,
        question: Question,
        pause: Duration,
        permit: Permit,
    ) {
        let client = clients::keep_alive(Arc::clone(account), target, question, pause, permit);
        self.clients.spawn(client);
    }

    fn http2(&mut self) {
        let account = self.account("HTTP/2 over TLS", Protocol::Http2);
        let quick = Question::new("/", *b"ok\n");
        let late = self.permit.late();
        for (streams, permit) in [
            (8, self.permit.clone()),
            (8, self.permit.clone()),
            (4, late),
        ] {
            let target = self.targets.secure_h2.clone();
            let client = clients::multiplexed(
                Arc::clone(&account),
                target,
                quick.clone(),
                streams,
                ms(25),
                permit,
            );
            self.clients.spawn(client);
        }
        let account = self.account("HTTP/2, streamed answers", Protocol::Http2);
        let question = Question::new("/stream", STREAMED_CHUNK.repeat(STREAMED_CHUNKS));
        let target = self.targets.secure_h2.clone();
        let client =
            clients::multiplexed(account, target, question, 4, ms(25), self.permit.clone());
        self.clients.spawn(client);
    }

    fn grpc(&mut self) {
        let calls = [
            (
                "gRPC, unary calls",
                3,
                Call {
                    method: ECHO,
                    messages: 1,
                },
            ),
            (
                "gRPC, streams of half a second",
                2,
                Call {
                    method: COUNT,
                    messages: COUNTED,
                },
            ),
        ];
        for (name, number, call) in calls {
            let account = self.account(name, Protocol::Grpc);
            for _ in 0..number {
                let target = self.targets.grpc.clone();
                let client = clients::calls(
                    Arc::clone(&account),
                    target,
                    call,
                    ms(10),
                    self.permit.clone(),
                );
                self.clients.spawn(client);
            }
        }
    }

    fn websocket(&mut self) {
        let account = self.account("WebSocket, conversations", Protocol::WebSocket);
        let (web, secure) = (self.targets.web.clone(), self.targets.secure.clone());
        let (prompt, late) = (self.permit.clone(), self.permit.late());
        let people = [
            (&web, &prompt),
            (&web, &prompt),
            (&secure, &prompt),
            (&web, &late),
            (&secure, &late),
        ];
        for (target, permit) in people {
            let client =
                clients::chat(Arc::clone(&account), target.clone(), ms(50), permit.clone());
            self.clients.spawn(client);
        }
    }

    fn tcp(&mut self) {
        let account = self.account("TCP, connections", Protocol::Tcp);
        let (prompt, late) = (self.permit.clone(), self.permit.late());
        for permit in [&prompt, &prompt, &prompt, &late, &late] {
            let target = self.targets.db.clone();
            let client = clients::echo(Arc::clone(&account), target, ms(50), permit.clone());
            self.clients.spawn(client);
        }
    }
}
