use std::sync::Mutex;

use bellboard_core::access::{Scope, Scopes};
use bellboard_core::clock::Manual;
use bellboard_core::id::{PrincipalId, TenantId};
use futures_util::FutureExt as _;

use super::*;
use crate::auth::key::{Key, generate};
use crate::tasks::Tasks;

/// A store's keys, and how often they were read.
#[derive(Default)]
struct Table {
    keys: Mutex<Vec<Known>>,
    reads: AtomicU32,
}

impl Table {
    fn add(&self, expire_time: Option<Time>) -> Key {
        let key = generate().unwrap();
        let principal = Principal {
            tenant: TenantId::parse("default").unwrap(),
            id: PrincipalId::parse("ada").unwrap(),
            scopes: Scopes::from_iter([Scope::Read]),
        };
        self.keys.lock().unwrap().push(Known {
            id: key.id.clone(),
            hash: key.hash,
            principal,
            expire_time,
        });
        key
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Known>)) {
        change(&mut self.keys.lock().unwrap());
    }
}

#[async_trait]
impl Source for Table {
    async fn keys(&self) -> Result<Vec<Known>, store::Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(self.keys.lock().unwrap().clone())
    }
}

fn closing(credential: &Credential) -> Option<ClosingReason> {
    match *credential.standing.borrow() {
        Standing::Ended(reason) => Some(reason),
        Standing::Good | Standing::Expiring(_) => None,
    }
}

#[tokio::test]
async fn a_key_that_was_just_made_works_at_once() {
    let clock = Manual::starting_at(Time(0));
    let (keys, table) = (Keys::new(clock), Arc::new(Table::default()));
    let mut tasks = Tasks::default();
    tasks.spawn("keys", keys.clone().refresh(table.clone()));
    let key = table.add(None);
    let credential = keys.find(&key.text).await.unwrap();
    assert_eq!(credential.key_id, key.id);
    assert!(credential.principal.may(Scope::Read).is_ok());
    assert_eq!(closing(&credential), None);
}

#[tokio::test]
async fn who_tries_keys_costs_a_bounded_number_of_reads() {
    let clock = Manual::starting_at(Time(0));
    let (keys, table) = (Keys::new(clock), Arc::new(Table::default()));
    let mut tasks = Tasks::default();
    tasks.spawn("keys", keys.clone().refresh(table.clone()));
    for _ in 0..100 {
        assert_eq!(
            keys.find(&generate().unwrap().text).await.unwrap_err(),
            Refusal::Invalid
        );
        assert_eq!(keys.find("open sesame").await.unwrap_err(), Refusal::Invalid);
    }
    assert_eq!(table.reads.load(Ordering::SeqCst), REFRESHES_ON_DEMAND_MAX);
}

#[tokio::test]
async fn a_revoked_key_ends_its_streams_and_opens_no_more() {
    let clock = Manual::starting_at(Time(0));
    let (keys, table) = (Keys::new(clock), Table::default());
    let (gone, stays) = (table.add(None), table.add(None));
    keys.load(&table).await.unwrap();
    let first = keys.find(&gone.text).await.unwrap();
    let second = keys.find(&stays.text).await.unwrap();
    table.change(|known| known.retain(|known| known.id != gone.id));
    keys.load(&table).await.unwrap();
    assert_eq!(closing(&first), Some(ClosingReason::PermissionRevoked));
    assert_eq!(closing(&second), None);
    assert!(keys.look_up(&gone.hash).is_none());
    assert!(Arc::ptr_eq(&second, &keys.find(&stays.text).await.unwrap()));
}

#[tokio::test]
async fn a_key_that_allows_less_than_before_ends_its_streams_and_opens_new_ones() {
    let (keys, table) = (Keys::new(Manual::starting_at(Time(0))), Table::default());
    let key = table.add(None);
    keys.load(&table).await.unwrap();
    let before = keys.find(&key.text).await.unwrap();
    table.change(|known| known[0].principal.scopes = Scopes::NONE);
    keys.load(&table).await.unwrap();
    assert_eq!(closing(&before), Some(ClosingReason::PermissionRevoked));
    let after = keys.find(&key.text).await.unwrap();
    assert!(after.principal.may(Scope::Read).is_err());
    assert_eq!(closing(&after), None);
}

#[tokio::test]
async fn a_key_expires_in_time_without_the_store() {
    let clock = Manual::starting_at(Time(0));
    let (keys, table) = (Keys::new(clock.clone()), Table::default());
    let key = table.add(Some(Time(700_000)));
    keys.load(&table).await.unwrap();
    let credential = keys.find(&key.text).await.unwrap();
    let mut expiring = Box::pin(keys.expire_forever());
    for (by_ms, expected) in [
        (0, None),
        (500, None),
        (199, None),
        (1, Some(ClosingReason::CredentialExpired)),
    ] {
        clock.advance(Duration::from_millis(by_ms));
        assert!((&mut expiring).now_or_never().is_none());
        assert_eq!(closing(&credential), expected, "after {by_ms} ms more");
    }
    let refused = Err(Refusal::Expired(Time(700_000)));
    assert_eq!(keys.find(&key.text).await.map(drop), refused);
    clock.jump(-700_000);
    assert_eq!(
        keys.find(&key.text).await.map(drop),
        refused,
        "a wall clock set back revives nothing"
    );
}

#[tokio::test]
async fn what_other_processes_change_is_seen_within_one_interval() {
    let clock = Manual::starting_at(Time(0));
    let (keys, table) = (Keys::new(clock.clone()), Arc::new(Table::default()));
    let key = table.add(None);
    keys.load(&*table).await.unwrap();
    let credential = keys.find(&key.text).await.unwrap();
    let mut refreshing = Box::pin(keys.clone().refresh(table.clone()));
    assert!((&mut refreshing).now_or_never().is_none());
    table.change(Vec::clear);
    clock.advance(REFRESH_INTERVAL);
    assert!((&mut refreshing).now_or_never().is_none());
    assert_eq!(closing(&credential), Some(ClosingReason::PermissionRevoked));
}

#[tokio::test]
async fn an_expiry_is_announced_a_minute_before_or_at_once_where_it_is_nearer() {
    let clock = Manual::starting_at(Time(0));
    let (keys, table) = (Keys::new(clock.clone()), Table::default());
    let late = Time(0).plus(limits::EXPIRY_WARNING * 2);
    let (near, far) = (table.add(Some(Time(9))), table.add(Some(late)));
    keys.load(&table).await.unwrap();
    let near = keys.find(&near.text).await.unwrap();
    assert_eq!(*near.standing.borrow(), Standing::Expiring(Time(9)));
    let far = keys.find(&far.text).await.unwrap();
    let mut looking = Box::pin(keys.expire_forever());
    let mut after = async |wait: Duration| {
        clock.advance(wait);
        assert!((&mut looking).now_or_never().is_none());
        *far.standing.borrow()
    };
    assert_eq!(after(limits::EXPIRY_WARNING - REFRESH_INTERVAL).await, Standing::Good);
    assert_eq!(after(REFRESH_INTERVAL).await, Standing::Expiring(late));
    let ended = Standing::Ended(ClosingReason::CredentialExpired);
    assert_eq!(after(limits::EXPIRY_WARNING).await, ended);
}

#[tokio::test]
async fn a_renewed_key_keeps_its_streams_and_one_that_has_expired_does_not_come_back_to_life() {
    let clock = Manual::starting_at(Time(0));
    let (keys, table) = (Keys::new(clock.clone()), Table::default());
    let key = table.add(Some(Time(9)));
    keys.load(&table).await.unwrap();
    let first = keys.find(&key.text).await.unwrap();
    assert_eq!(*first.standing.borrow(), Standing::Expiring(Time(9)));
    let late = Time(0).plus(limits::EXPIRY_WARNING * 2);
    table.change(|known| known[0].expire_time = Some(late));
    keys.load(&table).await.unwrap();
    assert_eq!(*first.standing.borrow(), Standing::Good, "the streams go on");
    assert_eq!(keys.find(&key.text).await.unwrap().expire_time, Some(late));
    clock.advance(limits::EXPIRY_WARNING * 2);
    keys.look_at_all();
    let ended = Standing::Ended(ClosingReason::CredentialExpired);
    assert_eq!(*first.standing.borrow(), ended);
    table.change(|known| known[0].expire_time = None);
    keys.load(&table).await.unwrap();
    assert_eq!(*first.standing.borrow(), ended, "what ended stays ended");
    let second = keys.find(&key.text).await.unwrap();
    assert_eq!(*second.standing.borrow(), Standing::Good, "and new streams open");
}
