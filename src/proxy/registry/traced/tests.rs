//! What is kept of what others wrote.

use super::*;

#[test]
fn a_server_is_an_address_and_a_port() {
    assert_eq!(place("10.0.0.1:80"), ("10.0.0.1", Some(80)));
    assert_eq!(place("[::1]:80"), ("::1", Some(80)));
    assert_eq!(place("unix:/run/a.sock"), ("/run/a.sock", None));
}

#[test]
fn what_waits_keeps_little_of_what_a_client_wrote() {
    let long = "a".repeat(30_000);
    let request = http::Request::get(format!("http://a/{long}?{long}"));
    let request = request.header("user-agent", &long).body(());
    let (head, ()) = request.expect("good").into_parts();
    let asked = Asked::of(&head, &long, true, None);
    let kept = Requested::from(asked);
    let agent = kept.agent.expect("kept").len();
    let lengths = [kept.host.len(), kept.path.len(), agent];
    assert!(lengths.iter().all(|length| *length <= 1024), "{lengths:?}");
}

#[test]
fn tries_beyond_the_bound_are_asked_by_the_exchange_itself() {
    let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let parent = crate::telemetry::traces::Parent::read(parent).expect("good");
    let begun = Begun {
        ids: parent.ids,
        parent: None,
        state: None,
    };
    let (server, mut attempts) = ("a:1".into(), Attempts::of(&begun));
    let mut told = Vec::new();
    for _ in 0..TRIES + 2 {
        let mut fields = HeaderMap::new();
        attempts.begin(&server, Timestamp::ZERO, Some(&mut fields));
        told.push(fields.remove(TRACEPARENT).expect("told"));
    }
    assert_eq!((attempts.made.len(), attempts.more), (TRIES, 2));
    let own = traceparent(parent.ids, 1);
    assert_eq!(told.iter().filter(|told| **told == own).count(), 2);
    // What comes of those is not said of the last that has a span.
    attempts.failed("connect", Timestamp::ZERO);
    assert!(attempts.made[TRIES - 1].failed.is_none());
}
