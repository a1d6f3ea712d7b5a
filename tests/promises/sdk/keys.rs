//! Keys and clients of an SDK that follows: renewed, replaced, revoked.

use bellboard_sdk::Error;
use bellboard_tests::process::cli;

use super::*;

/// Makes a key that may read, with these flags.
async fn reader(data: &DataDir, flags: &[&str]) -> String {
    let args = [&["key", "create", "--principal", "reader", "--scope", "read"], flags].concat();
    let printed = cli(data, &args).await;
    let key = printed.split_whitespace().find(|word| word.starts_with("bbk_"));
    key.expect("the new key is printed").to_owned()
}

fn client(hub: &Process, key: &str) -> Client {
    Client::connect(Options::at(&hub.url).with_key(key)).unwrap()
}

fn beating() -> SubscribeOptions {
    SubscribeOptions {
        heartbeat_interval: Some(Duration::from_secs(1)),
        ..SubscribeOptions::to([interest::all()])
    }
}

/// The stream's last word.
async fn end(stream: &mut Subscription) -> Error {
    loop {
        let told = within("the end of the stream", stream.next()).await.expect("an error");
        if let Err(error) = told {
            assert!(within("nothing more", stream.next()).await.is_none());
            return error;
        }
    }
}

#[tokio::test]
async fn a_stream_outlives_its_key_when_the_application_has_another() {
    let data = DataDir::new();
    let hub = data.start().await;
    let (short, long) = (reader(&data, &["--expires", "6s"]).await, reader(&data, &[]).await);
    let client = client(&hub, &short);
    let mut stream = client.subscribe(beating());
    // It is nearer than 60 s, and told at once.
    let expiring = loop {
        if let Frame::CredentialExpiring(expiring) = next(&mut stream).await {
            break expiring;
        }
    };
    client.use_key(&long).unwrap();
    let expire_time = expiring.expire_time.expect("when").seconds;
    // What is said after the expiry comes over the same stream.
    loop {
        let offset = hub.client().say("s", "tick").await;
        let said = loop {
            match next(&mut stream).await {
                Frame::Events(batch) => {
                    if let Some(event) = batch.events.into_iter().find(|event| event.offset == offset) {
                        break event;
                    }
                }
                Frame::Closing(closing) => panic!("the stream ended: {closing:?}"),
                _ => {}
            }
        };
        if said.recorded_time.expect("when it was stored").seconds > expire_time + 1 {
            break;
        }
        // A heartbeat is a second's wait.
        while !matches!(next(&mut stream).await, Frame::Heartbeat(_)) {}
    }
}

#[tokio::test]
async fn a_stream_whose_key_expires_ends_with_the_hubs_word() {
    let data = DataDir::new();
    let hub = data.start().await;
    let short = reader(&data, &["--expires", "4s"]).await;
    let mut stream = client(&hub, &short).subscribe(beating());
    let error = end(&mut stream).await;
    assert!(matches!(error, Error::Credential(_)), "{error}");
    assert_eq!(error.reason(), Some(v1::ErrorReason::CredentialExpired));
}

#[tokio::test]
async fn k_21_a_stream_whose_key_is_revoked_ends_and_its_place_is_worth_nothing() {
    let data = DataDir::new();
    let hub = data.start().await;
    let key = reader(&data, &[]).await;
    let mut stream = client(&hub, &key).subscribe(beating());
    assert!(matches!(next(&mut stream).await, Frame::Subscribed(_)));
    let listed = cli(&data, &["key", "list"]).await;
    let line = listed
        .lines()
        .find(|line| line.contains("reader"))
        .expect("the key is listed");
    cli(
        &data,
        &["key", "revoke", line.split_whitespace().next().expect("its id")],
    )
    .await;
    let error = end(&mut stream).await;
    assert!(matches!(error, Error::Permission(_)), "{error}");
    let place = Start::ResumeToken(stream.resume_token().expect("a place"));
    let mut again = client(&hub, &key).subscribe(beating().starting(place));
    let error = end(&mut again).await;
    assert!(matches!(error, Error::Credential(_)), "{error}");
}

#[tokio::test]
async fn k_3_a_client_that_comes_again_replaces_its_stream_and_no_other() {
    let data = DataDir::new();
    let hub = data.start().await;
    let window = |id: &str| connect(&hub.url, &hub).subscribe(beating().as_client(id));
    let (mut first, mut other) = (window("v1"), window("v2"));
    for stream in [&mut first, &mut other] {
        assert!(matches!(next(stream).await, Frame::Subscribed(_)));
    }
    let mut second = window("v1");
    assert!(matches!(next(&mut second).await, Frame::Subscribed(_)));
    let error = end(&mut first).await;
    assert!(matches!(error, Error::Replaced), "{error}");
    hub.client().say("s", "here").await;
    for stream in [&mut second, &mut other] {
        assert_eq!(texts(stream, 1).await, ["here"]);
    }
}
