//! Whose is what: sessions, projects, tenants.

use bellboard_proto::v1::{self, Answer};
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, from_now, from_start, on, on_key, project, session, subtree, text};
use bellboard_tests::process::{DataDir, Process, cli};

/// A client of another principal, of any tenant of the same hub.
pub(crate) async fn stranger(data: &DataDir, hub: &Process, tenant: &str) -> Client {
    let args = [
        "key",
        "create",
        "--principal",
        "somebody",
        "--tenant",
        tenant,
        "--scope",
        "read,publish",
    ];
    let printed = cli(data, &args).await;
    let key = printed
        .split_whitespace()
        .find(|word| word.starts_with("bbk_"))
        .expect("the new key is printed")
        .to_owned();
    Client::new(&hub.url, Some(&key))
}

#[tokio::test]
async fn c_23_what_has_no_owner_is_not_given_to_whoever_asks_first() {
    let data = DataDir::new();
    let hub = data.start().await;
    hub.client().say("s", "the local tenant's").await;
    let stranger = stranger(&data, &hub, "elsewhere").await;
    let mut stream = stranger.subscribe(from_start(vec![all(v1::Detail::Content)])).await;
    let subscribed = stream.subscribed().await;
    assert_eq!(
        (subscribed.from, subscribed.tail),
        (0, 0),
        "not even the length of another's log shows"
    );
    assert_eq!(stream.caught_up().await, vec![]);
    let missing = v1::GetSessionRequest {
        session: Some(bellboard_tests::events::by_id("s")),
    };
    let theirs = stranger
        .events
        .clone()
        .get_session(missing)
        .await
        .expect_err("another tenant's session");
    let none = v1::GetSessionRequest {
        session: Some(bellboard_tests::events::by_id("t")),
    };
    let nobodys = stranger
        .events
        .clone()
        .get_session(none)
        .await
        .expect_err("nobody's session");
    assert_eq!(theirs.code(), nobodys.code());
    assert_eq!(
        theirs.message().replace("\"s\"", ""),
        nobodys.message().replace("\"t\"", ""),
        "the same answer for both"
    );

    let mut mine = hub.client().subscribe(from_start(vec![all(v1::Detail::Content)])).await;
    mine.caught_up().await;
    let token = mine.token.clone();
    let refused = stranger
        .try_subscribe(bellboard_tests::events::resume(&token, vec![all(v1::Detail::Content)]))
        .await;
    let refused = refused.expect_err("another tenant's resume token");
    assert_eq!(crate::reset::reason(&refused), v1::ErrorReason::ResumeTokenInvalid);
    assert_eq!(stranger.say("s", "same id, other tenant").await, 1);
}

#[tokio::test]
async fn c_25_a_path_is_one_project_however_it_is_spelled() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    // The same folder as macOS and as Linux spell it, with and without a slash at the end.
    let (decomposed, composed) = ("/home/u/Gru\u{308}n/", "/home/u/Gr\u{fc}n");
    client
        .append(vec![on_key("opencode", decomposed, "ses_1").says("a")])
        .await;
    client
        .append(vec![on_key("opencode", composed, "ses_1").says("b")])
        .await;
    let mut stream = client
        .subscribe(from_start(vec![project(decomposed, v1::Detail::Content)]))
        .await;
    let events = stream.caught_up().await;
    assert_eq!(
        events.iter().map(text).collect::<Vec<_>>(),
        ["", "a", "b"],
        "one session, one project"
    );
    let list = v1::ListSessionsRequest {
        project: composed.into(),
        ..v1::ListSessionsRequest::default()
    };
    let sessions = client
        .events
        .clone()
        .list_sessions(list)
        .await
        .unwrap()
        .into_inner()
        .sessions;
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].key.as_ref().unwrap().project, composed);
}

#[tokio::test]
async fn c_7_the_same_native_id_of_two_vendors_or_projects_is_two_sessions() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client
        .append(vec![
            on_key("opencode", "/p", "1").says("a"),
            on_key("codex", "/p", "1").says("b"),
            on_key("opencode", "/q", "1").says("c"),
        ])
        .await;
    let sessions = client
        .events
        .clone()
        .list_sessions(v1::ListSessionsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .sessions;
    assert_eq!(sessions.len(), 3);
}

#[tokio::test]
async fn p_25_what_does_not_exist_yet_is_delivered_once_it_does() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![
        session("later", v1::Detail::Content),
        project("/later", v1::Detail::Content),
    ];
    let mut stream = client.subscribe(from_now(wanted)).await;
    assert_eq!(stream.subscribed().await.answer(), Answer::Started);
    client
        .append(vec![
            on("later").says("a"),
            on_key("v", "/later", "1").says("b"),
            on("other").says("c"),
        ])
        .await;
    let texts: Vec<_> = stream.events(4).await.iter().map(text).collect();
    assert_eq!(texts, ["", "a", "", "b"]);
}

#[tokio::test]
async fn each_event_comes_once_at_the_highest_detail_that_any_interest_gives() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let wanted = vec![
        all(v1::Detail::Summary),
        session("s", v1::Detail::Content),
        subtree("root", v1::Detail::Content),
    ];
    let mut stream = client.subscribe(from_now(wanted)).await;
    stream.caught_up().await;
    client
        .append(vec![
            on("s").says("content"),
            on("quiet").says("not asked for"),
            on("child").opens_below("root"),
            on("grandchild").opens_below("child"),
            on("grandchild").says("deep"),
        ])
        .await;
    let events = stream.events(7).await;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.session_id.as_str(), text(event)))
        .collect();
    let opened = |session| (session, String::new());
    let expected = [
        opened("s"),
        ("s", "content".to_owned()),
        opened("quiet"),
        opened("root"),
        opened("child"),
        opened("grandchild"),
        ("grandchild", "deep".to_owned()),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_key_without_the_scope_is_told_so_before_it_is_told_anything_else() {
    let data = DataDir::new();
    let hub = data.start().await;
    let keyless = Client::new(&hub.url, None);
    let missing = keyless
        .try_subscribe(from_now(vec![all(v1::Detail::Content)]))
        .await
        .expect_err("no key");
    assert_eq!(crate::reset::reason(&missing), v1::ErrorReason::CredentialMissing);
    let wrong = Client::new(&hub.url, Some("bbk_nonsense"));
    let wrong = wrong
        .try_append(vec![on("s").says("x")])
        .await
        .expect_err("a wrong key");
    assert_eq!(crate::reset::reason(&wrong), v1::ErrorReason::CredentialInvalid);

    let printed = cli(&data, &["key", "create", "--principal", "reader", "--scope", "read"]).await;
    let key = printed
        .split_whitespace()
        .find(|word| word.starts_with("bbk_"))
        .expect("the key")
        .to_owned();
    hub.terminate().await;
    let hub = data.start().await;
    let reader = Client::new(&hub.url, Some(&key));
    let refused = reader
        .try_append(vec![on("s").says("x")])
        .await
        .expect_err("a key that may only read");
    assert_eq!(
        (refused.code(), crate::reset::reason(&refused)),
        (tonic::Code::PermissionDenied, v1::ErrorReason::ScopeMissing)
    );
    reader
        .subscribe(from_now(vec![all(v1::Detail::Content)]))
        .await
        .subscribed()
        .await;
}

#[tokio::test]
async fn k_21_a_revoked_key_ends_its_streams_and_its_places() {
    let data = DataDir::new();
    let hub = data.start().await;
    let stranger = stranger(&data, &hub, "default").await;
    let mut stream = stranger.subscribe(from_now(vec![all(v1::Detail::Content)])).await;
    stream.caught_up().await;
    let listed = cli(&data, &["key", "list"]).await;
    let line = listed
        .lines()
        .find(|line| line.contains("somebody"))
        .expect("the key is listed");
    let id = line.split_whitespace().next().expect("its id");
    cli(&data, &["key", "revoke", id]).await;
    let closing = stream.until("closing", |frame| match frame {
        v1::subscribe_response::Frame::Closing(closing) => Some(closing.reason()),
        _ => None,
    });
    assert_eq!(closing.await, v1::ClosingReason::PermissionRevoked);
    let end = stream.try_next().await.expect_err("an error after the closing");
    assert_eq!(end.code(), tonic::Code::PermissionDenied);
    let token = stream.token.clone();
    let refused = stranger
        .try_subscribe(bellboard_tests::events::resume(&token, vec![all(v1::Detail::Content)]))
        .await;
    assert_eq!(refused.expect_err("a revoked key").code(), tonic::Code::Unauthenticated);
}
