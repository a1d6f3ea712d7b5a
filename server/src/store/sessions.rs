//! Writing and finding sessions.
//!
//! Believe this: `session_ancestors` says the same as the rows' own lists of ancestors, and is changed with them.

use std::collections::HashMap;
use std::sync::Arc;

use bellboard_core::event::Routing;
use bellboard_core::id::SessionId;
use bellboard_core::offset::{LogKey, Offset};
use bellboard_core::session::{Session, SessionKey};
use bellboard_core::store::{Error, SessionFilter, SessionOrder};
use sea_orm::sea_query::{Cond, Condition, Expr, ExprTrait, Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};

use super::entity::{ancestor, session};
use super::error;
use super::place::signed;
use super::rows::{Rows, filled, lists};
use super::session_row::{LIVE, NO_ANCESTORS, id, ids, key_hash, model, push, session as of_row};

/// What an ordinary event cannot change is not set again: setting an indexed column costs a page of its index even when its value
/// stays. [`set_identity`] is for the rare case.
const WRITE: Rows = Rows {
    before: "INSERT INTO sessions (number,log,id,key_hash,key_vendor,key_installation,key_project,key_native,ancestors,life,\
             lifecycle,archived,title,project,vendor,parent,facts,next_index,opened_offset,last_offset,created,updated,closed) \
             VALUES",
    columns: 23,
    after: "ON CONFLICT (number) DO UPDATE SET ancestors=excluded.ancestors,life=excluded.life,lifecycle=excluded.lifecycle,\
            archived=excluded.archived,title=excluded.title,project=excluded.project,vendor=excluded.vendor,\
            parent=excluded.parent,facts=excluded.facts,next_index=excluded.next_index,last_offset=excluded.last_offset,\
            updated=excluded.updated,closed=excluded.closed",
};

const WRITE_ANCESTORS: Rows = Rows {
    before: "INSERT INTO session_ancestors (log,ancestor,session,depth) VALUES",
    columns: 4,
    after: "ON CONFLICT (log,ancestor,session) DO UPDATE SET depth=excluded.depth",
};

/// Writes new and changed sessions.
pub(super) async fn write(connection: &impl ConnectionTrait, log: LogKey, sessions: Vec<Session>) -> Result<(), Error> {
    if sessions.is_empty() {
        return Ok(());
    }
    let before = before(connection, &sessions).await?;
    let mut ancestors = Vec::new();
    let mut values = Vec::with_capacity(sessions.len() * WRITE.columns);
    for session in sessions {
        let model = model(log, session)?;
        let old = before.get(&model.number);
        if old.map_or(NO_ANCESTORS, |old| old.ancestors.as_str()) != model.ancestors {
            if let Some(old) = old {
                forget_ancestors(connection, old).await?;
            }
            ancestors.extend(ancestor_rows(&model)?);
        }
        if old.is_some_and(|old| identity(old) != identity(&model)) {
            set_identity(connection, &model).await?;
        }
        push(&mut values, model);
    }
    WRITE.execute(connection, values).await?;
    WRITE_ANCESTORS.execute(connection, ancestors).await
}

/// What the rows of these sessions say now, where it matters.
async fn before(
    connection: &impl ConnectionTrait,
    sessions: &[Session],
) -> Result<HashMap<i64, session::Model>, Error> {
    let numbers: Vec<i64> = sessions.iter().map(|session| session.number.0.cast_signed()).collect();
    let mut found = HashMap::new();
    for list in lists(&numbers) {
        let rows = session::Entity::find()
            .filter(session::Column::Number.is_in(list))
            .all(connection)
            .await
            .map_err(error::of)?;
        found.extend(rows.into_iter().map(|row| (row.number, row)));
    }
    Ok(found)
}

fn ancestor_rows(model: &session::Model) -> Result<Vec<Value>, Error> {
    let ids = ids(&model.ancestors)?;
    let mut values = Vec::with_capacity(ids.len() * WRITE_ANCESTORS.columns);
    for (depth, id) in (0i16..).zip(ids) {
        values.extend::<[Value; 4]>([model.log.into(), id.as_str().into(), model.number.into(), depth.into()]);
    }
    Ok(values)
}

async fn forget_ancestors(connection: &impl ConnectionTrait, old: &session::Model) -> Result<(), Error> {
    let ids = ids(&old.ancestors)?;
    let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
    for list in lists(&ids) {
        ancestor::Entity::delete_many()
            .filter(ancestor::Column::Log.eq(old.log))
            .filter(ancestor::Column::Ancestor.is_in(list))
            .filter(ancestor::Column::Session.eq(old.number))
            .exec(connection)
            .await
            .map_err(error::of)?;
    }
    Ok(())
}

/// What [`WRITE`] leaves as it is.
fn identity(model: &session::Model) -> (&str, Option<&[u8]>, i64, i64) {
    let key = model.key_hash.as_deref();
    (&model.id, key, model.opened_offset, model.created)
}

async fn set_identity(connection: &impl ConnectionTrait, model: &session::Model) -> Result<(), Error> {
    use session::Column;
    session::Entity::update_many()
        .col_expr(Column::Id, Expr::val(&model.id))
        .col_expr(Column::KeyHash, Expr::val(model.key_hash.clone()))
        .col_expr(Column::KeyVendor, Expr::val(model.key_vendor.clone()))
        .col_expr(Column::KeyInstallation, Expr::val(model.key_installation.clone()))
        .col_expr(Column::KeyProject, Expr::val(model.key_project.clone()))
        .col_expr(Column::KeyNative, Expr::val(model.key_native.clone()))
        .col_expr(Column::OpenedOffset, Expr::val(model.opened_offset))
        .col_expr(Column::Created, Expr::val(model.created))
        .filter(Column::Number.eq(model.number))
        .exec(connection)
        .await
        .map_err(error::of)?;
    Ok(())
}

/// The sessions of these ids.
pub(super) async fn by_ids(
    connection: &impl ConnectionTrait,
    log: LogKey,
    ids: &[SessionId],
) -> Result<Vec<Session>, Error> {
    let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
    let mut found = Vec::with_capacity(ids.len());
    for list in lists(&ids) {
        found.extend(
            session::Entity::find()
                .filter(session::Column::Log.eq(i64::from(log.0)))
                .filter(session::Column::Id.is_in(list))
                .all(connection)
                .await
                .map_err(error::of)?,
        );
    }
    found.into_iter().map(of_row).collect()
}

/// The sessions of these native keys.
pub(super) async fn by_keys(
    connection: &impl ConnectionTrait,
    log: LogKey,
    keys: &[SessionKey],
) -> Result<Vec<Session>, Error> {
    let hashes: Vec<Vec<u8>> = keys.iter().map(key_hash).collect();
    let mut found = Vec::with_capacity(keys.len());
    for list in lists(&hashes) {
        found.extend(
            session::Entity::find()
                .filter(session::Column::Log.eq(i64::from(log.0)))
                .filter(session::Column::KeyHash.is_in(list))
                .all(connection)
                .await
                .map_err(error::of)?,
        );
    }
    found.into_iter().map(of_row).collect()
}

/// A page of a list.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    log: LogKey,
    filter: &SessionFilter,
    order: SessionOrder,
    below: Offset,
    limit: usize,
) -> Result<Vec<Session>, Error> {
    use session::Column;
    let SessionFilter {
        project,
        vendor,
        parent,
        roots_only,
        include_closed,
        include_archived,
    } = filter;
    let by = match order {
        SessionOrder::Recent => Column::LastOffset,
        SessionOrder::Opened => Column::OpenedOffset,
    };
    let mut wanted = Cond::all()
        .add(Column::Log.eq(i64::from(log.0)))
        .add(by.lt(signed(below)));
    for (column, name) in [(Column::Project, project), (Column::Vendor, vendor)] {
        if let Some(name) = name {
            wanted = wanted.add(is_any(column, &[name]));
        }
    }
    if let Some(parent) = parent {
        let children = Query::select()
            .column(ancestor::Column::Session)
            .from(ancestor::Entity)
            .and_where(ancestor::Column::Log.eq(i64::from(log.0)))
            .and_where(ancestor::Column::Ancestor.eq(parent.as_str()))
            .and_where(ancestor::Column::Depth.eq(0i16))
            .take();
        wanted = wanted.add(Column::Number.in_subquery(children));
    }
    if *roots_only {
        wanted = wanted.add(Column::Ancestors.eq(NO_ANCESTORS));
    }
    if !include_closed {
        wanted = wanted.add(Column::Lifecycle.eq(LIVE));
    }
    if !include_archived {
        wanted = wanted.add(Column::Archived.eq(false));
    }
    session::Entity::find()
        .filter(wanted)
        .order_by(by, Order::Desc)
        .limit(limit as u64)
        .all(connection)
        .await
        .map_err(error::of)?
        .into_iter()
        .map(of_row)
        .collect()
}

/// Whether a project or vendor is one of these names. Where none is known it is the empty one.
pub(super) fn is_any(column: session::Column, names: &[&str]) -> Condition {
    let known = Cond::any().add(column.is_in(filled(names)));
    if names.contains(&"") {
        known.add(column.is_null())
    } else {
        known
    }
}

/// Where these sessions stand, by number.
pub(super) async fn routings(
    connection: &impl ConnectionTrait,
    numbers: &[i64],
) -> Result<HashMap<i64, Arc<Routing>>, Error> {
    use session::Column;
    let mut found = HashMap::with_capacity(numbers.len());
    for list in lists(numbers) {
        let select = Query::select()
            .columns([
                Column::Number,
                Column::Id,
                Column::Project,
                Column::Vendor,
                Column::Ancestors,
            ])
            .from(session::Entity)
            .and_where(Expr::col(Column::Number).is_in(list))
            .take();
        for row in connection.query_all(&select).await.map_err(error::of)? {
            let number: i64 = row.try_get_by_index(0).map_err(error::of)?;
            let text = |index| -> Result<Option<String>, Error> { row.try_get_by_index(index).map_err(error::of) };
            let routing = Routing {
                session: id(&text(1)?.unwrap_or_default())?,
                project: text(2)?.unwrap_or_default().into(),
                vendor: text(3)?.unwrap_or_default().into(),
                ancestors: ids(&text(4)?.unwrap_or_default())?,
            };
            found.insert(number, Arc::new(routing));
        }
    }
    Ok(found)
}
