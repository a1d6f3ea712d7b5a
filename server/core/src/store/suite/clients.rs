//! Promises on clients and the numbers of their streams.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use tokio::task::JoinSet;

use super::Subject;
use super::chain::tenant_id;
use crate::client::{ClientKey, Incarnation};
use crate::id::{ClientId, PrincipalId};
use crate::limits;
use crate::offset::LogKey;
use crate::store::Store;

fn client(log: LogKey, principal: &str, id: &str) -> ClientKey {
    ClientKey {
        log,
        principal: PrincipalId::parse(principal).unwrap(),
        id: ClientId::parse(id).unwrap(),
    }
}

async fn log(subject: &Subject, tenant: &str) -> LogKey {
    subject.store.open_log(&tenant_id(tenant)).await.unwrap().key
}

/// The newest numbers above one, a few at a time.
async fn above(store: &dyn Store, mut after: Incarnation) -> Vec<(ClientKey, Incarnation)> {
    let mut all = Vec::new();
    loop {
        let page = store.incarnations(after, 2).await.unwrap();
        let Some((_, last)) = page.last() else { return all };
        assert!(page.len() <= 2 && *last > after);
        after = *last;
        all.extend(page);
    }
}

pub async fn every_stream_of_a_client_gets_a_higher_number(subject: Subject) {
    let store = &subject.store;
    let (one, other) = (log(&subject, "t").await, log(&subject, "u").await);
    assert_eq!(store.newest_incarnation().await.unwrap(), Incarnation(0));
    // The same name of another tenant, of another principal and of the same one: three clients.
    let clients = [
        client(one, "ada", "tab"),
        client(other, "ada", "tab"),
        client(one, "bob", "tab"),
    ];
    let first = store.take_incarnations(&clients).await.unwrap();
    assert!(
        first[0] > Incarnation(0) && first.is_sorted() && first.len() == 3,
        "{first:?}"
    );
    let twice = [clients[1].clone(), clients[1].clone()];
    let second = store.take_incarnations(&twice).await.unwrap();
    assert!(second[0] > first[2] && second[1] > second[0], "{second:?}");
    assert_eq!(store.newest_incarnation().await.unwrap(), second[1]);
    let [a, b, c] = clients;
    assert_eq!(
        above(&**store, Incarnation(0)).await,
        [(a, first[0]), (c, first[2]), (b, second[1])],
        "each with its newest"
    );
    assert_eq!(above(&**store, second[0]).await.len(), 1);
    assert_eq!(store.take_incarnations(&[]).await.unwrap(), []);
}

pub async fn who_take_numbers_at_once_get_different_ones(subject: Subject) {
    let log = log(&subject, "t").await;
    let mut taking = JoinSet::new();
    for _ in 0..8 {
        let store = subject.store.clone();
        taking.spawn(async move { store.take_incarnations(&[client(log, "ada", "tab")]).await.unwrap()[0] });
    }
    let mut taken = taking.join_all().await;
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 8);
    let kept = above(&*subject.store, Incarnation(0)).await;
    assert_eq!(kept, [(client(log, "ada", "tab"), taken[7])], "the highest stays");
}

pub async fn a_forgotten_client_comes_back_with_a_higher_number(subject: Subject) {
    let store = &subject.store;
    let log = log(&subject, "t").await;
    let others = store.take_incarnations(&[client(log, "bob", "tab")]).await.unwrap();
    let oldest = store.take_incarnations(&[client(log, "ada", "oldest")]).await.unwrap();
    let many: Vec<_> = (0..limits::CLIENTS_PER_PRINCIPAL_MAX)
        .map(|n| client(log, "ada", &format!("c{n}")))
        .collect();
    let taken = store.take_incarnations(&many).await.unwrap();
    let kept = store.incarnations(Incarnation(0), 10 * many.len()).await.unwrap();
    assert_eq!(kept.len(), many.len() + 1, "bob's, and the newest of ada's");
    assert_eq!(kept[0], (client(log, "bob", "tab"), others[0]));
    assert_eq!(kept[1], (client(log, "ada", "c0"), taken[0]));
    let again = store.take_incarnations(&[client(log, "ada", "oldest")]).await.unwrap();
    assert!(again[0] > oldest[0] && again[0] > *taken.last().unwrap());
}
