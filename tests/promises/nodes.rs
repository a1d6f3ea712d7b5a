//! Several nodes on one database: whichever a client talks to, there is one log.
//!
//! They run on PostgreSQL whatever the other tests run on: a SQLite file has one node.

mod outages;

use bellboard_proto::v1;
use bellboard_tests::events::all;

fn everything() -> Vec<v1::Interest> {
    vec![all(v1::Detail::Content)]
}
