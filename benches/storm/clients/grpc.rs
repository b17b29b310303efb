//! gRPC clients, on the `h2` crate: unary calls and server streams, one after
//! the other.
//!
//! A call is finished with status 0 and all its messages, and told with status
//! 14 and a message that names the drain. Anything else, above all a stream
//! that ends without a status, is a loss.

use super::super::books::End;
use super::super::servers::MESSAGE;
use super::http2::{collect, open};
use super::{Client, patiently};
use bytes::Bytes;
use ebbtide::drain::Protocol;
use h2::client::SendRequest;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, Request};
use tokio::time::sleep;

/// What to call, and how many messages must come back; `None` if it has no
/// end and its client stays until it is sent away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) messages: Option<usize>,
}

/// Call `call` again and again until a new connection is refused.
pub(crate) async fn calls(client: Client, call: Call) {
    while let Some(connection) = open(&client).await {
        while let Ok(sender) = connection.sender.clone().ready().await {
            let grpc = Some(Protocol::Grpc);
            let operation = client.books.begin(client.kind, grpc, connection.port);
            let answer = ask(sender, call).await;
            let finished = matches!(answer, Ok(End::Finished));
            operation.end(answer);
            if !finished {
                break;
            }
            sleep(client.pause).await;
        }
        connection.end(&client).await;
        if call.messages.is_none() {
            return;
        }
    }
}

async fn ask(mut sender: SendRequest<Bytes>, call: Call) -> Result<End, String> {
    let request = Request::post(format!("http://localhost{}", call.method))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(())
        .map_err(|error| error.to_string())?;
    let (response, mut upload) = sender
        .send_request(request, false)
        .map_err(|error| error.to_string())?;
    let sent = upload.send_data(Bytes::from_static(MESSAGE), true);
    sent.map_err(|error| format!("uploading: {error}"))?;
    let (head, mut body) = patiently(response).await?.into_parts();
    let (bytes, ended) = patiently(async { Ok::<_, String>(collect(&mut body).await) }).await?;
    let trailers = ended.map_err(|error| format!("after {} bytes: {error}", bytes.len()))?;
    let status = trailers.unwrap_or(head.headers);
    Ok(judge(&status, &bytes, call))
}

fn judge(status: &HeaderMap, bytes: &[u8], call: Call) -> End {
    let field = |name| status.get(name).and_then(|value| value.to_str().ok());
    let message = field("grpc-message").unwrap_or_default();
    let whole = bytes.len().is_multiple_of(MESSAGE.len())
        && bytes == MESSAGE.repeat(bytes.len() / MESSAGE.len());
    match (field("grpc-status"), call.messages) {
        (Some("0"), Some(expected)) if bytes == MESSAGE.repeat(expected) => End::Finished,
        (Some("14"), _) if message.contains("drain") && whole => {
            End::Told("grpc-status 14".to_owned())
        }
        (Some(code), _) => End::Lost(format!(
            "grpc-status {code} \"{message}\" after {} bytes",
            bytes.len()
        )),
        (None, _) => End::Lost(format!("no grpc-status after {} bytes", bytes.len())),
    }
}
