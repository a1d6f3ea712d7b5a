use bellboard_proto::v1::delta::Fragment;
use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{Delta, Event, EventDuplicate, EventRejected, EventStored, MessageCompleted};

use super::super::deltas::DELTA_BYTES_MAX;
use super::*;

const WIDE: Window = Window {
    events: 1_000,
    bytes: 1 << 30,
};

fn append(item: &str) -> EventAppend {
    EventAppend {
        event: Some(Event {
            item_id: item.to_owned(),
            ..Event::default()
        }),
        ..EventAppend::default()
    }
}

fn completed(item: &str) -> EventAppend {
    EventAppend {
        event: Some(Event {
            item_id: item.to_owned(),
            payload: Some(Payload::MessageCompleted(MessageCompleted::default())),
            ..Event::default()
        }),
        ..EventAppend::default()
    }
}

fn delta(item: &str, at: usize, text: &str) -> DeltaAppend {
    DeltaAppend {
        session: None,
        delta: Some(Delta {
            item_id: item.to_owned(),
            at: at as u64,
            fragment: Some(Fragment::MessageText(text.to_owned())),
            ..Delta::default()
        }),
    }
}

fn result(seq: u64, outcome: Outcome) -> AppendResult {
    AppendResult {
        seq,
        outcome: Some(outcome),
        ..AppendResult::default()
    }
}

fn stored(seq: u64) -> AppendResult {
    result(seq, Outcome::Stored(EventStored::default()))
}

fn rejected(seq: u64, reason: ErrorReason) -> AppendResult {
    result(
        seq,
        Outcome::Rejected(EventRejected {
            reason: reason.into(),
            ..EventRejected::default()
        }),
    )
}

/// What a batch holds: `#seq` for an event, `item@at:text` for a delta.
fn shown(batch: Option<PublishBatch>) -> Vec<String> {
    let entries = batch.unwrap_or_default().entries.into_iter();
    entries
        .map(|entry| match entry.entry {
            Some(WireEntry::Append(append)) => format!("#{}", append.seq),
            Some(WireEntry::Delta(delta)) => {
                let delta = delta.delta.unwrap();
                let Some(Fragment::MessageText(text)) = delta.fragment else {
                    panic!("another fragment");
                };
                format!("{}@{}:{text}", delta.item_id, delta.at)
            }
            None => "nothing".to_owned(),
        })
        .collect()
}

#[test]
fn events_and_deltas_leave_in_the_order_in_which_they_came() {
    let mut queue = Queue::new(4, Vec::new());
    queue.push(append("m"), None);
    queue.push_delta(delta("m", 0, "hel"));
    queue.push_delta(delta("m", 3, "lo"));
    queue.push_delta(delta("n", 0, "x"));
    queue.push(completed("m"), None);
    queue.push_delta(delta("n", 1, "y"));
    let expected = ["#5", "m@0:hello", "n@0:x", "#6", "n@1:y"];
    assert_eq!(shown(queue.next_batch(WIDE)), expected);
    assert_eq!(shown(queue.next_batch(WIDE)), [""; 0]);
}

#[test]
fn no_more_is_under_way_than_the_hub_allows() {
    let mut queue = Queue::new(0, Vec::new());
    for _ in 0..5 {
        queue.push(append("m"), None);
    }
    let window = Window {
        events: 2,
        bytes: 1 << 20,
    };
    assert_eq!(shown(queue.next_batch(window)), ["#1", "#2"]);
    assert!(!queue.has_batch(window));
    assert_eq!(queue.acknowledge(stored(1)), Acknowledged::Taken);
    assert!(queue.has_batch(window));
    assert_eq!(shown(queue.next_batch(window)), ["#3"]);
    let narrow = Window { events: 9, bytes: 1 };
    assert!(!queue.has_batch(narrow));
    queue.acknowledge(stored(2));
    queue.acknowledge(stored(3));
    assert_eq!(
        shown(queue.next_batch(narrow)),
        ["#4"],
        "one larger than the window goes alone"
    );
}

#[test]
fn what_was_not_answered_is_sent_again_in_order_with_its_seqs() {
    let mut queue = Queue::new(0, Vec::new());
    for _ in 0..4 {
        queue.push(append("m"), None);
    }
    let two = Window { events: 3, ..WIDE };
    queue.next_batch(two);
    queue.acknowledge(stored(1));
    // The hub consumed 2, and its answer was lost: it is sent again and answered as duplicate.
    assert_eq!(queue.resync(2, Vec::new()), Resync::InStep);
    queue.push(append("m"), None);
    assert_eq!(shown(queue.next_batch(WIDE)), ["#2", "#3", "#4", "#5"]);
    let duplicate = result(2, Outcome::Duplicate(EventDuplicate::default()));
    assert_eq!(queue.acknowledge(duplicate), Acknowledged::Taken);
    assert_eq!(queue.acknowledged_until(), 3);
}

#[test]
fn a_hub_restored_from_a_backup_gets_what_waits_under_new_seqs() {
    let mut queue = Queue::new(9, Vec::new());
    for _ in 0..3 {
        queue.push(append("m"), None);
    }
    queue.next_batch(WIDE);
    assert_eq!(queue.resync(5, Vec::new()), Resync::Renumbered);
    assert_eq!(queue.waiting().map(|append| append.seq).collect::<Vec<_>>(), [6, 7, 8]);
    assert_eq!(shown(queue.next_batch(WIDE)), ["#6", "#7", "#8"]);
    assert_eq!(queue.next_seq(), 9);
}

#[test]
fn what_a_restored_hub_has_lost_goes_before_what_waits() {
    let kept = |seqs: std::ops::RangeInclusive<u64>| seqs.map(|seq| EventAppend { seq, ..append("kept") }).collect();
    let waiting = || {
        let mut queue = Queue::new(9, Vec::new());
        queue.push(append("m"), None);
        queue.next_batch(WIDE);
        queue
    };
    // All of it is still here: nothing gets another seq.
    let mut queue = waiting();
    assert!(queue.is_ahead_of(7) && !queue.is_ahead_of(9));
    let (taken, answered) = (queue.taken(), queue.answered());
    assert_eq!(queue.resync(7, kept(8..=9)), Resync::InStep);
    assert_eq!(shown(queue.next_batch(WIDE)), ["#8", "#9", "#10"]);
    assert_eq!((queue.taken(), queue.acknowledged()), (taken, 7));
    assert_eq!(answered, 0);
    // A part of it is: it goes on from what the hub says, without a hole.
    let mut queue = waiting();
    assert_eq!(queue.resync(5, kept(8..=9)), Resync::Renumbered);
    assert_eq!(queue.acknowledged(), 5);
    assert_eq!(shown(queue.next_batch(WIDE)), ["#6", "#7", "#8"]);
    assert_eq!(queue.next_seq(), 9);
}

#[test]
fn a_hub_that_has_more_than_was_sent_has_it_from_somebody_else() {
    let mut queue = Queue::new(0, Vec::new());
    queue.push(append("m"), None);
    assert_eq!(queue.resync(2, Vec::new()), Resync::Overtaken);
}

#[test]
fn a_rejected_event_is_answered_and_the_rest_goes_on() {
    let mut queue = Queue::new(0, Vec::new());
    let (answer, mut receipt) = oneshot::channel();
    queue.push(append("m"), Some(answer));
    queue.push(append("m"), None);
    queue.next_batch(WIDE);
    assert_eq!(
        queue.acknowledge(rejected(1, ErrorReason::EventTooLarge)),
        Acknowledged::Taken
    );
    assert_eq!(receipt.try_recv().unwrap().unwrap().seq, 1);
    assert_eq!(queue.acknowledge(stored(2)), Acknowledged::Taken);
    assert!(queue.is_empty());
}

#[test]
fn a_gap_and_a_fence_answer_nothing() {
    let mut queue = Queue::new(0, Vec::new());
    let (answer, mut receipt) = oneshot::channel();
    queue.push(append("m"), Some(answer));
    queue.next_batch(WIDE);
    assert_eq!(
        queue.acknowledge(rejected(1, ErrorReason::SeqGap)),
        Acknowledged::OutOfStep
    );
    assert!(matches!(
        queue.acknowledge(rejected(1, ErrorReason::Fenced)),
        Acknowledged::Fenced
    ));
    assert_eq!(
        queue.acknowledge(stored(2)),
        Acknowledged::OutOfStep,
        "an answer to another"
    );
    assert!(receipt.try_recv().is_err());
    assert_eq!(queue.events(), 1);
}

#[test]
fn deltas_are_dropped_when_their_room_is_full_and_the_rest_of_their_item_with_them() {
    let mut queue = Queue::new(0, Vec::new());
    let big = "x".repeat(DELTA_BYTES_MAX / 2);
    queue.push_delta(delta("m", 0, &big));
    queue.push_delta(delta("n", 0, &big));
    assert_eq!(queue.deltas.dropped(), 1, "the second has no room");
    queue.push_delta(delta("m", big.len(), "more"));
    assert_eq!(queue.deltas.dropped(), 1, "another item's still has");
    queue.push_delta(delta("n", big.len(), "more"));
    assert_eq!(queue.deltas.dropped(), 2, "what follows a dropped one is of no use");
    queue.push(append("n"), None);
    queue.push_delta(delta("n", 0, "y"));
    assert_eq!(queue.deltas.dropped(), 3, "another event of the item ends nothing");
    queue.push(completed("n"), None);
    queue.push_delta(delta("n", 0, "z"));
    assert_eq!(queue.deltas.dropped(), 3, "its completed event does");
}

#[test]
fn deltas_that_do_not_touch_are_not_joined() {
    let mut queue = Queue::new(0, Vec::new());
    queue.push_delta(delta("m", 0, "a"));
    queue.push_delta(delta("m", 2, "c"));
    queue.push_delta(delta("n", 3, "d"));
    assert_eq!(shown(queue.next_batch(WIDE)), ["m@0:a", "m@2:c", "n@3:d"]);
}

#[test]
fn sent_deltas_give_their_room_back() {
    let mut queue = Queue::new(0, Vec::new());
    for round in 0..8 {
        queue.push_delta(delta("m", round, &"x".repeat(DELTA_BYTES_MAX / 2)));
        queue.next_batch(WIDE);
    }
    assert_eq!(queue.deltas.dropped(), 0);
}
