//! What is heard of servers, and what comes of it, by a clock of the test's own.

use super::*;
use crate::clock;
use crate::config::UpstreamHttp::H1;
use crate::config::{Eject, SuccessRate};
use crate::drain::Timestamp;
use crate::proxy::upstream::{Position, Reason};
use http::{HeaderValue, Response, response};

fn upstream(servers: u16, change: impl FnOnce(&mut config::Upstream)) -> Arc<Upstream> {
    let servers: Vec<_> = (1..=servers)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .collect();
    let mut config = config(&servers, H1);
    change(&mut config);
    fresh(&config).unwrap()
}

fn head(status: u16) -> response::Parts {
    Response::builder()
        .status(status)
        .body(())
        .unwrap()
        .into_parts()
        .0
}

fn positions(upstream: &Upstream) -> Vec<Position> {
    let servers = upstream.servers().into_iter();
    servers.map(|server| server.position).collect()
}

/// How often each server is chosen in a hundred choices.
fn shares(upstream: &Arc<Upstream>) -> Vec<usize> {
    let pool = upstream.pool();
    let mut shares = vec![0; upstream.servers().len()];
    for _ in 0..100 {
        shares[pool.select(Search::new()).unwrap()] += 1;
    }
    shares
}

fn later(by: u64) -> Timestamp {
    clock::now() + Duration::from_secs(by)
}

use Position::{Ejected, Going, Serving, Warming};

#[test]
fn failures_in_a_row_eject_and_time_brings_back() {
    let upstream = upstream(4, |config| {
        config.eject = Some(Eject {
            server_errors: 3,
            ..Eject::default()
        });
    });
    for status in [500, 502, 200, 503, 500] {
        upstream.answered(0, &mut head(status));
    }
    assert_eq!(positions(&upstream), [Serving; 4], "not three in a row");
    upstream.answered(0, &mut head(500));
    assert_eq!(positions(&upstream), [Ejected, Serving, Serving, Serving]);
    assert_eq!(upstream.servers()[0].why.as_deref(), Some("server_errors"));
    assert_eq!(shares(&upstream)[0], 0);
    let due = upstream.tend(later(0)).unwrap();
    assert!(due > later(25) && due <= later(30));
    upstream.tend(later(29));
    assert_eq!(positions(&upstream)[0], Ejected);
    upstream.tend(later(31));
    assert_eq!(positions(&upstream), [Serving; 4]);
    assert_eq!(upstream.servers()[0].why, None);
    let ejections = upstream.servers()[0].ejections;
    assert!(ejections.contains(&(Reason::ServerErrors, 1)));
}

#[test]
fn connections_that_fail_eject_by_default_and_answers_do_not() {
    let upstream = upstream(2, |_| {});
    for _ in 0..100 {
        upstream.answered(1, &mut head(500));
        upstream.broke_off(1);
    }
    assert_eq!(positions(&upstream), [Serving; 2]);
    for _ in 0..5 {
        upstream.dialled(0, false);
    }
    assert_eq!(positions(&upstream), [Ejected, Serving]);
    for _ in 0..100 {
        upstream.dialled(1, false);
    }
    assert_eq!(positions(&upstream), [Ejected, Serving], "half at most");
}

#[test]
fn an_ejected_server_is_chosen_when_there_is_no_other() {
    let upstream = upstream(2, |config| {
        let all = Eject {
            max: 100,
            ..Eject::default()
        };
        config.eject = Some(all);
    });
    for server in 0..2 {
        (0..5).for_each(|_| upstream.dialled(server, false));
    }
    assert_eq!(positions(&upstream), [Ejected; 2]);
    assert_eq!(shares(&upstream), [50, 50], "an ejection alone is no 503");
}

#[test]
fn a_server_that_is_back_has_its_share_by_and_by() {
    let upstream = upstream(2, |config| config.slow_start = Duration::from_secs(60));
    (0..5).for_each(|_| upstream.dialled(0, false));
    let back = later(40);
    upstream.tend(back);
    assert_eq!(positions(&upstream), [Warming, Serving]);
    let mut before = 0;
    for (seconds, part) in [(0, 9), (15, 20), (30, 33), (45, 43), (60, 50)] {
        assert!(upstream.tend(back + Duration::from_secs(seconds)).is_some() == (seconds < 60));
        let share = shares(&upstream)[0];
        assert!(share.abs_diff(part) <= 1, "{share} after {seconds} s");
        assert!(share > before);
        before = share;
    }
    assert_eq!(positions(&upstream), [Serving; 2]);
}

#[test]
fn a_server_that_is_added_by_a_reload_warms_up_and_the_others_do_not() {
    let servers = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut config = config(&servers[..1], H1);
    config.slow_start = Duration::from_secs(60);
    let registry = Registry::new();
    let before = Upstream::new(&config, &registry, None).unwrap();
    before.tend(clock::now());
    assert_eq!(positions(&before), [Serving]);
    config.servers.push(server(servers[1]));
    let after = Upstream::new(&config, &registry, Some(&before)).unwrap();
    after.tend(clock::now());
    assert_eq!(positions(&after), [Serving, Warming]);
}

#[test]
fn a_server_that_says_that_it_is_going_is_believed_for_a_while() {
    let upstream = upstream(2, |_| {});
    let mut head = head(200);
    let field = "x-envoy-immediate-health-check-fail";
    head.headers.insert(field, HeaderValue::from_static("true"));
    upstream.answered(0, &mut head);
    assert!(head.headers.is_empty(), "it would be about this proxy");
    assert_eq!(positions(&upstream), [Going, Serving]);
    assert_eq!(shares(&upstream), [0, 100]);
    upstream.tend(later(11));
    assert_eq!(positions(&upstream), [Serving; 2]);
}

#[test]
fn a_good_check_that_began_after_the_word_brings_it_back_and_an_earlier_one_does_not() {
    let upstream = upstream(2, |_| {});
    let before = clock::now();
    let mut head = head(503);
    let field = "x-envoy-immediate-health-check-fail";
    head.headers.insert(field, HeaderValue::from_static("true"));
    upstream.answered(0, &mut head);
    upstream.was_checked(0, before, None);
    assert_eq!(positions(&upstream)[0], Going);
    upstream.was_checked(0, later(1), Some((false, "refused".to_owned())));
    assert_eq!(positions(&upstream)[0], Position::Down);
    assert_eq!(upstream.servers()[0].why.as_deref(), Some("refused"));
    upstream.was_checked(0, later(2), Some((true, String::new())));
    assert_eq!(positions(&upstream)[0], Serving);
}

fn closing(status: u16) -> response::Parts {
    let mut head = head(status);
    let field = HeaderValue::from_static("x-hop, Close");
    head.headers.insert(http::header::CONNECTION, field);
    head
}

#[test]
fn a_server_that_begins_to_close_its_connections_is_going() {
    let upstream = upstream(2, |_| {});
    upstream.answered(0, &mut head(200));
    for status in [200, 503] {
        upstream.answered(0, &mut closing(status));
    }
    assert_eq!(positions(&upstream), [Serving; 2], "it may be their age");
    upstream.answered(0, &mut closing(302));
    assert_eq!(positions(&upstream), [Going, Serving]);
    upstream.tend(later(11));
    assert_eq!(positions(&upstream), [Serving; 2]);
}

#[test]
fn closing_says_nothing_where_it_is_usual_or_the_request_is_at_fault() {
    let upstream = upstream(3, |config| config.going.closes = 2);
    for _ in 0..10 {
        upstream.answered(0, &mut closing(200));
        upstream.answered(1, &mut head(200));
        upstream.answered(1, &mut closing(200));
        upstream.answered(1, &mut closing(400));
    }
    assert_eq!(positions(&upstream), [Serving; 3]);
    let never = self::upstream(1, |config| config.going.closes = 0);
    never.answered(0, &mut head(200));
    for _ in 0..10 {
        never.answered(0, &mut closing(200));
    }
    assert_eq!(positions(&never), [Serving]);
}

#[test]
fn who_fails_far_oftener_than_the_others_is_ejected() {
    let settings = SuccessRate::default();
    let eject = Eject {
        success_rate: Some(settings.clone()),
        ..Eject::default()
    };
    let upstream = upstream(6, |config| config.eject = Some(eject.clone()));
    for round in 0..200 {
        for server in 0..6 {
            let status = if server == 3 && round % 3 == 0 {
                500
            } else {
                200
            };
            upstream.answered(server, &mut head(status));
        }
    }
    upstream.find_outliers(&eject, &settings, clock::now());
    assert_eq!(positions(&upstream)[3], Ejected);
    assert_eq!(upstream.servers()[3].why.as_deref(), Some("success_rate"));
    upstream.tend(later(31));
    upstream.find_outliers(&eject, &settings, later(31));
    assert_eq!(positions(&upstream)[3], Serving, "what is past is past");
}

#[test]
fn a_reload_keeps_what_is_known_of_a_server() {
    let servers = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut config = config(&servers, H1);
    let registry = Registry::new();
    let before = Upstream::new(&config, &registry, None).unwrap();
    (0..5).for_each(|_| before.dialled(0, false));
    config.balance = config::Balance::LeastInFlight;
    config.servers[1].weight = 3;
    let after = Upstream::new(&config, &registry, Some(&before)).unwrap();
    assert_eq!(positions(&after), [Ejected, Serving]);
}
