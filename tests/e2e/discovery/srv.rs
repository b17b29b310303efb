//! SRV records.

use super::{config, ip, over, status_of_a_request, until_servers};
use crate::support::proxy::Proxy;
use crate::support::resolver::{Resolver, Say};
use crate::support::servers::Server;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

const SERVICE: &str = "_http._tcp.orders.internal";
const ENTRY: &str = "{ srv = \"_http._tcp.orders.internal.\" }";

fn port(server: &Server) -> u16 {
    server.address.port()
}

#[tokio::test]
async fn records_say_ports_and_weights() {
    let (one, two) = (Server::http1().await, Server::http1().await);
    let resolver = Resolver::start().await;
    for (target, server) in [("a.internal", &one), ("b.internal", &two)] {
        resolver.addresses(target, &[ip(server)], 60);
    }
    let records = [
        (10, 30, port(&one), "a.internal."),
        (10, 10, port(&two), "b.internal."),
    ];
    resolver.services(SERVICE, &records);
    let proxy = Proxy::start(&config(ENTRY, Some(&resolver), "")).await;
    until_servers(&proxy, &[&one, &two]).await;
    // Its turns begin anew with each change, so that they are counted in between.
    for _ in 0..8 {
        assert_eq!(status_of_a_request(&proxy).await, 200);
    }
    assert_eq!((one.desk.seen().requests, two.desk.seen().requests), (6, 2));
    resolver.services(SERVICE, &records[1..]);
    until_servers(&proxy, &[&two]).await;
    over(proxy).await;
}

#[tokio::test]
async fn the_lowest_priority_that_is_there_serves() {
    let (one, two) = (Server::http1().await, Server::http1().await);
    let resolver = Resolver::start().await;
    for (target, server) in [("a.internal", &one), ("b.internal", &two)] {
        resolver.addresses(target, &[ip(server)], 0);
    }
    let records = [
        (20, 0, port(&two), "b.internal."),
        (10, 0, port(&one), "a.internal."),
    ];
    resolver.services(SERVICE, &records);
    let proxy = Proxy::start(&config(ENTRY, Some(&resolver), "")).await;
    until_servers(&proxy, &[&one]).await;
    // That nobody can say where it is does not make it gone.
    resolver.say(
        "a.internal",
        RecordType::A,
        Say::Code(ResponseCode::ServFail),
    );
    resolver.until_asked(8).await;
    until_servers(&proxy, &[&one]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    for kind in [RecordType::A, RecordType::AAAA] {
        resolver.say("a.internal", kind, Say::None(ResponseCode::NXDomain));
    }
    until_servers(&proxy, &[&two]).await;
    assert_eq!(status_of_a_request(&proxy).await, 200);
    assert_eq!(two.desk.seen().requests, 1);
    over(proxy).await;
}
