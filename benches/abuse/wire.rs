//! Bytes that no client library would send, and what comes back.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client opens HTTP/2 with: the preface and empty SETTINGS.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What a request to `/` begins with: its pseudo-header fields, without
/// compression but for the static table's (RFC 7541, appendix A).
pub(crate) const GET: &[u8] = b"\x82\x84\x86\x41\x09localhost";
pub(crate) const POST: &[u8] = b"\x83\x84\x86\x41\x09localhost";

const GOAWAY: u8 = 7;
const RST_STREAM: u8 = 3;

/// A frame (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or_default()
        .to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Send what `more` gives, again and again, and read what comes, until the
/// other side ends it; what it said last.
pub(crate) async fn pour(
    address: SocketAddr,
    first: Vec<u8>,
    mut more: impl FnMut() -> Vec<u8>,
) -> io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let (mut from, mut to) = socket.split();
    let hear = hear(&mut from);
    let pour = async {
        to.write_all(&first).await?;
        loop {
            to.write_all(&more()).await?;
            tokio::task::yield_now().await;
        }
    };
    let pour = async {
        let ended: io::Result<()> = pour.await;
        // What was said is still to be read.
        drop(ended);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        said = hear => Ok(said),
        () = pour => Ok(String::new()),
    }
}

/// Read to the end; what of it tells why.
pub(crate) async fn hear(from: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut says = Says::default();
    let mut space = vec![0; 64 * 1024];
    let end = loop {
        match from.read(&mut space).await {
            Ok(0) => break "FIN",
            Ok(read) => says.hear(&space[..read]),
            Err(_) => break "reset",
        }
    };
    says.told.unwrap_or_else(|| end.to_owned())
}

/// Follows what is said.
#[derive(Default)]
pub(crate) struct Says {
    held: Vec<u8>,
    pub(crate) told: Option<String>,
}

impl Says {
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.held.extend(bytes);
        if self.held.starts_with(b"HTTP/1.1 ") {
            if let Some(code) = self.held.get(9..12) {
                self.told = Some(String::from_utf8_lossy(code).into_owned());
            }
            self.held.truncate(12);
            return;
        }
        loop {
            let Some([a, b, c, kind, ..]) = self.held.first_chunk::<9>() else {
                return;
            };
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let (kind, whole) = (*kind, 9 + length);
            if self.held.len() < whole {
                return;
            }
            let code = |at| self.held.get(at..at + 4).map(|code| u32::from(code[3]));
            match kind {
                GOAWAY => {
                    let reason = h2::Reason::from(code(13).unwrap_or_default());
                    self.told = Some(format!("GOAWAY {reason:?}"));
                }
                RST_STREAM => {
                    let reason = h2::Reason::from(code(9).unwrap_or_default());
                    self.told = Some(format!("RST_STREAM {reason:?}"));
                }
                _ => {}
            }
            self.held.drain(..whole);
        }
    }
}
