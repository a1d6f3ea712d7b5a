//! The services that are drafts: every method answers UNIMPLEMENTED, and says so.

use std::pin::Pin;

use bellboard_proto::hub::v1::attention_service_server::AttentionService;
use bellboard_proto::hub::v1::command_service_server::CommandService;
use bellboard_proto::v1;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, async_trait};

use crate::wire::status::unbuilt;

/// The attention service, until attention is built.
#[derive(Debug)]
pub struct Attention;

/// The command service, until commands are built.
#[derive(Debug)]
pub struct Command;

/// A stream that nothing ever opens.
type Never<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

macro_rules! unbuilt_service {
    ($service:ident for $target:ty { stream $stream:ident = $item:ident; $($method:ident: $request:ident -> $response:ty;)* }) => {
        #[async_trait]
        impl $service for $target {
            type $stream = Never<v1::$item>;
            $(async fn $method(&self, _: Request<v1::$request>) -> Result<Response<$response>, Status> {
                Err(unbuilt(stringify!($method)))
            })*
        }
    };
}

unbuilt_service!(AttentionService for Attention {
    stream WatchAttentionStream = WatchAttentionResponse;
    list_attention_items: ListAttentionItemsRequest -> v1::ListAttentionItemsResponse;
    watch_attention: WatchAttentionRequest -> Self::WatchAttentionStream;
    get_attention_summary: GetAttentionSummaryRequest -> v1::GetAttentionSummaryResponse;
    acknowledge_attention_item: AcknowledgeAttentionItemRequest -> v1::AcknowledgeAttentionItemResponse;
    snooze_attention_item: SnoozeAttentionItemRequest -> v1::SnoozeAttentionItemResponse;
    dismiss_attention_item: DismissAttentionItemRequest -> v1::DismissAttentionItemResponse;
    set_presence: SetPresenceRequest -> v1::SetPresenceResponse;
});

unbuilt_service!(CommandService for Command {
    stream ReceiveCommandsStream = ReceiveCommandsResponse;
    send_command: SendCommandRequest -> v1::SendCommandResponse;
    answer_ask: AnswerAskRequest -> v1::AnswerAskResponse;
    get_command: GetCommandRequest -> v1::GetCommandResponse;
    list_commands: ListCommandsRequest -> v1::ListCommandsResponse;
    cancel_command: CancelCommandRequest -> v1::CancelCommandResponse;
    list_connectors: ListConnectorsRequest -> v1::ListConnectorsResponse;
    receive_commands: ReceiveCommandsRequest -> Self::ReceiveCommandsStream;
    report_command: ReportCommandRequest -> v1::ReportCommandResponse;
});
