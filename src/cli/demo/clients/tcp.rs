//! TCP clients: lines to somebody who repeats them, as a database client
//! would hold its connection.
//!
//! One operation is one connection. It is completed when the client ends it
//! and the other end follows, and told when the other side ends in order (FIN)
//! first. A reset, or a wrong byte, is a loss.
//!
//! Deliberately absent: any protocol in which more could be said.

use super::super::account::{Account, End};
use super::{Permit, Target, Wire, patiently};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

const LINE: &[u8] = b"select 1;\n";

/// Send a line every `pause` and read it back, until nothing new may be begun;
/// then end. A late client stays until the other side ends.
pub(in crate::cli::demo) async fn echo(
    account: Arc<Account>,
    target: Target,
    pause: Duration,
    permit: Permit,
) {
    let operation = account.begin();
    let end = match patiently(target.connect()).await {
        Ok(stream) => talk(stream, pause, permit).await.unwrap_or_else(End::Lost),
        Err(error) => End::Lost(error),
    };
    operation.end(end);
}

async fn talk(
    mut stream: Box<dyn Wire>,
    pause: Duration,
    mut permit: Permit,
) -> Result<End, String> {
    let mut line = [0; LINE.len()];
    loop {
        patiently(stream.write_all(LINE)).await?;
        match patiently(line_or_end(&mut stream, &mut line)).await? {
            Heard::Line if line == LINE => {}
            Heard::Line => return Ok(End::Lost("other bytes came back".to_owned())),
            Heard::End => return told(stream).await,
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = permit.withdrawn() => break,
            read = stream.read(&mut line) => return match read {
                Ok(0) => told(stream).await,
                Ok(_) => Ok(End::Lost("bytes that nobody asked for".to_owned())),
                Err(error) => Err(error.to_string()),
            },
        }
    }
    patiently(stream.shutdown()).await?;
    match patiently(stream.read(&mut line)).await? {
        0 => Ok(End::Completed),
        _ => Ok(End::Lost("bytes after the end".to_owned())),
    }
}

enum Heard {
    Line,
    End,
}

async fn line_or_end(stream: &mut Box<dyn Wire>, line: &mut [u8]) -> io::Result<Heard> {
    match stream.read_exact(line).await {
        Ok(_) => Ok(Heard::Line),
        // Raw TCP has no way to say more: a line on its way may go unanswered.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Heard::End),
        Err(error) => Err(error),
    }
}

/// The other side ended first: follow it.
async fn told(mut stream: Box<dyn Wire>) -> Result<End, String> {
    patiently(stream.shutdown()).await?;
    Ok(End::Told("end of stream (FIN), in order".to_owned()))
}
