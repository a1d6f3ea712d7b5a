//! What interests mean to the database: which rows of `events` are wanted.
//!
//! Believe this: what is filtered here is what `Interests::want_move` says, in SQL. Families are ranges of kinds; sessions are looked up
//! through the event's own row, so that a filter costs one look per event that is passed and never a list of all sessions.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use bellboard_core::event::{Families, Family, Kind, Routing};
use bellboard_core::id::SessionId;
use bellboard_core::interest::{Interests, Selector};
use bellboard_core::offset::LogKey;
use bellboard_core::store::Error;
use sea_orm::sea_query::{Cond, Condition, Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, ConnectionTrait};

use super::entity::{ancestor, event, session};
use super::place::Range;
use super::rows::filled;
use super::stood::{self, Moves};
use super::{audience, sessions};

/// Up to so many sessions are read one by one through their own index. More are found by passing over the log.
const SESSIONS_MAX: usize = 8;

/// What a read wants.
pub(super) enum Wanted {
    /// Every event.
    Everything,
    /// Events of these sessions; nothing when there are none.
    Sessions(Vec<OfSession>),
    /// Events for which this holds.
    Matching(Condition),
}

impl Wanted {
    /// For which events it holds; none where it holds for none.
    pub(super) fn condition(self) -> Option<Condition> {
        match self {
            Wanted::Everything => Some(Cond::all()),
            Wanted::Matching(condition) => Some(condition),
            Wanted::Sessions(sessions) if sessions.is_empty() => None,
            Wanted::Sessions(sessions) => Some(sessions.into_iter().fold(Cond::any(), |any, session| {
                let of = Cond::all().add(event::Column::Session.eq(session.number));
                any.add(match session.kinds {
                    Some(kinds) => of.add(kinds),
                    None => of,
                })
            })),
        }
    }
}

/// What a read wants of one session, or of what has none.
pub(super) struct OfSession {
    pub(super) number: i64,
    /// None for what has no session.
    pub(super) routing: Option<Arc<Routing>>,
    /// None for every kind.
    pub(super) kinds: Option<Condition>,
}

/// Whether a read must ask whom events without a session are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OfTenant {
    /// None that it wants can be there.
    None,
    /// Some may be.
    Some,
}

/// Finds out the way to read a range, and whether sessions stood elsewhere then.
pub(super) async fn wanted(
    connection: &impl ConnectionTrait,
    interests: &Interests,
    range: Range,
) -> Result<(Wanted, Moves), Error> {
    let moves = stood::moves(connection, range).await?;
    let of_tenant = if interests.look_at_tenant() && audience::any(connection, range).await? {
        OfTenant::Some
    } else {
        OfTenant::None
    };
    // One session alone is neither entered nor left by a move.
    if let Some(ids) = interests.single_sessions()
        && ids.len() <= SESSIONS_MAX
    {
        let mut sessions = of_sessions(connection, range.log, interests, &ids).await?;
        if of_tenant == OfTenant::Some {
            sessions.push(no_session(range.log, interests));
        }
        return Ok((Wanted::Sessions(sessions), moves));
    }
    Ok((matching(range.log, interests, moves, of_tenant), moves))
}

/// What the interests mean as a condition on events.
fn matching(log: LogKey, interests: &Interests, moves: Moves, of_tenant: OfTenant) -> Wanted {
    let mut by_families: BTreeMap<u32, (Families, Vec<&Selector>)> = BTreeMap::new();
    for interest in interests {
        let families = interest.wanted();
        if interest.selector == Selector::All && is_all(families) {
            return Wanted::Everything;
        }
        by_families
            .entry(families.bits())
            .or_insert((families, Vec::new()))
            .1
            .push(&interest.selector);
    }
    let mut any = Cond::any();
    for (families, selectors) in by_families.into_values() {
        if families.is_empty() {
            continue;
        }
        let mut all = Cond::all();
        if let Some(kinds) = kinds_of(families) {
            all = all.add(kinds);
        }
        if !selectors.contains(&&Selector::All) {
            let mut selected = Cond::any().add(stands(log, &selectors, moves));
            if moves == Moves::Some {
                selected = selected.add(stood::moved_from(&selectors));
            }
            if of_tenant == OfTenant::Some && families.contain(Family::Connector) {
                selected = selected.add(audience::is_for(log, &selectors));
            }
            all = all.add(selected);
        }
        any = any.add(all);
        // An event that moves a session is one of the session family: where that is wanted, it is selected by now.
        if moves == Moves::Some && !families.contain(Family::Session) {
            let crossed = selectors.iter().filter(|selector| ***selector != Selector::All);
            any = crossed.fold(any, |any, selector| any.add(crosses(log, selector)));
        }
    }
    // An empty condition would hold for every event.
    Wanted::Matching(if any.is_empty() {
        Cond::all().add(Expr::cust("1 = 0"))
    } else {
        any
    })
}

/// Which events are of a session that any of these selectors selected then.
fn stands(log: LogKey, selectors: &[&Selector], moves: Moves) -> Condition {
    let mut now = Query::select();
    now.expr(Expr::val(1))
        .from(session::Entity)
        .and_where(
            Expr::col((session::Entity, session::Column::Number)).equals((event::Entity, event::Column::Session)),
        )
        .cond_where(selected(log, selectors));
    match moves {
        Moves::None => Cond::all().add(Expr::exists(now)),
        Moves::Some => {
            now.cond_where(stood::stands(log));
            Cond::any().add(Expr::exists(now)).add(stood::stood_at(selectors))
        }
    }
}

/// Which events moved a session into what this selector selects, or out of it.
fn crosses(log: LogKey, selector: &Selector) -> Condition {
    let is = || stands(log, &[selector], Moves::Some);
    let was = || stood::moved_from(&[selector]);
    let entered = Cond::all().add(is()).add(was().not());
    let left = Cond::all().add(was()).add(is().not());
    Cond::all().add(stood::moved()).add(Cond::any().add(entered).add(left))
}

async fn of_sessions(
    connection: &impl ConnectionTrait,
    log: LogKey,
    interests: &Interests,
    ids: &[&SessionId],
) -> Result<Vec<OfSession>, Error> {
    let ids: Vec<SessionId> = ids.iter().map(|id| (*id).clone()).collect();
    let sessions = sessions::by_ids(connection, log, &ids).await?;
    let of_session = |session: bellboard_core::session::Session| {
        let routing = session.routing();
        let families = interests
            .iter()
            .filter(|interest| interest.selects(&routing))
            .fold(Families::NONE, |all, interest| all.or(interest.wanted()));
        (!families.is_empty()).then(|| OfSession {
            number: session.number.0.cast_signed(),
            routing: Some(Arc::new(routing)),
            kinds: kinds_of(families),
        })
    };
    Ok(sessions.into_iter().filter_map(of_session).collect())
}

/// What is wanted of what has no session.
fn no_session(log: LogKey, interests: &Interests) -> OfSession {
    let looking = interests
        .iter()
        .filter(|interest| interest.wanted().contain(Family::Connector));
    let selectors: Vec<&Selector> = looking.map(|interest| &interest.selector).collect();
    OfSession {
        number: audience::no_session(log),
        routing: None,
        kinds: Some(audience::is_for(log, &selectors)),
    }
}

/// Which rows of `sessions` any of these selectors selects.
pub(super) fn selected(log: LogKey, selectors: &[&Selector]) -> Condition {
    use session::Column;
    let (mut projects, mut vendors, mut ids, mut trees) = (vec![], vec![], vec![], vec![]);
    for selector in selectors {
        match selector {
            Selector::All => return Cond::all(),
            Selector::Project(project) => projects.push(project.as_str()),
            Selector::Vendor(vendor) => vendors.push(vendor.as_str()),
            Selector::Session(id) => ids.push(id.as_str()),
            Selector::Subtree(id) => {
                ids.push(id.as_str());
                trees.push(id.as_str());
            }
        }
    }
    let mut any = Cond::any();
    for (column, names) in [(Column::Project, &projects), (Column::Vendor, &vendors)] {
        if !names.is_empty() {
            any = any.add(sessions::is_any(column, names));
        }
    }
    if !ids.is_empty() {
        any = any.add(Column::Id.is_in(filled(&ids)));
    }
    if !trees.is_empty() {
        let below = Query::select()
            .expr(Expr::val(1))
            .from(ancestor::Entity)
            .and_where(ancestor::Column::Log.eq(i64::from(log.0)))
            .and_where(ancestor::Column::Ancestor.is_in(filled(&trees)))
            .and_where(
                Expr::col((ancestor::Entity, ancestor::Column::Session)).equals((session::Entity, Column::Number)),
            )
            .take();
        any = any.add(Expr::exists(below));
    }
    any
}

fn is_all(families: Families) -> bool {
    Family::ALL.into_iter().all(|family| families.contain(family))
}

/// Which kinds of events belong to these families; none for every kind.
fn kinds_of(families: Families) -> Option<Condition> {
    (!is_all(families)).then(|| kinds(event::Column::Kind, families))
}

/// For which kinds in this column these families hold.
pub(super) fn kinds(column: impl ColumnTrait, families: Families) -> Condition {
    let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
    for (_, range) in KINDS.iter().filter(|(family, _)| families.contain(*family)) {
        match ranges.last_mut() {
            Some(last) if *last.end() + 1 == *range.start() => {
                *last = *last.start()..=*range.end();
            }
            Some(_) | None => ranges.push(range.clone()),
        }
    }
    // An empty condition would hold for every kind.
    if ranges.is_empty() {
        return Cond::all().add(Expr::cust("1 = 0"));
    }
    let between = |any: Condition, range: RangeInclusive<u16>| any.add(column.between(*range.start(), *range.end()));
    ranges.into_iter().fold(Cond::any(), between)
}

/// The kinds of each family, as the core numbers them, in their order.
static KINDS: LazyLock<Vec<(Family, RangeInclusive<u16>)>> = LazyLock::new(|| {
    let mut ranges: Vec<(Family, RangeInclusive<u16>)> = Vec::new();
    for kind in 0..=u16::MAX {
        let Some(family) = Kind(kind).family() else {
            continue;
        };
        match ranges.last_mut() {
            Some((last, range)) if *last == family => *range = *range.start()..=kind,
            Some(_) | None => ranges.push((family, kind..=kind)),
        }
    }
    ranges
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_the_kinds_that_the_core_gives_it() {
        assert_eq!(KINDS.len(), Family::ALL.len());
        assert!(
            KINDS
                .iter()
                .all(|(family, range)| Kind(*range.start()).family() == Some(*family)
                    && Kind(*range.end()).family() == Some(*family))
        );
        assert!(kinds_of(Families::ALL).is_none());
        assert!(kinds_of(Families::from_iter(Family::ALL)).is_none());
    }
}
