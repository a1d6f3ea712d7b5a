//! Single calls.

use bellboard_sdk::v1::{ErrorReason, GetSessionResponse, Session};
use bellboard_sdk::{Client, Error, Options, RetryPolicy, session_id};
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::frames::refusal;
use crate::hub::{Hub, Unary};

#[tokio::test]
async fn a_call_carries_the_key_and_is_repeated_after_what_may_pass() {
    let mut hub = Hub::start().await;
    let client = hub.client();
    let script = async {
        let Unary::GetSession(key, answer) = hub.unary().await else {
            panic!("another call");
        };
        assert_eq!(key.as_deref(), Some("Bearer bb_test"));
        answer.send(Err(Status::unavailable("restarting"))).unwrap();
        let Unary::GetSession(_, answer) = hub.unary().await else {
            panic!("another call");
        };
        let session = Session {
            session_id: "s".to_owned(),
            ..Session::default()
        };
        let response = GetSessionResponse { session: Some(session) };
        answer.send(Ok(response.encode_to_vec().into())).unwrap();
    };
    let ((), session) = tokio::join!(script, client.get_session(session_id("s")));
    assert_eq!(session.unwrap().session_id, "s");
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    let mut hub = Hub::start().await;
    let client = hub.client();
    let script = async {
        let Unary::GetSession(_, answer) = hub.unary().await else {
            panic!("another call");
        };
        answer
            .send(Err(refusal(Code::NotFound, ErrorReason::SessionNotFound)))
            .unwrap();
    };
    let ((), answer) = tokio::join!(script, client.get_session(session_id("s")));
    assert!(matches!(answer, Err(Error::Gone(_))));
}

#[tokio::test]
async fn a_hub_that_is_away_changed_nothing() {
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::connect(Options::at(address).with_retry(RetryPolicy::never())).unwrap();
    let error = client.get_session(session_id("s")).await.unwrap_err();
    assert!(matches!(error, Error::Retryable(_)), "{error:?}");
    assert!(error.has_no_side_effects());
}
