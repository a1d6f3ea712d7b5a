//! Interests between the wire and the core.

use bellboard_core::event::{Families, Family};
use bellboard_core::interest::{Detail, Interest, Interests, Selector};
use bellboard_core::session::{normal_project, normal_vendor};
use bellboard_proto::v1::{self, interest::Selector as Sent};

use crate::wire::fault::Fault;
use crate::wire::session::parse_id;

/// Reads interests into their canonical form.
///
/// # Errors
/// Names the interest at fault, or says how many there may be.
pub fn parse(interests: &[v1::Interest]) -> Result<Interests, Fault> {
    let parsed = interests
        .iter()
        .enumerate()
        .map(|(at, interest)| parse_one(&format!("interests[{at}]"), interest));
    Interests::new(parsed.collect::<Result<_, _>>()?).map_err(|error| Fault::interests(&error))
}

fn parse_one(field: &str, interest: &v1::Interest) -> Result<Interest, Fault> {
    let v1::Interest {
        selector,
        families,
        detail,
    } = interest;
    let required = |name: &str, value: &str| match value.is_empty() {
        true => Err(Fault::new(format!("{field}.{name}"), "is empty; name one")),
        false => Ok(()),
    };
    let selector = match selector {
        None => {
            return Err(Fault::new(
                format!("{field}.selector"),
                "is missing or unknown; give all, project, vendor or session",
            ));
        }
        Some(Sent::All(_)) => Selector::All,
        Some(Sent::Project(v1::ProjectSelector { project })) => {
            required("project.project", project)?;
            Selector::Project(normal_project(project))
        }
        Some(Sent::Vendor(v1::VendorSelector { vendor })) => {
            required("vendor.vendor", vendor)?;
            Selector::Vendor(normal_vendor(vendor))
        }
        Some(Sent::Session(v1::SessionSelector {
            session_id,
            with_descendants,
        })) => {
            let session = parse_id(&format!("{field}.session.session_id"), session_id)?;
            if *with_descendants {
                Selector::Subtree(session)
            } else {
                Selector::Session(session)
            }
        }
    };
    let families = families.iter().map(|number| {
        Family::of_number(*number).ok_or_else(|| {
            let problem = format!("has {number}, which is no family of this version");
            Fault::new(format!("{field}.families"), problem).with("family", number)
        })
    });
    let families: Families = match families.len() {
        0 => Families::ALL,
        _ => families.collect::<Result<_, _>>()?,
    };
    let detail = match v1::Detail::try_from(*detail) {
        Ok(v1::Detail::Unspecified | v1::Detail::Content) => Detail::Content,
        Ok(v1::Detail::Summary) => Detail::Summary,
        Ok(v1::Detail::Live) => Detail::Live,
        Err(_) => {
            return Err(Fault::new(
                format!("{field}.detail"),
                "is of no known value; give SUMMARY, CONTENT or LIVE",
            ));
        }
    };
    Ok(Interest {
        selector,
        detail,
        families,
    })
}
