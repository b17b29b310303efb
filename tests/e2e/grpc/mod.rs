//! gRPC beyond calls that pass: the health service that the proxy answers
//! itself, gRPC-Web, statuses and deadlines that the proxy says, and pings.

mod deadlines;
mod health;
mod health_drain;
mod keepalive;
mod passes;
mod statuses;
mod web;
mod web_breaks;
mod web_client;
mod web_ends;

use crate::support::clients::{Grpc, channel, channel_tls};
use crate::support::proxy::Proxy;
use crate::support::servers::{SERVICE, Server};
use crate::support::within;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, server::Router};
use tonic::{Status, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{FILE_DESCRIPTOR_SET, HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::HealthReporter;

/// What `HealthCheckResponse` says.
const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

/// A server that answers for its own health, and tells of its services.
struct Healthy {
    address: SocketAddr,
    reporter: HealthReporter,
    serving: JoinHandle<()>,
}

impl Healthy {
    /// It says of `orders.v1.Orders` that it is served.
    async fn start() -> Self {
        let (reporter, health) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("descriptors");
        let router = tonic::transport::Server::builder()
            .add_service(health)
            .add_service(reflection);
        let (address, serving) = serve(router).await;
        let healthy = Self {
            address,
            reporter,
            serving,
        };
        healthy.says(true).await;
        healthy
    }

    async fn says(&self, serving: bool) {
        let status = if serving {
            tonic_health::ServingStatus::Serving
        } else {
            tonic_health::ServingStatus::NotServing
        };
        let said = self.reporter.set_service_status("orders.v1.Orders", status);
        said.await;
    }
}

impl Drop for Healthy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(router: Router) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = tokio::spawn(async move {
        router
            .serve_with_incoming(incoming)
            .await
            .expect("a gRPC server");
    });
    (address, serving)
}

/// A proxy that answers for the health of two upstreams, `lines` by a route
/// with the name of its service and `orders` by what its checks ask for. The
/// listener `plain` answers for nobody.
struct Scene {
    proxy: Proxy,
    lines: Server,
    orders: Healthy,
}

impl Scene {
    async fn start(drain: &str) -> Self {
        let (lines, orders) = (Server::grpc().await, Healthy::start().await);
        let proxy = Proxy::start(&config(&lines, &orders, "", drain)).await;
        Self {
            proxy,
            lines,
            orders,
        }
    }

    /// In clear text and over TLS.
    async fn clients(&self) -> [HealthClient<Channel>; 2] {
        let tls = self.proxy.address("tls");
        [
            HealthClient::new(channel(self.proxy.address("clear")).await),
            HealthClient::new(channel_tls(tls, self.proxy.certificate()).await),
        ]
    }

    async fn client(&self) -> HealthClient<Channel> {
        HealthClient::new(channel(self.proxy.address("clear")).await)
    }

    async fn calls(&self) -> Grpc {
        Grpc::connect(self.proxy.address("clear")).await
    }
}

/// The config of a [`Scene`], with `more` routes before its own.
fn config(lines: &Server, orders: &Healthy, more: &str, drain: &str) -> String {
    let routes = format!(
        "grpc_health = true\ngrpc_web = true\nroutes = [{more}{{ path = \"/{SERVICE}/\", upstream = \"lines\" }}, {{ upstream = \"orders\" }}]"
    );
    format!(
        r#"
[listener.clear]
listen = "127.0.0.1:0"
{routes}

[listener.tls]
listen = "127.0.0.1:0"
tls = {{ cert = "site.pem", key = "site.key" }}
{routes}

[listener.plain]
listen = "127.0.0.1:0"
routes = [{{ path = "/{SERVICE}/", upstream = "lines" }}, {{ upstream = "orders" }}]

[upstream.lines]
servers = ["{}"]
http = "h2"

[upstream.orders]
servers = ["{}"]
http = "h2"
health = {{ grpc = "orders.v1.Orders", every = "20ms" }}

{drain}
"#,
        lines.address, orders.address
    )
}

/// Ask once.
async fn check(client: &mut HealthClient<Channel>, service: &str) -> Result<i32, Status> {
    let asked = client.check(request(service));
    let answer = within("an answer", asked).await?;
    Ok(answer.into_inner().status)
}

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

/// What is said from now on.
struct Watched(Streaming<HealthCheckResponse>);

impl Watched {
    async fn begin(client: &mut HealthClient<Channel>, service: &str) -> Self {
        let asked = within("an answer", client.watch(request(service))).await;
        Self(asked.expect("a stream").into_inner())
    }

    async fn next(&mut self) -> Result<Option<i32>, Status> {
        let said = within("a word", self.0.message()).await?;
        Ok(said.map(|said| said.status))
    }

    #[track_caller]
    fn says(&mut self, wanted: i32) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let said = self.next().await;
            assert_eq!(said.expect("no end"), Some(wanted), "{caller}");
        }
    }
}
