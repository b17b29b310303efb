//! The PROXY header that begins a connection, of either version, as it came.

use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Read it; anything else ends the connection.
pub(super) async fn header(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut header = vec![stream.read_u8().await?];
    match header[0] {
        b'P' => {
            while !header.ends_with(b"\n") {
                header.push(stream.read_u8().await?);
            }
        }
        b'\r' => {
            header.resize(16, 0);
            stream.read_exact(&mut header[1..]).await?;
            let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
            header.resize(16 + length, 0);
            stream.read_exact(&mut header[16..]).await?;
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(header)
}
