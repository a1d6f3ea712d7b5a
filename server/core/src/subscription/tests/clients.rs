//! Of the streams of a client the newest lives, whichever node it is at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::client::{ClientKey, Incarnation};
use crate::id::ClientId;
use crate::limits;
use crate::store::Store;
use crate::subscription::clients::{Claim, Clients};
use crate::subscription::control::{Control, Mailbox};
use crate::testing::rig::Rig;
use crate::testing::{principal, within};

/// A node over the rig's store.
struct Node<'a> {
    rig: &'a Rig,
    clients: Arc<Clients>,
}

impl Node<'_> {
    async fn of(rig: &Rig) -> Node<'_> {
        let newest = rig.log.store().newest_incarnation().await.unwrap();
        Node {
            rig,
            clients: Clients::new(newest),
        }
    }

    fn key(&self, who: &str, id: &str) -> ClientKey {
        ClientKey {
            log: self.rig.log.row().key,
            principal: principal(who),
            id: ClientId::parse(id).unwrap(),
        }
    }

    async fn open(&self, who: &str, id: &str) -> (Claim, Arc<Mailbox>) {
        let mailbox = Arc::new(Mailbox::default());
        let taking = self
            .clients
            .take(self.rig.log.store(), self.key(who, id), mailbox.clone());
        (within(taking).await.unwrap(), mailbox)
    }

    async fn compare(&self) {
        within(self.clients.compare(self.rig.log.store())).await.unwrap();
    }
}

fn replaced(mailbox: &Mailbox) -> bool {
    match mailbox.take() {
        Some(Control::Replaced) => true,
        None => false,
        Some(other) => panic!("nothing else was said than {other:?}"),
    }
}

#[tokio::test]
async fn the_later_stream_replaces_the_earlier_and_no_other_client() {
    let rig = Rig::new().await;
    let node = Node::of(&rig).await;
    let (_other, other) = node.open("ada", "phone").await;
    let (_namesake, namesake) = node.open("bob", "tab").await;
    let (earlier, first) = node.open("ada", "tab").await;
    let (_later, second) = node.open("ada", "tab").await;
    assert!(replaced(&first));
    // Its late end touches nothing of its successor's: that one is still there to be replaced.
    drop(earlier);
    let (_last, third) = node.open("ada", "tab").await;
    assert!(replaced(&second));
    assert!(!replaced(&third) && !replaced(&other) && !replaced(&namesake) && !replaced(&first));
}

#[tokio::test]
async fn a_later_stream_at_another_node_replaces_the_earlier_once_it_is_looked() {
    let rig = Rig::new().await;
    let (here, there) = (Node::of(&rig).await, Node::of(&rig).await);
    let (_earlier, first) = here.open("ada", "tab").await;
    let (_beside, beside) = here.open("ada", "phone").await;
    let (_later, second) = there.open("ada", "tab").await;
    for node in [&here, &there] {
        node.compare().await;
    }
    assert!(replaced(&first) && !replaced(&second) && !replaced(&beside));
    // And back again: the lower number never wins, whoever looks.
    let (_last, third) = here.open("ada", "tab").await;
    for node in [&here, &there] {
        node.compare().await;
    }
    assert!(replaced(&second) && !replaced(&third) && !replaced(&first));
}

#[tokio::test]
async fn many_that_another_node_took_are_all_learnt() {
    let rig = Rig::new().await;
    let (here, there) = (Node::of(&rig).await, Node::of(&rig).await);
    let (_earlier, first) = here.open("ada", "tab").await;
    let others: Vec<_> = (0..limits::CLIENTS_READ_MAX)
        .map(|n| there.key("bob", &format!("c{n}")))
        .collect();
    rig.log.store().take_incarnations(&others).await.unwrap();
    let (_later, second) = there.open("ada", "tab").await;
    here.compare().await;
    assert!(replaced(&first) && !replaced(&second));
}

#[tokio::test]
async fn a_number_that_another_node_took_while_one_was_asked_for_is_not_overlooked() {
    let rig = Rig::new().await;
    let node = Node::of(&rig).await;
    let mailbox = Arc::new(Mailbox::default());
    let key = node.key("ada", "tab");
    // The number of this stream is given, and before it is heard of here a higher one is taken and learnt.
    let release = rig.watch.hold_takes();
    let mut taking = Box::pin(node.clients.take(rig.log.store(), key.clone(), mailbox.clone()));
    assert!(futures_util::poll!(&mut taking).is_pending());
    rig.memory.take_incarnations(&[key]).await.unwrap();
    node.compare().await;
    drop(release);
    let _claim = within(taking).await.unwrap();
    assert!(replaced(&mailbox));
}

#[tokio::test]
async fn those_that_come_at_once_are_numbered_at_once_and_nobody_waits_for_one_that_gives_up() {
    let rig = Rig::new().await;
    let node = Node::of(&rig).await;
    let mailbox = Arc::new(Mailbox::default());
    let take = |id: &str| node.clients.take(rig.log.store(), node.key("ada", id), mailbox.clone());
    let release = rig.watch.hold_takes();
    let mut leader = Box::pin(take("leader"));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let mut followers: Vec<_> = (0..20).map(|n| Box::pin(take(&format!("c{n}")))).collect();
    for follower in &mut followers {
        assert!(futures_util::poll!(follower).is_pending());
    }
    drop(leader);
    drop(release);
    let claims = within(futures_util::future::join_all(followers)).await;
    assert_eq!(claims.len(), 20);
    assert!(claims.iter().all(Result::is_ok));
    assert_eq!(
        rig.watch.takes.load(Ordering::Relaxed),
        2,
        "the one that was given up, and one for all"
    );
    drop(claims);
    assert!(node.clients.is_empty(), "nothing is kept for those that are gone");
}

#[tokio::test]
async fn where_no_number_is_to_be_had_nothing_is_kept() {
    let rig = Rig::new().await;
    let node = Node::of(&rig).await;
    let (_earlier, first) = node.open("ada", "tab").await;
    rig.watch.go_blind(1);
    let mailbox = Arc::new(Mailbox::default());
    let taking = node
        .clients
        .take(rig.log.store(), node.key("ada", "tab"), mailbox.clone());
    assert!(within(taking).await.is_err());
    assert!(!replaced(&first) && !replaced(&mailbox));
    let (later, _) = node.open("ada", "tab").await;
    assert!(replaced(&first));
    drop((later, _earlier));
    assert!(node.clients.is_empty());
    assert_ne!(rig.memory.newest_incarnation().await.unwrap(), Incarnation(0));
}
