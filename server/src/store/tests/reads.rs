//! What reading costs.

use std::sync::Arc;

use bellboard_core::event::{Families, Family, Kind};
use bellboard_core::id::SessionId;
use bellboard_core::interest::{Detail, Interest, Interests, Selector};
use bellboard_core::offset::Offset;
use bellboard_core::store::suite::Chain;
use bellboard_core::store::{Read, Store};
use sea_orm::sea_query::SelectStatement;
use sea_orm::{ConnectionTrait, DatabaseConnection};

use super::super::place::{Direction, Range};
use super::super::read::rows_of;
use super::super::stood::Moves;
use super::super::wanted::wanted;
use super::fresh;

#[tokio::test]
async fn an_unwanted_crowd_does_not_shorten_what_is_looked_at() {
    let (_directory, store) = fresh().await;
    let store: Arc<dyn Store> = store;
    let mut chain = Chain::on(&store, "t").await;
    for (session, events) in [("a", 20), ("b", 20), ("a", 20)] {
        (0..events).for_each(|_| {
            chain.event(session, Kind(70));
        });
    }
    chain.commit().await;
    let of = |id: &str, detail| Interest::new(Selector::Session(SessionId::parse(id).unwrap()), detail);
    let interests = Interests::new(vec![of("a", Detail::Summary), of("b", Detail::Content)]).unwrap();
    let read = Read {
        log: &chain.log,
        interests: &interests,
        from: Offset(0),
        until: chain.log.tail,
        events_max: 100,
        bytes_max: 1 << 20,
        scan_max: 16,
    };
    let forward = store.read(read.clone()).await.unwrap();
    assert_eq!((forward.events.len(), forward.until), (0, Offset(16)));
    let back = store.read_back(read).await.unwrap();
    assert_eq!((back.events.len(), back.until), (0, Offset(60 - 16)));
}

/// How the database goes about a statement.
async fn plan(connection: &DatabaseConnection, select: &SelectStatement) -> String {
    let mut statement = connection.get_database_backend().build(select);
    statement.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
    let rows = connection.query_all_raw(statement).await.unwrap();
    let details = rows.iter().map(|row| row.try_get_by_index::<String>(3).unwrap());
    details.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn no_read_passes_more_of_the_log_than_it_was_told_to() {
    let (_directory, store) = fresh().await;
    let sqlite: Arc<dyn Store> = store.clone();
    let mut chain = Chain::on(&sqlite, "t").await;
    chain.event("a", Kind(20));
    chain.event("b", Kind(20));
    chain.moves("a", Some("/p"), Some(&["b"]));
    chain.event("a", Kind(20));
    chain.commit().await;
    let [_, readers] = store.connections();
    let id = |text| SessionId::parse(text).unwrap();
    let asks = Families::NONE.with(Family::Ask);
    for (selectors, by) in [
        (
            vec![Selector::Project("/p".into()), Selector::Vendor("v".into())],
            "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            vec![Selector::Subtree(id("a"))],
            "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            vec![Selector::Session(id("a")), Selector::All],
            "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            vec![Selector::Session(id("a")), Selector::Session(id("b"))],
            "INDEX events_by_session (session=? AND rowid>? AND rowid<?)",
        ),
    ] {
        let interests = selectors.into_iter().map(|selector| Interest {
            families: asks,
            ..Interest::new(selector, Detail::Content)
        });
        let interests = Interests::new(interests.collect()).unwrap();
        // Whoever was met stood where it stands from offset 3 on, and not before.
        for (from, moves) in [(Offset(0), Moves::Some), (Offset(3), Moves::None)] {
            let range = Range {
                log: chain.log.key,
                from,
                until: Offset(4),
            };
            let (wanted, met) = wanted(readers, &interests, range).await.unwrap();
            assert_eq!(met, moves);
            let select = rows_of(&wanted, range, Direction::Forward, 9).unwrap();
            let plan = plan(readers, &select).await;
            assert!(plan.contains(by), "{plan}");
            assert!(!plan.contains("SCAN") || plan.contains("SCAN each"), "{plan}");
            assert!(
                moves == Moves::None || by.contains("INDEX") || plan.contains("stood"),
                "{plan}"
            );
        }
    }
}
