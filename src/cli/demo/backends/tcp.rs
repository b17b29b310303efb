//! The TCP server: every byte comes back, and an end is answered by an end.
//!
//! It knows no protocol, as a database looks to a proxy.
//!
//! Deliberately absent: limits. Its only client is the demo.

use tokio::io::{AsyncWriteExt, copy};
use tokio::net::TcpStream;

pub(super) async fn connection(mut stream: TcpStream) {
    let (mut from, mut to) = stream.split();
    // A client that resets has left; there is nobody to tell.
    let _ = copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}
