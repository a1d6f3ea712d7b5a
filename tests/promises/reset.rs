//! A resume token that cannot be continued says why.

use bellboard_proto::v1::{self, Answer, ErrorReason, ResetReason, subscribe_response::Frame};
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, from_snapshot, from_start, on, resume, session};
use bellboard_tests::postgres::is_sqlites_own;
use bellboard_tests::process::DataDir;
use bellboard_tests::stream::Frames;
use prost::Message;
use tonic::{Code, Status};

/// A stream's resume token after it has caught up.
pub(crate) async fn token(client: &Client, wanted: &[v1::Interest]) -> String {
    let mut stream = client.subscribe(from_start(wanted.to_vec())).await;
    stream.caught_up().await;
    stream.token
}

/// Expects a reset for this reason, and a whole snapshot after it.
pub(crate) async fn expect_reset(mut stream: Frames, reason: ResetReason) {
    let subscribed = stream.subscribed().await;
    assert_eq!((subscribed.answer(), subscribed.reason()), (Answer::Reset, reason));
    let Frame::SnapshotBegin(begin) = stream.next().await else {
        panic!("no snapshot after the reset")
    };
    assert_eq!(
        (begin.reason(), begin.reset_reason()),
        (v1::SnapshotReason::Reset, reason)
    );
    stream
        .until("snapshot_end", |frame| {
            matches!(frame, Frame::SnapshotEnd(_)).then_some(())
        })
        .await;
    assert_eq!(stream.caught_up().await, vec![], "no partial replay");
}

/// The reason that a status carries.
pub(crate) fn reason(status: &Status) -> ErrorReason {
    use bellboard_proto::google::rpc;
    let details = rpc::Status::decode(status.details())
        .expect("the status has details")
        .details;
    let infos: Vec<_> = details
        .iter()
        .filter(|any| any.type_url.ends_with("google.rpc.ErrorInfo"))
        .collect();
    assert_eq!(infos.len(), 1, "exactly one ErrorInfo");
    let info = rpc::ErrorInfo::decode(infos[0].value.as_slice()).unwrap();
    assert_eq!(info.domain, bellboard_proto::ERROR_DOMAIN);
    bellboard_proto::reason_from_name(&info.reason).expect("a reason of the contract")
}

#[tokio::test]
async fn malformed_resume_tokens_are_all_refused_alike() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client.say("s", "0").await;
    let wanted = vec![all(v1::Detail::Content)];
    let good = token(&client, &wanted).await;
    let mut edited = good.clone().into_bytes();
    edited[40] = if edited[40] == b'A' { b'B' } else { b'A' };
    let edited = String::from_utf8(edited).unwrap();
    for bad in [
        "",
        "x",
        &good[..good.len() - 1],
        &edited,
        &format!("{good}="),
        &format!("{good} "),
        &"A".repeat(10_000),
    ] {
        let refused = client
            .try_subscribe(resume(bad, wanted.clone()))
            .await
            .expect_err("a malformed resume token");
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::InvalidArgument, ErrorReason::ResumeTokenInvalid),
            "{bad}"
        );
    }
    let mut still = client.subscribe(resume(&good, wanted)).await;
    assert_eq!(still.subscribed().await.answer(), Answer::Resumed);
}

#[tokio::test]
async fn p_9_another_log_under_the_same_keys_is_another_epoch() {
    let (data, recreated) = (DataDir::new(), DataDir::new());
    let hub = data.start().await;
    let wanted = vec![all(v1::Detail::Content)];
    hub.client().say("s", "0").await;
    let old = token(&hub.client(), &wanted).await;
    hub.terminate().await;

    // The log is recreated, as after a loss: same keys, so that the resume token itself is good, but another log.
    for file in std::fs::read_dir(data.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), recreated.path().join(file.file_name())).unwrap();
    }
    let hub = recreated.start().await;
    hub.client().say("s", "never mind").await;
    hub.terminate().await;
    bellboard_tests::database::forget_logs(recreated.path()).await;
    let hub = recreated.start().await;
    hub.client().say("s", "another past").await;
    expect_reset(
        hub.client().subscribe(resume(&old, wanted)).await,
        ResetReason::EpochChanged,
    )
    .await;
}

#[tokio::test]
async fn p_10_m_21_a_log_that_was_set_back_is_told_by_tail_and_by_link() {
    if is_sqlites_own("the log is set back by putting back a file") {
        return;
    }
    let (data, copy) = (DataDir::new(), DataDir::new());
    let wanted = vec![all(v1::Detail::Content)];
    let hub = data.start().await;
    hub.client().say("s", "shared").await;
    hub.terminate().await;
    for file in std::fs::read_dir(data.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let hub = data.start().await;
    hub.client()
        .append(vec![on("s").says("1"), on("s").says("2"), on("s").says("3")])
        .await;
    let ahead = token(&hub.client(), &wanted).await;
    hub.terminate().await;

    // A foreign restore: the folder's old copy is put in place by hand, so that not even the epoch changes.
    let hub = copy.start().await;
    let client = hub.client();
    expect_reset(
        client.subscribe(resume(&ahead, wanted.clone())).await,
        ResetReason::ResumeTokenAhead,
    )
    .await;
    client
        .append((0..9).map(|number| on("s").says(&format!("other {number}"))).collect())
        .await;
    expect_reset(
        client.subscribe(resume(&ahead, wanted)).await,
        ResetReason::HistoryChanged,
    )
    .await;
}

#[tokio::test]
async fn other_interests_and_an_unfinished_snapshot_are_reset() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client.say("s", "0").await;
    let wanted = vec![all(v1::Detail::Content)];
    let token = token(&client, &wanted).await;
    let other = vec![session("s", v1::Detail::Content)];
    expect_reset(
        client.subscribe(resume(&token, other)).await,
        ResetReason::InterestsChanged,
    )
    .await;

    let mut stream = client.subscribe(from_snapshot(wanted.clone())).await;
    stream
        .until("snapshot_page", |frame| {
            matches!(frame, Frame::SnapshotPage(_)).then_some(())
        })
        .await;
    let pending = stream.token.clone();
    expect_reset(
        client.subscribe(resume(&pending, wanted)).await,
        ResetReason::SnapshotIncomplete,
    )
    .await;
}

#[tokio::test]
async fn p_38_too_far_behind_is_a_snapshot_a_replay_or_an_error_as_asked() {
    let data = DataDir::new();
    let hub = data.start_with(&["--replay-limit", "10"]).await;
    let client = hub.client();
    client.say("s", "0").await;
    let wanted = vec![session("s", v1::Detail::Content)];
    let token = token(&client, &wanted).await;
    let noise = (0..30).map(|number| on("noise").says(&number.to_string())).collect();
    client.append(noise).await;
    let mut near = client.subscribe(resume(&token, wanted.clone())).await;
    assert_eq!(
        near.subscribed().await.answer(),
        Answer::Resumed,
        "only what matches counts"
    );
    client
        .append((0..11).map(|number| on("s").says(&format!("s{number}"))).collect())
        .await;

    expect_reset(
        client.subscribe(resume(&token, wanted.clone())).await,
        ResetReason::TooFarBehind,
    )
    .await;
    let fail = v1::SubscribeRequest {
        on_gap: v1::OnGap::Fail.into(),
        ..resume(&token, wanted.clone())
    };
    let refused = client.try_subscribe(fail).await.expect_err("on_gap FAIL");
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::OutOfRange, ErrorReason::TooFarBehind)
    );
    let replay = v1::SubscribeRequest {
        on_gap: v1::OnGap::Continue.into(),
        ..resume(&token, wanted.clone())
    };
    assert_eq!(client.subscribe(replay).await.caught_up().await.len(), 11);
    assert_eq!(
        client.subscribe(from_start(wanted)).await.caught_up().await.len(),
        13,
        "from_start replays all"
    );
}
