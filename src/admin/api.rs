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

use super::accept::wanted;
use super::ask::{Asked, Query, finish_in, format_in};
use super::auth::{self, Credentials, Role, Way};
use super::browser::refuse_pages;
use super::events::Listening;
use super::guests::{Guest, Stay};
use super::page::page;
use super::problem::Problem;
use super::{Admin, openapi, servers};
use crate::control::{NotReloaded, Refusal, Status};
use crate::drain::{Phase, Receipt, Trigger};
use crate::telemetry::metrics::Format;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::Serialize;
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of a request body.
const BODY: usize = 64 * 1024;

/// The content type of a config (registered with IANA).
const TOML: &str = "application/toml";

/// What was heard last (WHATWG HTML, section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

/// How long a request body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// An answer, or the beginning of one that does not end by itself.
#[derive(Debug)]
pub(super) enum Reply {
    Whole(Response<Full<Bytes>>),
    Events(Listening),
}

impl Reply {
    /// The response to this guest, who is answered with the last of it.
    pub(super) fn to(self, guest: &Arc<Guest>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        match self {
            Self::Whole(response) => {
                guest.is_answered();
                response.map(BodyExt::boxed_unsync)
            }
            Self::Events(mut listening) => {
                listening.stay(Stay::new(guest));
                described("text/event-stream", listening.body())
            }
        }
    }
}

pub(super) type Answer = Result<Response<Full<Bytes>>, Problem>;

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
    Extend,
    Receipt,
    Reload,
    Handover,
    Forecast,
    Upstreams,
    ServerProgress,
    DrainServer,
    TakeBackServer,
    Description,
    Config,
    Logs,
    SetLevel,
    ReopenLogs,
    Events,
    Page,
}

impl Call {
    /// The part of a request's query that all calls read alike.
    fn query(self, uri: &Uri) -> &str {
        match self {
            // A probe may add what it likes; a forecast and the config have
            // queries of their own.
            Self::Live
            | Self::Metrics
            | Self::Status
            | Self::Connections
            | Self::Forecast
            | Self::Config
            | Self::Events
            | Self::Page
            | Self::Description => "",
            _ => uri.query().unwrap_or_default(),
        }
    }
}

/// Paths, methods and what they ask for; where `GET` is, `HEAD` is too.
pub(super) const ROUTES: [(&str, &[(Method, Call)]); 19] = [
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
    ("/v1/drain/extend", &[(Method::POST, Call::Extend)]),
    ("/v1/drain/receipt", &[(Method::GET, Call::Receipt)]),
    ("/v1/reload", &[(Method::POST, Call::Reload)]),
    ("/v1/handover", &[(Method::POST, Call::Handover)]),
    ("/v1/drain/forecast", &[(Method::GET, Call::Forecast)]),
    ("/v1/upstreams", &[(Method::GET, Call::Upstreams)]),
    (
        "/v1/upstreams/{upstream}/servers/{server}/drain",
        &[
            (Method::GET, Call::ServerProgress),
            (Method::POST, Call::DrainServer),
            (Method::DELETE, Call::TakeBackServer),
        ],
    ),
    ("/openapi.json", &[(Method::GET, Call::Description)]),
    ("/v1/config", &[(Method::GET, Call::Config)]),
    (
        "/v1/logs",
        &[(Method::GET, Call::Logs), (Method::PUT, Call::SetLevel)],
    ),
    ("/v1/logs/reopen", &[(Method::POST, Call::ReopenLogs)]),
    ("/v1/events", &[(Method::GET, Call::Events)]),
    ("/", &[(Method::GET, Call::Page)]),
];

impl Admin {
    /// The answer to one request, whatever it is.
    pub(super) async fn answer<B>(self: &Arc<Self>, request: Request<B>, way: Way) -> Reply
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match self.judge(request, way).await {
            Ok(reply) => reply,
            Err(problem) => Reply::Whole(problem.response()),
        }
    }

    async fn judge<B>(self: &Arc<Self>, request: Request<B>, way: Way) -> Result<Reply, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let found = find(&head.method, head.uri.path());
        let role = match found {
            Ok((Call::Live | Call::Ready | Call::Page, _)) => Role::Reader,
            // Also for what is not there: to strangers nothing is told.
            _ => self.admit(&head, way)?,
        };
        let (call, places) = found?;
        let query = Query::read(call.query(&head.uri))?;
        if call == Call::Events {
            let last = head.headers.get(LAST_EVENT_ID);
            let last = last.and_then(|id| id.to_str().ok());
            return self.listen(last, role).map(Reply::Events);
        }
        let whole = self.whole(call, places, query, &head, body).await;
        whole.map(Reply::Whole)
    }

    async fn whole<B>(
        &self,
        call: Call,
        places: Vec<String>,
        query: Query,
        head: &Parts,
        body: B,
    ) -> Answer
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match call {
            Call::Page => Ok(page()),
            Call::Live => Ok(text("text/plain; charset=utf-8", "live\n")),
            Call::Ready => readiness(&self.control.status(), query.listener.as_deref()),
            Call::Metrics => Ok(self.scrape(&head.headers)),
            Call::Status => json(StatusCode::OK, &self.status_view()),
            Call::Connections => json(StatusCode::OK, &self.connections_view()),
            Call::Progress => self.progress(&query).await,
            Call::StartDrain => {
                let asked = Asked::read(&self.collect(body).await?, query)?;
                let asked = asked.only(&["listener"])?;
                self.start_drain(&asked.query).await
            }
            Call::CancelDrain => {
                let asked = Asked::read(&self.collect(body).await?, query)?;
                let asked = asked.only(&["listener"])?;
                let listener = asked.query.listener.as_deref();
                self.control.cancel(listener).await.map_err(refused)?;
                self.progress_of(StatusCode::OK, listener)
            }
            Call::Extend => {
                let asked = Asked::read(&self.collect(body).await?, query)?;
                self.extend(&asked.only(&["listener", "by"])?).await
            }
            Call::Receipt => self.receipt(query.listener.as_deref()),
            Call::Reload => {
                let asked = Asked::read(&collect(body).await?, query)?.only(&["dry_run"])?;
                self.reload(asked.query.dry_run).await
            }
            Call::Handover => {
                Asked::read(&collect(body).await?, query)?.only(&[])?;
                self.hand_over().await
            }
            Call::Forecast => {
                let finish = finish_in(head.uri.query().unwrap_or_default())?;
                json(StatusCode::OK, &self.forecast_view(finish))
            }
            Call::Upstreams => json(StatusCode::OK, &self.upstreams_view()),
            Call::ServerProgress | Call::DrainServer | Call::TakeBackServer => {
                let body = self.collect(body).await?;
                self.of_server(call, places, &query, &body).await
            }
            Call::Description => Ok(text("application/json", openapi::DESCRIPTION)),
            Call::Config => self.config(head),
            Call::Logs => json(StatusCode::OK, &Self::logs_view()?),
            Call::SetLevel => {
                let body = self.collect(body).await?;
                json(StatusCode::OK, &Self::set_level(&body)?)
            }
            Call::ReopenLogs => json(StatusCode::OK, &Self::reopen_logs().await?),
            // Answered above, as it comes.
            Call::Events => Err(Problem::not_found("nothing is here")),
        }
    }

    /// As what who sent this head may ask.
    fn admit(&self, head: &Parts, way: Way) -> Result<Role, Problem> {
        let credentials = Credentials::of(&head.headers);
        let doorman = self.doorman.load();
        let role = auth::authorize(doorman.role(&credentials, way), &head.method)?;
        let has_token = doorman.knows(&credentials);
        auth::refuse_rebinding(head, way, has_token)?;
        refuse_pages(head, way, has_token)?;
        Ok(role)
    }

    /// Read a body whole. A client that is slow to send it does not hold the
    /// exit: there is nothing left that it could ask for.
    async fn collect<B>(&self, body: B) -> Result<Bytes, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        tokio::select! {
            biased;
            body = collect(body) => body,
            _ = self.control.finished() => Err(refused(Refusal::Terminated)),
        }
    }

    fn scrape(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let format = Format::ALL[wanted(headers, &Format::ALL.map(Format::media_type))];
        // Asked first: else the drain may end between the text and the notice,
        // and the last metrics would count as read.
        let over = self.control.receipt().is_some();
        let metrics = text(format.content_type(), self.metrics_text(format));
        if over {
            self.scraped.notify_one();
        }
        metrics
    }

    fn config(&self, head: &Parts) -> Answer {
        let in_force = self.config.load_full();
        let in_force = in_force.ok_or_else(|| Problem::unavailable("the process is starting"))?;
        let asked = format_in(head.uri.query().unwrap_or_default(), &["json", "toml"])?;
        let offers = ["application/json", TOML];
        match asked.unwrap_or_else(|| wanted(&head.headers, &offers)) {
            0 => json(StatusCode::OK, &*in_force),
            _ => Ok(text(TOML, in_force.to_string())),
        }
    }

    fn progress_of(&self, status: StatusCode, listener: Option<&str>) -> Answer {
        let view = self.progress_view(listener);
        json(status, &view.ok_or_else(|| refused(Refusal::NoListener))?)
    }

    async fn progress(&self, query: &Query) -> Answer {
        let listener = query.listener.as_deref();
        if !query.wait {
            return self.progress_of(StatusCode::OK, listener);
        }
        let view = self.progress_view(listener);
        let view = view.ok_or_else(|| refused(Refusal::NoListener))?;
        if !view.draining && self.receipt_of(listener).is_none() {
            return Err(refused(Refusal::NotDraining));
        }
        self.wait_for_receipt(listener).await
    }

    async fn start_drain(&self, query: &Query) -> Answer {
        let listener = query.listener.as_deref();
        let asked = self.control.drain(Trigger::Api, listener).await;
        asked.map_err(refused)?;
        if query.wait {
            return self.wait_for_receipt(listener).await;
        }
        self.progress_of(StatusCode::ACCEPTED, listener)
    }

    async fn extend(&self, asked: &Asked) -> Answer {
        let by = asked.by.filter(|by| !by.is_zero());
        let by = by.ok_or_else(|| {
            Problem::bad_request("say by how much, as in {\"by\": \"30s\"}; nothing was done")
        })?;
        let listener = asked.query.listener.as_deref();
        let extended = self.control.extend(by, listener).await;
        extended.map_err(refused)?;
        self.progress_of(StatusCode::OK, listener)
    }

    async fn reload(&self, dry_run: bool) -> Answer {
        let reloaded = self.control.reload(dry_run).await;
        let status = |error: &NotReloaded| match error {
            NotReloaded::Draining | NotReloaded::Handover(_) | NotReloaded::Fixed(_) => {
                StatusCode::CONFLICT
            }
            NotReloaded::Config(_) => StatusCode::UNPROCESSABLE_ENTITY,
            NotReloaded::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let reloaded = reloaded.map_err(|error| Problem::new(status(&error), error.to_string()))?;
        json(StatusCode::OK, &reloaded)
    }

    async fn hand_over(&self) -> Answer {
        let successor = self.control.hand_over().await;
        let successor = successor.map_err(|error| Problem::conflict(error.to_string()))?;
        json(
            StatusCode::OK,
            &serde_json::json!({ "successor": successor }),
        )
    }

    fn receipt_of(&self, listener: Option<&str>) -> Option<Arc<Receipt>> {
        match listener {
            None => self.control.receipt(),
            Some(name) => self.control.status().listener(name)?.receipt.clone(),
        }
    }

    fn receipt(&self, listener: Option<&str>) -> Answer {
        match self.receipt_of(listener) {
            Some(receipt) => json(StatusCode::OK, &*receipt),
            None => Err(Problem::not_found("no drain has ended yet")),
        }
    }

    async fn wait_for_receipt(&self, listener: Option<&str>) -> Answer {
        match self.control.over(listener).await {
            Some(receipt) => json(StatusCode::OK, &*receipt),
            None => Err(Problem::conflict("the drain was cancelled")),
        }
    }
}

/// What is asked for, and the names that the path has.
fn find(method: &Method, path: &str) -> Result<(Call, Vec<String>), Problem> {
    let mut routes = ROUTES.iter();
    let (calls, places) = routes
        .find_map(|(known, calls)| Some((calls, servers::places(known, path)?)))
        .ok_or_else(|| Problem::not_found("nothing is here; /openapi.json lists what there is"))?;
    // A HEAD is a GET whose body the HTTP engine leaves out.
    let asked = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let call = calls.iter().find(|(known, _)| known == asked);
    call.map(|(_, call)| (*call, places)).ok_or_else(|| {
        let mut allow: Vec<&str> = calls.iter().map(|(method, _)| method.as_str()).collect();
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        Problem::method_not_allowed(&allow.join(", "))
    })
}

fn readiness(status: &Status, listener: Option<&str>) -> Answer {
    let one = match listener {
        None => None,
        Some(name) => match status.listener(name) {
            Some(one) => Some(&one.position),
            None => return Err(refused(Refusal::NoListener)),
        },
    };
    // A listener is as ready as its process.
    let mut positions = [Some(&status.process), one].into_iter().flatten();
    let Some(position) = positions.find(|position| !position.ready) else {
        return Ok(text("text/plain; charset=utf-8", "ready\n"));
    };
    let reason = match (position.stage, position.phase) {
        (Some(stage), Phase::Active | Phase::Draining) => {
            format!("a drain is under way ({})", stage.as_str())
        }
        (_, Phase::Terminated) => "it has drained".to_owned(),
        (_, Phase::Active) => "every listener is drained or about to be".to_owned(),
        (_, phase) => format!("the process is {}", phase.as_str()),
    };
    Err(Problem::unavailable(reason))
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NoListener => Problem::not_found(refusal.to_string()),
        refusal => Problem::conflict(refusal.to_string()),
    }
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

pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let written = serde_json::to_vec(value).map_err(|error| {
        let detail = format!("the answer could not be written: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let mut response = text("application/json", written);
    *response.status_mut() = status;
    Ok(response)
}

fn text(kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    described(kind, Full::new(body.into()))
}

/// A response that nobody keeps, and that no browser takes for anything else.
fn described<B>(kind: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
