//! From a request to its answer.
//!
//! [`ROUTES`] is the whole interface; a test holds `/openapi.json` to it.
//!
//! Invariant: a command that is asked for in words that are not understood is
//! refused, never guessed at: a drain meant for one listener must not become
//! one of the process.
//!
//! Deliberately absent: what the answers look like (see `view`), and waiting
//! for anything but a request's body and, where asked for, the drain's end.

use super::problem::Problem;
use super::{Admin, auth, openapi};
use crate::control::{Refusal, Status};
use crate::drain::{Phase, Trigger};
use crate::telemetry::metrics::CONTENT_TYPE as METRICS_TYPE;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::Serialize;
use std::error::Error;
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of a request body.
const BODY: usize = 64 * 1024;

/// How long a request body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

type Answer = Result<Response<Full<Bytes>>, Problem>;

/// What can be asked for.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Call {
    Live,
    Ready,
    Metrics,
    Status,
    Connections,
    Progress,
    StartDrain,
    CancelDrain,
    Receipt,
    Description,
}

/// Paths, methods and what they ask for; where `GET` is, `HEAD` is too.
pub(super) const ROUTES: [(&str, &[(Method, Call)]); 8] = [
    ("/livez", &[(Method::GET, Call::Live)]),
    ("/readyz", &[(Method::GET, Call::Ready)]),
    ("/metrics", &[(Method::GET, Call::Metrics)]),
    ("/v1/status", &[(Method::GET, Call::Status)]),
    ("/v1/connections", &[(Method::GET, Call::Connections)]),
    (
        "/v1/drain",
        &[
            (Method::GET, Call::Progress),
            (Method::POST, Call::StartDrain),
            (Method::DELETE, Call::CancelDrain),
        ],
    ),
    ("/v1/drain/receipt", &[(Method::GET, Call::Receipt)]),
    ("/openapi.json", &[(Method::GET, Call::Description)]),
];

impl Admin {
    /// The answer to one request, whatever it is.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match self.judge(request).await {
            Ok(response) => response,
            Err(problem) => problem.response(),
        }
    }

    async fn judge<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let found = find(&head.method, head.uri.path());
        if !matches!(found, Ok(Call::Live | Call::Ready)) {
            // Also for what is not there: without the token nothing is told.
            auth::authorize(&head.headers, self.token.as_deref())?;
        }
        auth::refuse_pages(&head.method, &head.headers)?;
        let query = head.uri.query().unwrap_or_default();
        match found? {
            Call::Live => Ok(text("text/plain; charset=utf-8", "live\n")),
            Call::Ready => readiness(&self.control.status()),
            Call::Metrics => Ok(text(METRICS_TYPE, self.metrics_text())),
            Call::Status => json(StatusCode::OK, &self.status_view()),
            Call::Connections => json(StatusCode::OK, &self.connections_view()),
            Call::Progress => self.progress(wait_in(query)?).await,
            Call::StartDrain => {
                let wait = wait_in(query)?;
                understand(&collect(body).await?)?;
                self.start_drain(wait).await
            }
            Call::CancelDrain => {
                understand(&collect(body).await?)?;
                self.control.cancel().await.map_err(refused)?;
                json(StatusCode::OK, &self.progress_view())
            }
            Call::Receipt => match self.control.receipt() {
                Some(receipt) => json(StatusCode::OK, &*receipt),
                None => Err(Problem::not_found("no drain has ended yet")),
            },
            Call::Description => Ok(text("application/json", openapi::DESCRIPTION)),
        }
    }

    async fn progress(&self, wait: bool) -> Answer {
        if !wait {
            return json(StatusCode::OK, &self.progress_view());
        }
        let under_way = self.control.status().draining();
        if !under_way && self.control.receipt().is_none() {
            return Err(refused(Refusal::NotDraining));
        }
        self.wait_for_receipt().await
    }

    async fn start_drain(&self, wait: bool) -> Answer {
        self.control.drain(Trigger::Api).await.map_err(refused)?;
        if wait {
            return self.wait_for_receipt().await;
        }
        json(StatusCode::ACCEPTED, &self.progress_view())
    }

    async fn wait_for_receipt(&self) -> Answer {
        match self.control.over().await {
            Some(receipt) => json(StatusCode::OK, &*receipt),
            None => Err(Problem::conflict("the drain was cancelled")),
        }
    }
}

fn find(method: &Method, path: &str) -> Result<Call, Problem> {
    let (_, calls) = ROUTES
        .iter()
        .find(|(known, _)| *known == path)
        .ok_or_else(|| Problem::not_found("nothing is here; /openapi.json lists what there is"))?;
    // A HEAD is a GET whose body the HTTP engine leaves out.
    let asked = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let call = calls.iter().find(|(known, _)| known == asked);
    call.map(|(_, call)| *call).ok_or_else(|| {
        let mut allow: Vec<&str> = calls.iter().map(|(method, _)| method.as_str()).collect();
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        Problem::method_not_allowed(&allow.join(", "))
    })
}

fn readiness(status: &Status) -> Answer {
    if status.ready {
        return Ok(text("text/plain; charset=utf-8", "ready\n"));
    }
    let reason = match (status.stage, status.phase) {
        (Some(stage), Phase::Active | Phase::Draining) => {
            format!("a drain is under way ({})", stage.as_str())
        }
        (_, Phase::Terminated) => "the process has drained and is exiting".to_owned(),
        (_, phase) => format!("the process is {}", phase.as_str()),
    };
    Err(Problem::unavailable(reason))
}

fn refused(refusal: Refusal) -> Problem {
    Problem::conflict(refusal.to_string())
}

/// Whether the query asks to wait.
fn wait_in(query: &str) -> Result<bool, Problem> {
    let mut wait = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        wait = match pair {
            "wait=true" => true,
            "wait=false" => false,
            _ => {
                return Err(Problem::bad_request(format!(
                    "the query has {pair:?}; known are wait=true and wait=false"
                )));
            }
        };
    }
    Ok(wait)
}

async fn collect<B>(body: B) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let whole = timeout(BODY_TIME, Limited::new(body, BODY).collect()).await;
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long");
    match whole.map_err(late)? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body may have {BODY} bytes"),
        )),
        Err(error) => Err(Problem::bad_request(format!(
            "the body could not be read: {error}"
        ))),
    }
}

/// Whether a body asks for nothing that this version does not know.
fn understand(body: &[u8]) -> Result<(), Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body is no JSON object: {error}")))?;
    match members.keys().next().map(String::as_str) {
        None => Ok(()),
        Some("listener") => Err(Problem::bad_request(
            "draining one listener is not available in this version; nothing was done",
        )),
        Some(other) => Err(Problem::bad_request(format!(
            "the body has an unknown member {other:?}; nothing was done"
        ))),
    }
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let written = serde_json::to_vec(value).map_err(|error| {
        let detail = format!("the answer could not be written: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let mut response = text("application/json", written);
    *response.status_mut() = status;
    Ok(response)
}

fn text(kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
