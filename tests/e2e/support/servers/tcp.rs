//! TCP: every byte comes back, an end is answered by an end.

use super::super::BoxWire;
use super::super::seen::Desk;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(super) async fn connection(mut stream: BoxWire, desk: Desk) {
    let exchange = desk.request();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => {
                exchange.cancelled("FIN");
                let _ = stream.shutdown().await;
                return exchange.finish();
            }
            Ok(read) => {
                if let Err(error) = stream.write_all(&buffer[..read]).await {
                    return exchange.cancelled(error.kind());
                }
            }
            Err(error) => return exchange.cancelled(error.kind()),
        }
    }
}
