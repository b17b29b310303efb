//! What only passes: reflection, messages of any size, and cancellation.

use super::Scene;
use super::web_client::line;
use crate::support::clients::channel;
use crate::support::within;
use tokio_stream::StreamExt as _;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test]
async fn the_reflection_of_a_server_is_asked_through_the_proxy() {
    let scene = Scene::start("").await;
    let channel = channel(scene.proxy.address("clear")).await;
    let mut client = ServerReflectionClient::new(channel);
    let ask = |message| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    };
    let asked = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(
            "grpc.health.v1.Health".to_owned(),
        )),
    ];
    let answers = client.server_reflection_info(tokio_stream::iter(asked));
    let answers = within("an answer", answers).await.expect("a stream");
    let answers = within("the answers", answers.into_inner().collect::<Vec<_>>()).await;
    let messages: Vec<_> = answers
        .into_iter()
        .map(|answer| {
            answer
                .expect("an answer")
                .message_response
                .expect("a message")
        })
        .collect();
    let [
        MessageResponse::ListServicesResponse(list),
        MessageResponse::FileDescriptorResponse(files),
    ] = &messages[..]
    else {
        panic!("{messages:?}");
    };
    let named = list.service.iter().map(|service| service.name.as_str());
    assert!(named.collect::<Vec<_>>().contains(&"grpc.health.v1.Health"));
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn a_message_of_any_size_passes_both_ways() {
    let scene = Scene::start("").await;
    let client = scene.calls().await;
    // Just within what tonic takes: the limits are client's and server's own.
    for size in [1, 64 * 1024, 1024 * 1024, 4 * 1024 * 1024 - 16] {
        let text = "x".repeat(size);
        let echoed = client.echo(&text).await.expect("a line");
        assert_eq!(echoed.text.len(), size);
    }
    let much = "x".repeat(5 * 1024 * 1024);
    let refused = client.echo(&much).await.expect_err("the server's limit");
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused:?}");
    assert_eq!(client.echo("on").await.expect("a line"), line("on", 0));
}
