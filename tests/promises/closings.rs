//! Every polite end of a stream says why, and leaves a place that is good. What takes long (MAX_AGE) is proven beside the server, where
//! time can be moved; COMPLETE stands with what is live.

use std::collections::BTreeSet;
use std::time::Duration;

use bellboard_proto::v1::{self, Answer, ClosingReason, ErrorReason, subscribe_response::Frame};
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, from_now, on, resume, text};
use bellboard_tests::metrics::SHOWN;
use bellboard_tests::process::{DataDir, key, revoke};
use bellboard_tests::stream::Frames;
use bellboard_tests::within;
use tonic::{Code, Status};

use crate::live::Publisher;
use crate::reset::reason;

fn wanted() -> Vec<v1::Interest> {
    vec![all(v1::Detail::Content)]
}

async fn follow(client: &Client) -> (Frames, String) {
    let mut stream = client.subscribe(from_now(wanted())).await;
    let id = stream.subscribed().await.subscription_id;
    stream.caught_up().await;
    (stream, id)
}

async fn closing(stream: &mut Frames) -> v1::Closing {
    let closing = |frame: &Frame| match frame {
        Frame::Closing(closing) => Some(*closing),
        _ => None,
    };
    stream.until("closing", closing).await
}

async fn refresh(client: &Client, id: &str) -> Result<v1::RefreshCredentialResponse, Status> {
    let mut client = client.streams.clone();
    let subscription_id = id.to_owned();
    let request = v1::RefreshCredentialRequest { subscription_id };
    let answer = within("the answer to RefreshCredential", client.refresh_credential(request));
    answer.await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn draining_spreads_the_return_of_its_streams() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(follow(&client).await.0);
    }
    let ending = tokio::spawn(hub.terminate());
    let mut advice = BTreeSet::new();
    for stream in &mut streams {
        let closing = closing(stream).await;
        assert_eq!(closing.reason(), ClosingReason::Draining);
        let after = closing.retry_after.expect("advice when to come back");
        advice.insert(Duration::try_from(after).unwrap());
        assert_eq!(stream.try_next().await.expect("a good end"), None);
    }
    let (soonest, latest) = (*advice.first().unwrap(), *advice.last().unwrap());
    assert!(soonest >= Duration::from_millis(100) && latest <= Duration::from_secs(2));
    assert!(advice.len() >= 15, "all would return at once: {advice:?}");
    drop((streams, client));
    assert!(ending.await.unwrap().success());
}

#[tokio::test]
async fn a_revoked_key_ends_all_that_it_opened_and_nothing_of_its_principals_other_key() {
    let data = DataDir::new();
    let hub = data.start_with(&SHOWN).await;
    let flags = ["--principal", "ada", "--scope", "read,publish"];
    let (first, second) = (key(&data, &flags).await, key(&data, &flags).await);
    let (a, b) = (
        Client::new(&hub.url, Some(&first)),
        Client::new(&hub.url, Some(&second)),
    );
    let ((mut revoked, _), (mut kept, _)) = (follow(&a).await, follow(&b).await);
    let mut writer = Publisher::open(&a, "w").await;
    writer.append(on("s").says("acknowledged")).await;
    assert_eq!(text(&revoked.events(2).await[1]), "acknowledged");
    revoke(&data, &first).await;
    assert_eq!(closing(&mut revoked).await.reason(), ClosingReason::PermissionRevoked);
    let end = revoked.try_next().await.expect_err("an error after the closing");
    assert_eq!(end.code(), Code::PermissionDenied);
    let end = writer.ended().await;
    assert_eq!(end, (Some(ClosingReason::PermissionRevoked), Code::PermissionDenied));
    let refused = a.try_subscribe(resume(&revoked.token, wanted())).await;
    assert_eq!(refused.expect_err("a revoked key").code(), Code::Unauthenticated);

    b.say("t", "goes on").await;
    let heard: Vec<String> = kept.events(4).await.iter().map(text).collect();
    assert_eq!(heard, ["", "acknowledged", "", "goes on"]);
    // The place was the principal's, not the key's.
    let mut again = b.subscribe(resume(&revoked.token, wanted())).await;
    assert_eq!(again.subscribed().await.answer(), Answer::Resumed);
    assert_eq!(text(&again.caught_up().await[1]), "goes on");
    let metrics = hub.metrics().await;
    assert_eq!(metrics.get("closings_total{reason=\"permission_revoked\"}"), 1.0);
}

#[tokio::test]
async fn a_stream_lives_with_the_newest_credential_that_it_was_given() {
    let data = DataDir::new();
    let hub = data.start().await;
    let (first, second) = (
        key(&data, &["--principal", "ada"]).await,
        key(&data, &["--principal", "ada", "--expires", "1h"]).await,
    );
    let (a, b) = (
        Client::new(&hub.url, Some(&first)),
        Client::new(&hub.url, Some(&second)),
    );
    let (mut stream, id) = follow(&a).await;
    let told = refresh(&b, &id).await.expect("another key of the same principal");
    assert!(told.expire_time.is_some(), "it says how long that is good for");
    revoke(&data, &first).await;
    within("the first key to be refused", async {
        while a.try_subscribe(from_now(wanted())).await.is_ok() {}
    })
    .await;
    hub.client().say("s", "still there").await;
    assert_eq!(text(&stream.events(2).await[1]), "still there");
    revoke(&data, &second).await;
    assert_eq!(closing(&mut stream).await.reason(), ClosingReason::PermissionRevoked);
}

#[tokio::test]
async fn a_stream_is_refreshed_by_its_own_principal_only_and_others_learn_nothing() {
    let data = DataDir::new();
    let hub = data.start().await;
    let ben = key(&data, &["--principal", "ben"]).await;
    let elsewhere = key(&data, &["--principal", "local", "--tenant", "elsewhere"]).await;
    let (mut stream, id) = follow(&hub.client()).await;
    let (ended, ended_id) = follow(&hub.client()).await;
    drop(ended);
    within("the other stream to be gone", async {
        while refresh(&hub.client(), &ended_id).await.is_ok() {}
    })
    .await;
    let mut answers = Vec::new();
    for (client, id) in [
        (Client::new(&hub.url, Some(&ben)), id.as_str()),
        (Client::new(&hub.url, Some(&elsewhere)), &id),
        (hub.client(), &ended_id),
        (hub.client(), "nonsense"),
        (hub.client(), ""),
        (hub.client(), &id.to_uppercase()),
    ] {
        let refused = refresh(&client, id).await.expect_err(id);
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::NotFound, ErrorReason::SubscriptionNotFound)
        );
        answers.push((refused.message().to_owned(), refused.details().to_vec()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all");
    refresh(&hub.client(), &id).await.expect("its own");
    hub.client().say("s", "untouched").await;
    assert_eq!(text(&stream.events(2).await[1]), "untouched");
}

#[tokio::test]
async fn an_expiry_is_announced_and_ends_who_does_not_refresh() {
    let data = DataDir::new();
    let hub = data.start().await;
    let short = key(&data, &["--principal", "ada", "--expires", "2s"]).await;
    let long = key(&data, &["--principal", "ada"]).await;
    let (short, long) = (Client::new(&hub.url, Some(&short)), Client::new(&hub.url, Some(&long)));
    let expiring = |frame: &Frame| match frame {
        Frame::CredentialExpiring(expiring) => expiring.expire_time,
        _ => None,
    };
    let (mut ends, mut stays) = (
        short.subscribe(from_now(wanted())).await,
        short.subscribe(from_now(wanted())).await,
    );
    let id = stays.subscribed().await.subscription_id;
    for stream in [&mut ends, &mut stays] {
        stream.until("the announcement", expiring).await;
    }
    refresh(&long, &id).await.expect("a key of the same principal");
    assert_eq!(closing(&mut ends).await.reason(), ClosingReason::CredentialExpired);
    let end = ends.try_next().await.expect_err("an error after the closing");
    assert_eq!(
        (end.code(), reason(&end)),
        (Code::Unauthenticated, ErrorReason::CredentialExpired)
    );
    let refused = short.try_subscribe(resume(&ends.token, wanted())).await;
    let refused = refused.expect_err("an expired key");
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::Unauthenticated, ErrorReason::CredentialExpired)
    );
    hub.client().say("s", "renewed in place").await;
    assert_eq!(text(&stays.events(2).await[1]), "renewed in place");
    let mut again = long.subscribe(resume(&ends.token, wanted())).await;
    assert_eq!(again.subscribed().await.answer(), Answer::Resumed);
    assert_eq!(text(&again.caught_up().await[1]), "renewed in place");
}
