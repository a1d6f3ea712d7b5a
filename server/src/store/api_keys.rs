//! The keys that clients come with, as rows.
//!
//! Believe this: no key lies here, only what it hashes to; what is hashed, and what a scope's name means, is the auth room's business.
//! A row is never deleted, so that a list also shows what was revoked.

use bellboard_core::offset::Time;
use bellboard_core::store::Error;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue, ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder};

use super::entity::api_key::{ActiveModel, Column, Entity, Model};
use super::open::{self, Database};
use super::{deadline, error};

/// One key's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public name, by which it is listed and revoked.
    pub id: String,
    /// What the key hashes to; unique.
    pub hash: Vec<u8>,
    /// Whose log it opens.
    pub tenant: String,
    /// Who comes with it.
    pub principal: String,
    /// What it allows, by name.
    pub scopes: Vec<String>,
    /// What a person wrote on it; may be empty.
    pub label: String,
    /// When it was made.
    pub created: Time,
    /// From when on it is refused; none for never.
    pub expires: Option<Time>,
    /// Since when it is refused because somebody said so.
    pub revoked: Option<Time>,
}

/// Access to the keys. A cheap handle; copies share their connections.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    writer: DatabaseConnection,
    readers: DatabaseConnection,
}

impl ApiKeys {
    pub(super) fn new(writer: DatabaseConnection, readers: DatabaseConnection) -> ApiKeys {
        ApiKeys { writer, readers }
    }

    /// Opens only the keys of this database, for a program that runs beside a server or before it. Gives the database its tables if it
    /// has none.
    ///
    /// # Errors
    /// When the database cannot be used, or belongs to a newer version.
    pub async fn open(database: impl Into<Database>) -> Result<ApiKeys, open::Error> {
        let writer = open::one(&database.into()).await?;
        Ok(ApiKeys::new(writer.clone(), writer))
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`Error::Constraint`] when its id or its hash is not new.
    pub async fn insert(&self, key: ApiKey) -> Result<(), Error> {
        let ApiKey {
            id,
            hash,
            tenant,
            principal,
            scopes,
            label,
            created,
            expires,
            revoked,
        } = key;
        Entity::insert(ActiveModel {
            id: ActiveValue::Set(id),
            hash: ActiveValue::Set(hash),
            tenant: ActiveValue::Set(tenant),
            principal: ActiveValue::Set(principal),
            scopes: ActiveValue::Set(scopes.join(" ")),
            label: ActiveValue::Set(label),
            created: ActiveValue::Set(created.0),
            expires: ActiveValue::Set(expires.map(|time| time.0)),
            revoked: ActiveValue::Set(revoked.map(|time| time.0)),
        })
        .exec_without_returning(&self.writer)
        .await
        .map_err(error::of)?;
        Ok(())
    }

    /// All keys of all tenants, revoked and expired ones too, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all(&self) -> Result<Vec<ApiKey>, Error> {
        let select = Entity::find().order_by_asc(Column::Created).order_by_asc(Column::Id);
        // It is asked for every second as long as the hub runs: one question that is not heard must not be the last.
        let models = deadline::reading(async { select.all(&self.readers).await.map_err(error::of) }).await?;
        Ok(models.into_iter().map(key).collect())
    }

    /// All keys of one tenant, revoked and expired ones too, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, tenant: &str) -> Result<Vec<ApiKey>, Error> {
        let models = Entity::find()
            .filter(Column::Tenant.eq(tenant))
            .order_by_asc(Column::Created)
            .order_by_asc(Column::Id)
            .all(&self.readers)
            .await
            .map_err(error::of)?;
        Ok(models.into_iter().map(key).collect())
    }

    /// The key of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, id: &str) -> Result<Option<ApiKey>, Error> {
        let model = Entity::find_by_id(id).one(&self.readers).await.map_err(error::of)?;
        Ok(model.map(key))
    }

    /// The key that hashes to this.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_by_hash(&self, hash: &[u8]) -> Result<Option<ApiKey>, Error> {
        let model = Entity::find()
            .filter(Column::Hash.eq(hash.to_vec()))
            .one(&self.readers)
            .await
            .map_err(error::of)?;
        Ok(model.map(key))
    }

    /// Refuses a key from now on. False when there is none of this id, or it was revoked before, which keeps its time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke(&self, id: &str, now: Time) -> Result<bool, Error> {
        let updated = Entity::update_many()
            .col_expr(Column::Revoked, Expr::val(now.0))
            .filter(Column::Id.eq(id))
            .filter(Column::Revoked.is_null())
            .exec(&self.writer)
            .await
            .map_err(error::of)?;
        Ok(updated.rows_affected > 0)
    }

    /// Gives a key another expiry; none for never. False when there is none of this id, or it was revoked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew(&self, id: &str, expires: Option<Time>) -> Result<bool, Error> {
        let updated = Entity::update_many()
            .col_expr(Column::Expires, Expr::val(expires.map(|time| time.0)))
            .filter(Column::Id.eq(id))
            .filter(Column::Revoked.is_null())
            .exec(&self.writer)
            .await
            .map_err(error::of)?;
        Ok(updated.rows_affected > 0)
    }
}

fn key(model: Model) -> ApiKey {
    let Model {
        id,
        hash,
        tenant,
        principal,
        scopes,
        label,
        created,
        expires,
        revoked,
    } = model;
    ApiKey {
        id,
        hash,
        tenant,
        principal,
        scopes: scopes.split_whitespace().map(str::to_owned).collect(),
        label,
        created: Time(created),
        expires: expires.map(Time),
        revoked: revoked.map(Time),
    }
}
