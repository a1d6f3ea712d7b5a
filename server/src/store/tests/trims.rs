//! What only this store promises of trimming.

use std::sync::Arc;

use bellboard_core::event::{Kind, Raw};
use bellboard_core::store::Store;
use bellboard_core::store::suite::Chain;
use sea_orm::ConnectionTrait;

use super::super::migration::COUNT_BYTES;
use super::fresh;

#[tokio::test]
async fn a_log_that_was_there_before_is_counted_to_the_byte() {
    let (_directory, store) = fresh().await;
    let sqlite: Arc<dyn Store> = store.clone();
    let [mut one, mut two] = [Chain::on(&sqlite, "one").await, Chain::on(&sqlite, "two").await];
    for chain in [&mut one, &mut two] {
        chain.event("a", Kind(20));
        chain.event_of("a", Kind(70), "größer".as_bytes()).raw = Some(Raw {
            media_type: "text/plain; charset=\u{fc}".into(),
            content: b"\0\xff raw".as_slice().into(),
        });
        chain.commit().await;
    }
    let [writer, _] = store.connections();
    writer
        .execute_unprepared("UPDATE logs SET bytes = 77, oldest_recorded = 0")
        .await
        .unwrap();
    writer.execute_unprepared(COUNT_BYTES).await.unwrap();
    for chain in [&one, &two] {
        let row = sqlite.open_log(&chain.log.tenant).await.unwrap();
        assert_eq!((row.bytes, row.oldest_recorded.0), (chain.log.bytes, 0));
    }
}
