//! The keys that sign resume tokens.
//!
//! Believe this: a row is never deleted. A removed key keeps its number, so that the number never comes back.

use bellboard_core::offset::Time;
use bellboard_core::resume_token::{KeyId, ResumeKey};
use bellboard_core::store::Error;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::entity::resume_key::{ActiveModel, Column, Entity, Model};
use super::error;

/// All of them, oldest first.
pub(super) async fn all(connection: &impl ConnectionTrait) -> Result<Vec<ResumeKey>, Error> {
    let models = Entity::find()
        .order_by_asc(Column::Id)
        .all(connection)
        .await
        .map_err(error::of)?;
    models.into_iter().map(key).collect()
}

fn key(model: Model) -> Result<ResumeKey, Error> {
    let Model { id, secret, mints_from } = model;
    let secret = secret.map(TryInto::try_into).transpose();
    Ok(ResumeKey {
        id: KeyId(u16::try_from(id).map_err(|_| error::corrupt("a resume key's number"))?),
        secret: secret.map_err(|_| error::corrupt("a resume key's secret"))?,
        mints_from: Time(mints_from),
    })
}

/// Adds one, whose number must be new.
pub(super) async fn add(connection: &impl ConnectionTrait, key: &ResumeKey) -> Result<(), Error> {
    let ResumeKey { id, secret, mints_from } = key;
    Entity::insert(ActiveModel {
        id: ActiveValue::Set(i32::from(id.0)),
        secret: ActiveValue::Set(secret.map(|secret| secret.to_vec())),
        mints_from: ActiveValue::Set(mints_from.0),
    })
    .exec_without_returning(connection)
    .await
    .map_err(error::of)?;
    Ok(())
}

/// Erases its secret.
pub(super) async fn remove(connection: &impl ConnectionTrait, id: KeyId) -> Result<(), Error> {
    Entity::update_many()
        .col_expr(Column::Secret, Expr::val(None::<Vec<u8>>))
        .filter(Column::Id.eq(i32::from(id.0)))
        .exec(connection)
        .await
        .map_err(error::of)?;
    Ok(())
}
