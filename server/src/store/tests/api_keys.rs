//! What the keys' rows promise.

use bellboard_core::offset::Time;
use bellboard_core::store::{self, Store};

use super::super::{ApiKey, ApiKeys};
use super::{fresh, is_locked, tenant};

pub(super) fn api_key(id: &str) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        hash: id.as_bytes().to_vec(),
        tenant: "t".to_owned(),
        principal: "me".to_owned(),
        scopes: vec!["read".to_owned(), "publish".to_owned()],
        label: "laptop".to_owned(),
        created: Time(1),
        expires: Some(Time(2)),
        revoked: None,
    }
}

#[tokio::test]
async fn a_key_is_added_beside_a_running_server_and_seen_by_it() {
    let (directory, store) = fresh().await;
    let log = store.open_log(&tenant("t")).await.unwrap();
    let beside = ApiKeys::open(directory.path()).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    transaction.lock(log.key).await.unwrap();
    assert!(is_locked(&directory).await, "the server's transaction is open");
    let added = beside.insert(api_key("a"));
    let (added, committed) = futures_util::join!(added, transaction.commit());
    committed.unwrap();
    added.unwrap();
    assert_eq!(store.api_keys().all().await, Ok(vec![api_key("a")]));
}

#[tokio::test]
async fn keys_come_back_as_they_were_and_stay_revoked() {
    let (_directory, store) = fresh().await;
    let keys = store.api_keys();
    let everlasting = ApiKey {
        expires: None,
        scopes: vec![],
        label: String::new(),
        tenant: "other".to_owned(),
        created: Time(5),
        ..api_key("b")
    };
    keys.insert(everlasting.clone()).await.unwrap();
    keys.insert(api_key("a")).await.unwrap();
    assert_eq!(keys.all().await, Ok(vec![api_key("a"), everlasting.clone()]));
    assert_eq!(keys.list("other").await, Ok(vec![everlasting.clone()]));
    assert_eq!(keys.find("b").await, Ok(Some(everlasting.clone())));
    assert_eq!(keys.find_by_hash(b"b").await, Ok(Some(everlasting)));
    assert_eq!(keys.find("c").await, Ok(None));
    for wrong in [
        api_key("a"),
        ApiKey {
            id: "another".to_owned(),
            ..api_key("a")
        },
    ] {
        let answer = keys.insert(wrong).await;
        assert!(matches!(answer, Err(store::Error::Constraint(_))), "{answer:?}");
    }
    assert_eq!(keys.revoke("a", Time(7)).await, Ok(true));
    assert_eq!(keys.revoke("a", Time(8)).await, Ok(false), "it keeps its first time");
    assert_eq!(keys.revoke("none", Time(8)).await, Ok(false));
    assert_eq!(keys.find("a").await.unwrap().unwrap().revoked, Some(Time(7)));
}
