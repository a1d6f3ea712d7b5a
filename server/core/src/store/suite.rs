//! The promises suite: what every store must keep, one test per promise.
//!
//! Believe this: nothing here knows a store by name. A store that passes serves the hub; where two stores could differ and the hub
//! would notice, a promise is missing here.
//!
//! A crate that brings a store says once, in a test module:
//!
//! ```text
//! bellboard_core::store_suite!(async || Subject::new(MyStore::open(directory, Arc::new(PlainEncode)).await));
//! ```
//!
//! A promise is a function named after it. It fails by panicking, like any test.

// Named by `store_suite!` and by nobody else: the promises' names are their documentation.
#[doc(hidden)]
pub mod clients;
#[doc(hidden)]
pub mod constraints;
#[doc(hidden)]
pub mod evidence;
#[doc(hidden)]
pub mod lists;
#[doc(hidden)]
pub mod logs;
#[doc(hidden)]
pub mod moves;
#[doc(hidden)]
pub mod reads;
#[doc(hidden)]
pub mod seeks;
#[doc(hidden)]
pub mod sizes;
#[doc(hidden)]
pub mod snapshots;
#[doc(hidden)]
pub mod rows;
#[doc(hidden)]
pub mod transactions;
#[doc(hidden)]
pub mod tenant;
#[doc(hidden)]
pub mod trims;

mod chain;
mod plain;
mod wishes;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use self::chain::Chain;
pub use self::plain::PlainEncode;
use super::Store;

/// Opens what a store left on its disk, after the store itself was dropped.
pub type Reopen = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync>;

/// A fresh, empty store, made for one test.
pub struct Subject {
    /// The store. It puts links behind events as [`PlainEncode`] does.
    pub store: Arc<dyn Store>,
    /// How to open it again; none for a store that does not last.
    pub reopen: Option<Reopen>,
    /// What must live as long as the test, for example a directory that is removed when dropped.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Subject {
    /// A store that does not last and needs nothing.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Subject {
        Subject {
            store,
            reopen: None,
            keep: Box::new(()),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({:?})", self.store)
    }
}

/// One test per promise, for the store that `$make` makes: an `async Fn() -> Subject`, called once per test. It may give an
/// `Option<Subject>`, where a store may not be to be had.
///
/// The crate that uses it needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! store_suite {
    ($make:expr) => {
        $crate::store_suite!(@each ($make)
            logs::a_log_is_made_once_and_stays_as_it_was_made,
            logs::many_who_open_a_new_log_at_once_get_the_same_one,
            logs::a_log_with_another_epoch_is_the_same_log_under_another_name,
            logs::all_logs_are_listed_as_they_are,
            logs::tenants_have_logs_of_their_own,
            logs::tenants_cannot_see_each_others_rows,
            logs::odd_but_legal_names_are_only_names,
            logs::names_are_compared_byte_by_byte,
            logs::a_removed_resume_key_keeps_its_number_and_loses_its_secret,
            logs::the_number_of_a_resume_key_must_be_new,
            logs::what_was_committed_is_there_after_opening_again,
            rows::what_was_committed_is_read_with_every_column,
            rows::a_session_comes_back_as_it_was_written,
            rows::a_changed_session_replaces_the_one_before,
            transactions::a_lock_gives_the_row_that_the_last_commit_left,
            transactions::what_was_not_committed_leaves_nothing,
            transactions::nothing_is_seen_before_its_commit,
            transactions::transactions_on_one_log_come_one_after_the_other,
            transactions::transactions_on_different_logs_do_not_mix,
            rows::writers_come_back_as_they_were_written,
            rows::a_dedupe_key_tells_where_its_event_lies,
            rows::a_seq_is_found_among_the_newest_events_of_its_session_only,
            rows::what_lies_below_a_session_is_found_at_any_depth_and_in_its_log_only,
            rows::raw_records_lie_beside_their_events,
            clients::every_stream_of_a_client_gets_a_higher_number,
            clients::who_take_numbers_at_once_get_different_ones,
            clients::a_forgotten_client_comes_back_with_a_higher_number,
            constraints::an_offset_is_written_once,
            constraints::offsets_have_no_holes,
            constraints::the_tail_follows_from_what_was_written,
            constraints::a_dedupe_key_is_stored_once_per_session,
            constraints::a_session_id_is_unique_in_its_log,
            constraints::a_native_key_is_unique_in_its_log,
            constraints::only_a_session_that_is_there_gets_further,
            sizes::the_largest_events_come_back_whole,
            sizes::a_thousand_sessions_open_in_one_batch,
            sizes::the_largest_commit_goes_through,
            reads::every_interest_gets_what_it_wants_and_nothing_else,
            reads::a_read_keeps_to_its_range,
            reads::a_read_stops_after_so_many_events,
            reads::a_read_stops_after_so_many_bytes,
            reads::a_read_looks_at_so_many_events_only,
            reads::pages_follow_each_other_without_loss_or_repetition,
            reads::a_session_that_nobody_knows_has_no_events,
            moves::an_event_is_selected_by_where_its_session_stood_then,
            moves::what_moved_is_counted_where_it_stood_then,
            moves::history_is_what_the_window_was,
            moves::who_moved_at_an_event_is_known,
            moves::a_snapshot_holds_what_stands_in_it_now,
            moves::a_snapshot_is_of_what_others_select_too,
            moves::a_snapshot_of_named_sessions_is_in_the_order_of_their_names,
            tenant::an_event_without_a_session_is_for_what_its_writer_held_then,
            tenant::what_is_told_of_ten_thousand_sessions_is_for_each_of_them,
            tenant::what_was_told_is_found_again_by_its_key_and_its_seq,
            tenant::a_trimmed_event_without_a_session_is_missed_by_whom_it_was_for,
            tenant::what_is_known_of_a_connector_comes_back_as_it_was_written,
            seeks::every_offset_has_its_link,
            seeks::counting_stops_where_it_may,
            seeks::the_nth_newest_is_where_counting_back_ends,
            lists::a_list_is_in_the_order_that_was_asked_for,
            lists::a_filter_lets_through_what_it_says,
            lists::pages_of_a_list_lose_nothing_and_repeat_nothing,
            lists::a_listed_session_is_the_session,
            evidence::events_are_shown_as_they_lie,
            evidence::sessions_are_shown_in_pages,
            evidence::what_was_committed_is_whole,
            snapshots::an_empty_log_has_an_empty_snapshot,
            snapshots::a_snapshot_holds_what_the_interests_see,
            snapshots::a_snapshot_holds_the_most_recent_sessions_and_says_if_there_are_more,
            snapshots::an_item_is_there_once_at_its_newest,
            snapshots::at_summary_there_are_no_items,
            snapshots::only_wanted_families_are_items,
            snapshots::the_newest_items_come_and_the_rest_lies_below,
            snapshots::a_walk_for_items_ends_where_it_must,
            snapshots::bytes_are_shared_by_all_sessions_of_a_snapshot,
            snapshots::rows_of_a_snapshot_are_bounded_in_bytes,
            trims::a_trim_takes_a_prefix_and_keeps_what_it_says,
            trims::what_was_trimmed_is_never_left_out_silently,
            trims::links_outlive_their_events_for_a_while,
            trims::a_trim_that_is_no_prefix_is_refused,
            trims::a_trim_that_is_not_committed_leaves_everything,
            trims::an_append_leaves_what_is_trimmed_and_goes_on_behind_it,
            trims::only_sessions_that_lack_something_wanted_are_missing,
            trims::no_item_of_a_snapshot_is_older_than_was_asked,
            trims::who_wanders_is_never_missed_silently,
            trims::bases_are_found_below_one_another,
        );
    };
    (@each ($make:expr) $($room:ident :: $promise:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let made: Option<$crate::store::suite::Subject> = ($make)().await.into();
            // Without one the maker has said why.
            if let Some(subject) = made {
                $crate::store::suite::$room::$promise(subject).await;
            }
        }
    )*};
}
