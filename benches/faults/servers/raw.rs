//! A server of HTTP/1.1 on bare sockets, so that each connection ends just as a
//! seed says.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// What a connection does once it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits for the next request.
    Waits,
    /// It closes at once, unannounced.
    ClosesAtOnce,
    /// It closes after so long, or in the middle of a request that comes then.
    ClosesAfter(Duration),
    /// It closes its side after so long, and throws away what still comes.
    LingersAfter(Duration),
    /// It closes when the next request comes, without reading it.
    ClosesUpon,
}

/// What decides that, for each answer.
pub(crate) type Fates = Arc<dyn Fn() -> Fate + Send + Sync>;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A GET by `ok`, a POST by its body.
    Well,
    /// 503, always.
    Refuses,
    /// Well, but after so long.
    Late(Duration),
    /// Not at all: the connection ends.
    BreaksOff,
}

/// Answer whoever comes.
pub(crate) async fn serve(listener: TcpListener, manner: Manner, fates: Fates) {
    while let Ok((stream, _)) = listener.accept().await {
        // An option that could not be set costs speed, nothing else.
        let _ = stream.set_nodelay(true);
        let fates = Arc::clone(&fates);
        tokio::spawn(async move {
            // How it ends is for its client to judge.
            let _ = connection(stream, manner, fates).await;
        });
    }
}

/// Connections that wait for the next request.
pub(crate) fn keeping() -> Fates {
    Arc::new(|| Fate::Waits)
}

async fn connection(mut stream: TcpStream, manner: Manner, fates: Fates) -> std::io::Result<()> {
    let mut space = Vec::with_capacity(32 * 1024);
    while let Some(body) = request(&mut stream, &mut space).await? {
        let (status, body) = match manner {
            Manner::BreaksOff => return Ok(()),
            Manner::Refuses => ("503 X", Bytes::from_static(b"busy")),
            Manner::Well => ("200 OK", body),
            Manner::Late(time) => {
                sleep(time).await;
                ("200 OK", body)
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(&[head.as_bytes(), body.as_ref()].concat())
            .await?;
        match fates() {
            Fate::Waits => {}
            Fate::ClosesAtOnce => return Ok(()),
            Fate::ClosesAfter(time) => {
                sleep(time).await;
                return Ok(());
            }
            Fate::LingersAfter(time) => {
                sleep(time).await;
                stream.shutdown().await?;
                let rest = async { while let Ok(1..) = stream.read_buf(&mut space).await {} };
                let _ = timeout(Duration::from_secs(1), rest).await;
                return Ok(());
            }
            Fate::ClosesUpon => return stream.readable().await,
        }
    }
    Ok(())
}

/// The next request's body, or `ok` if it is a GET.
async fn request(stream: &mut TcpStream, space: &mut Vec<u8>) -> std::io::Result<Option<Bytes>> {
    space.clear();
    let head = loop {
        if let Some(at) = space.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(space).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&space[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok())
        .unwrap_or(0);
    let chunked = text.contains("transfer-encoding: chunked");
    loop {
        let rest = &space[head..];
        if chunked {
            if let Some(body) = unchunked(rest) {
                return Ok(Some(body));
            }
        } else if rest.len() >= length {
            return Ok(Some(if text.starts_with("get ") {
                Bytes::from_static(b"ok")
            } else {
                Bytes::copy_from_slice(rest)
            }));
        }
        if stream.read_buf(space).await? == 0 {
            return Ok(None);
        }
    }
}

/// A body of chunks, once it is whole.
fn unchunked(mut rest: &[u8]) -> Option<Bytes> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return rest.starts_with(b"\r\n").then(|| body.into());
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
