//! Clients and the numbers of their streams.
//!
//! Believe this: the counter's row is taken first, so numbers become visible in their order, and whoever has read up to one has missed
//! none below it. Forgetting a client loses nothing: the counter does not go back.

use std::collections::{HashMap, HashSet};

use bellboard_core::client::{ClientKey, Incarnation};
use bellboard_core::id::{ClientId, PrincipalId};
use bellboard_core::limits;
use bellboard_core::offset::LogKey;
use bellboard_core::store::Error;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Order, Query};
use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    Value,
};

use super::entity::client::{self, Column, Entity};
use super::entity::incarnation;
use super::error;
use super::rows::Rows;

const CLIENTS: Rows = Rows {
    before: "INSERT INTO clients (log,principal,id,incarnation) VALUES",
    columns: 4,
    after: "ON CONFLICT (log,principal,id) DO UPDATE SET incarnation=excluded.incarnation",
};

/// The counter's only row.
const COUNTER: i32 = 1;

#[derive(FromQueryResult)]
struct Newest {
    newest: i64,
}

/// Within a transaction: the next number for each, in their order.
pub(super) async fn take(connection: &impl ConnectionTrait, clients: &[ClientKey]) -> Result<Vec<Incarnation>, Error> {
    let count = i64::try_from(clients.len()).map_err(|_| Error::Constraint("too many clients at once".into()))?;
    let newest = count_on(connection, count).await?;
    let numbers: Vec<i64> = (newest - count + 1..=newest).collect();
    // A statement may not write a row twice, and the last number of a client is the one that counts.
    let last: HashMap<&ClientKey, i64> = clients.iter().zip(numbers.iter().copied()).collect();
    let values = last.iter().flat_map(|(client, number)| -> [Value; 4] {
        [
            i64::from(client.log.0).into(),
            client.principal.as_str().into(),
            client.id.as_str().into(),
            (*number).into(),
        ]
    });
    CLIENTS.execute(connection, values.collect()).await?;
    let principals: HashSet<_> = clients.iter().map(|client| (client.log, &client.principal)).collect();
    for (log, principal) in principals {
        forget(connection, log, principal).await?;
    }
    Ok(numbers
        .into_iter()
        .map(|number| Incarnation(number.cast_unsigned()))
        .collect())
}

async fn count_on(connection: &impl ConnectionTrait, by: i64) -> Result<i64, Error> {
    let row = incarnation::ActiveModel {
        id: ActiveValue::Set(COUNTER),
        newest: ActiveValue::Set(by),
    };
    let newest = Expr::col((incarnation::Entity, incarnation::Column::Newest));
    let on_conflict = OnConflict::column(incarnation::Column::Id)
        .value(incarnation::Column::Newest, newest.add(by))
        .to_owned();
    let counted = incarnation::Entity::insert(row)
        .on_conflict(on_conflict)
        .exec_with_returning(connection)
        .await;
    Ok(counted.map_err(error::of)?.newest)
}

/// Lets go of a principal's clients beyond the newest [`limits::CLIENTS_PER_PRINCIPAL_MAX`].
async fn forget(connection: &impl ConnectionTrait, log: LogKey, principal: &PrincipalId) -> Result<(), Error> {
    let newest_too_old = Query::select()
        .column(Column::Incarnation)
        .from(Entity)
        .and_where(Column::Log.eq(i64::from(log.0)))
        .and_where(Column::Principal.eq(principal.as_str()))
        .order_by(Column::Incarnation, Order::Desc)
        .limit(1)
        .offset(limits::CLIENTS_PER_PRINCIPAL_MAX as u64)
        .take();
    Entity::delete_many()
        .filter(Column::Log.eq(i64::from(log.0)))
        .filter(Column::Principal.eq(principal.as_str()))
        // Null where there are not so many, which nothing is compared well with.
        .filter(Expr::col(Column::Incarnation).lte(Expr::from(newest_too_old)))
        .exec(connection)
        .await
        .map_err(error::of)?;
    Ok(())
}

/// The highest number that was ever given.
pub(super) async fn newest(connection: &impl ConnectionTrait) -> Result<Incarnation, Error> {
    let found = incarnation::Entity::find_by_id(COUNTER)
        .select_only()
        .column(incarnation::Column::Newest)
        .into_model::<Newest>()
        .one(connection)
        .await
        .map_err(error::of)?;
    Ok(Incarnation(found.map_or(0, |row| row.newest.cast_unsigned())))
}

/// The newest number of each client that took one above `after`, ascending, at most `most` of them.
pub(super) async fn taken(
    connection: &impl ConnectionTrait,
    after: Incarnation,
    most: usize,
) -> Result<Vec<(ClientKey, Incarnation)>, Error> {
    let models = Entity::find()
        .filter(Column::Incarnation.gt(after.0.cast_signed()))
        .order_by_asc(Column::Incarnation)
        .limit(most as u64)
        .all(connection)
        .await
        .map_err(error::of)?;
    models.into_iter().map(understand).collect()
}

fn understand(model: client::Model) -> Result<(ClientKey, Incarnation), Error> {
    let client::Model {
        log,
        principal,
        id,
        incarnation,
    } = model;
    let corrupt = |error| error::corrupt(format!("a client {error}"));
    let key = ClientKey {
        log: LogKey(u32::try_from(log).map_err(|_| error::corrupt("a client's log"))?),
        principal: PrincipalId::parse(&principal).map_err(corrupt)?,
        id: ClientId::parse(&id).map_err(corrupt)?,
    };
    Ok((key, Incarnation(incarnation.cast_unsigned())))
}
