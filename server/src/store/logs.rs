//! Logs as whole things: all of them, and another identity for one.
//!
//! Believe this: a log that gets another epoch keeps its events and their links. Where its chain begins is written down first, because
//! it can no longer be told from the epoch.

use bellboard_core::offset::{Epoch, LogKey};
use bellboard_core::store::{Error, LogRow};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::entity::log;
use super::rows::lists;
use super::sql::log_row;
use super::{error, writers};

/// All of them.
pub(super) async fn all(connection: &impl ConnectionTrait) -> Result<Vec<LogRow>, Error> {
    let models = log::Entity::find().order_by_asc(log::Column::Key).all(connection).await;
    models.map_err(error::of)?.into_iter().map(log_row).collect()
}

/// The rows of some of them.
pub(super) async fn rows(connection: &impl ConnectionTrait, keys: &[LogKey]) -> Result<Vec<LogRow>, Error> {
    let keys: Vec<i64> = keys.iter().map(|key| i64::from(key.0)).collect();
    let mut found = Vec::with_capacity(keys.len());
    for list in lists(&keys) {
        let models = log::Entity::find()
            .filter(log::Column::Key.is_in(list))
            .all(connection)
            .await;
        for model in models.map_err(error::of)? {
            found.push(log_row(model)?);
        }
    }
    Ok(found)
}

/// The row of one of them.
pub(super) async fn row(connection: &impl ConnectionTrait, key: LogKey) -> Result<LogRow, Error> {
    let found = log::Entity::find_by_id(i64::from(key.0)).one(connection).await;
    let row = found.map_err(error::of)?;
    log_row(row.ok_or_else(|| error::corrupt(format!("there is no log {}", key.0)))?)
}

/// Within a transaction.
pub(super) async fn renew_epoch(
    connection: &impl ConnectionTrait,
    key: LogKey,
    epoch: Epoch,
    fence: u64,
) -> Result<(), Error> {
    let row = row(connection, key).await?;
    log::Entity::update_many()
        .col_expr(log::Column::Epoch, Expr::val(epoch.0.cast_signed()))
        .col_expr(log::Column::BaseLink, Expr::val(row.base.0.cast_signed()))
        .col_expr(log::Column::Fence, Expr::val(fence.cast_signed()))
        .filter(log::Column::Key.eq(i64::from(key.0)))
        .exec(connection)
        .await
        .map_err(error::of)?;
    writers::forget_lost(connection, key).await
}
