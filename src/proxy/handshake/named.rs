//! A TCP connection whose server is found by the name that it asks for.
//!
//! Invariant: a `ClientHello` is awaited like every half-open kind, within a
//! limit and under the drain's orders, and whoever began one and is not served
//! hears an alert. What speaks no TLS hears FIN.
//!
//! Deliberately absent: the form of a `ClientHello` (see `hello`).

use super::hello::{Hello, Said, alert};
use super::shake::CANCEL;
use super::{Act, Ended, LINGER, bounded, first_byte, flaw, part};
use crate::drain::{Farewell, Outcome};
use crate::proxy::connection::unread;
use crate::proxy::registry::{ConnectionGuard, HandshakeFlaw, Limit, State};
use crate::proxy::request::Site;
use bytes::Bytes;
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// `missing_extension` (RFC 8446, section 9.2).
const MISSING_EXTENSION: u8 = 109;

/// `unrecognized_name` (RFC 6066, section 3).
const UNRECOGNIZED_NAME: u8 = 112;

/// Bytes read at once: a usual `ClientHello` fits.
const READ: usize = 2048;

/// A connection that some route takes.
pub(super) struct Named {
    pub(super) socket: TcpStream,
    pub(super) name: Option<Box<str>>,
    /// What has been read, all of it the server's.
    pub(super) early: Bytes,
}

/// Read which name is asked for, and see that some route takes it.
pub(super) async fn ask(
    site: &Site,
    guard: &ConnectionGuard,
    mut socket: TcpStream,
) -> Result<Named, Ended> {
    first_byte(site, guard, &socket).await?;
    let mut hello = Hello::default();
    let said = loop {
        match bounded(guard, site.listener(), more(&mut socket, &mut hello)).await {
            Ok(Ok(Some(said))) => break said,
            Ok(Ok(None)) => guard.enter(State::TlsHandshake),
            Ok(Err(error)) => {
                guard.scope().handshake_failed(flaw::of(&error));
                return Err(error.into());
            }
            // As of a first byte: what came in time is heard.
            Err(Act::Farewell | Act::Close(_)) if unread(&socket) => tokio::task::yield_now().await,
            Err(act) => return Err(call_off(site, guard, (socket, &hello), act).await),
        }
    };
    let (failed, why, told) = match said {
        Said::Name(name) if site.takes(name.as_deref()) => {
            return Ok(Named {
                socket,
                name,
                early: hello.into_bytes(),
            });
        }
        Said::NoTls if site.takes(None) => {
            return Ok(Named {
                socket,
                name: None,
                early: hello.into_bytes(),
            });
        }
        Said::Name(Some(name)) => (
            HandshakeFlaw::Name,
            format!("no route takes {name:?}"),
            alert(UNRECOGNIZED_NAME).to_vec(),
        ),
        Said::Name(None) => (
            HandshakeFlaw::Name,
            "it asks for no name, and no route takes that".to_owned(),
            alert(MISSING_EXTENSION).to_vec(),
        ),
        Said::NoTls => (
            HandshakeFlaw::NotTls,
            "it speaks no TLS, and no route takes that".to_owned(),
            Vec::new(),
        ),
        Said::Broken(error, told) => {
            if flaw::is_overlong(&error) {
                guard.scope().limited(Limit::Hello);
            }
            (flaw::of_tls(&error), error.to_string(), told)
        }
    };
    guard.scope().handshake_failed(failed);
    // It fits an empty socket buffer; a peer that is gone needs none.
    let _ = socket.try_write(&told);
    part(site, guard, socket, LINGER).await;
    Err(io::Error::new(io::ErrorKind::InvalidData, why).into())
}

async fn more(socket: &mut TcpStream, hello: &mut Hello) -> io::Result<Option<Said>> {
    // A read that is given up has taken nothing.
    let mut room = [0; READ];
    match socket.read(&mut room).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(hello.take(&room[..read])),
    }
}

/// Its time was over before its name was known.
async fn call_off(
    site: &Site,
    guard: &ConnectionGuard,
    (socket, hello): (TcpStream, &Hello),
    act: Act,
) -> Ended {
    if act == Act::Cut || hello.seen() == 0 {
        return act.into();
    }
    let _ = socket.try_write(&CANCEL);
    match act {
        Act::Farewell => guard.conclude(Outcome::Farewelled(Farewell::TlsAlert)),
        Act::Close(Some(Limit::HandshakeTime)) => {
            guard.scope().handshake_failed(HandshakeFlaw::Timeout);
        }
        _ => {}
    }
    part(site, guard, socket, Duration::ZERO).await;
    act.told().into()
}
