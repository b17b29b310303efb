//! TCP and TLS at the edge: who is let in, by which name and which certificate,
//! and what servers are told of it.

mod admin;
mod admin_tls;
mod certificates;
mod client_auth;
mod resumption;
mod sni;
mod sni_drain;
mod upstream_tls;

use crate::support::proxy::Proxy;

/// A counter or gauge by its name and labels.
async fn metric(proxy: &Proxy, series: &str) -> u64 {
    let metrics = proxy.get("/metrics").await;
    let mut lines = metrics.text().lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {series}:\n{}", metrics.text()));
    value.parse().expect("a number")
}

/// Handshakes of a listener that failed for this reason.
async fn failed(proxy: &Proxy, listener: &str, reason: &str) -> u64 {
    let name = "ebbtide_tls_handshakes_failed_total";
    let labels = format!("listener=\"{listener}\",reason=\"{reason}\"");
    metric(proxy, &format!("{name}{{{labels}}}")).await
}

/// Wait until so many have.
async fn until_failed(proxy: &Proxy, listener: &str, reason: &str, count: u64) {
    let counted = async {
        while failed(proxy, listener, reason).await != count {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    crate::support::within(reason, counted).await;
}
