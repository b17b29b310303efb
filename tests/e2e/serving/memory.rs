//! Bodies pass through the process, they do not stay in it.

use super::client::{get, piece};
use super::field::{CLEAR, Field, Speaks, pairs};
use crate::support::servers::bulk::Check;

/// More than the process may ever hold, by far; the quickest way gets four
/// times as much, 1 GiB.
const HUGE: usize = 256 * 1024 * 1024;
const BOUND: u64 = 64 * 1024 * 1024;

#[tokio::test]
async fn a_download_of_any_size_takes_little_memory() {
    for (speaks, site) in pairs(&Speaks::CLEAR, &CLEAR) {
        let whole_way = (speaks, site) == (Speaks::Http1, "h1");
        let size = if whole_way { 4 * HUGE } else { HUGE };
        let field = Field::new().await;
        let mut client = field.client(speaks).await;
        let asked = get(site, &format!("/flood/{size}"));
        let mut body = client.send(asked).await.expect("a head").into_body();
        let mut check = Check::default();
        while let Some(bytes) = piece(&mut body).await {
            assert!(check.take(&bytes.expect("no break")));
        }
        assert_eq!(check.right, size, "{speaks:?} to {site}");
        let peak = field.proxy.peak_memory();
        assert!(peak < BOUND, "{peak} bytes, {speaks:?} to {site}");
    }
}

#[tokio::test]
async fn clients_that_do_not_read_take_little_memory() {
    let field = Field::new().await;
    let mut slow = Vec::new();
    for (number, (speaks, site)) in pairs(&Speaks::ALL, &Field::SITES).enumerate() {
        let mut client = field.client(speaks).await;
        let asked = get(site, &format!("/flood/{HUGE}"));
        slow.push((client.send(asked).await.expect("a head"), client));
        let blocked = number / Field::SITES.len() + 1;
        field
            .server(site)
            .desk
            .until("a server that cannot write on, or is through", |seen| {
                seen.reasons.len() == blocked || seen.finished > 0
            })
            .await;
        assert_eq!(field.server(site).desk.seen().finished, 0, "{speaks:?}");
    }
    let peak = field.proxy.peak_memory();
    assert!(peak < BOUND, "{peak} bytes");
    // And whoever does read is served meanwhile.
    for (speaks, site) in pairs(&Speaks::ALL, &Field::SITES) {
        let mut client = field.client(speaks).await;
        let reply = client.ask(get(site, "/")).await.expect("a reply");
        assert_eq!(reply.text(), "ok", "{speaks:?} to {site}");
    }
}
