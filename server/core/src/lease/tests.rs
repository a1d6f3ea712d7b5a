//! Leases as a table of times: who lives when, as one process sees it.

use std::time::Duration;

use super::*;
use crate::testing::writer;

const LEASE: Duration = limits::LEASE_DURATION;
const SECOND: Duration = Duration::from_secs(1);

fn sign(id: &str, fence: u64, last_seq: u64, beat: u64) -> Sign {
    Sign {
        writer: writer(id),
        fence,
        last_seq,
        beat,
    }
}

/// Time goes on as it does with a process that looks.
fn pass(leases: &mut Leases, from: Duration, until: Duration) -> Duration {
    let mut now = from;
    while now < until {
        now = (now + limits::LEASE_TICK).min(until);
        leases.ended(now, Nodes::One);
    }
    until
}

#[test]
fn a_lease_lives_from_its_last_sign_and_not_longer() {
    let mut leases = Leases::default();
    leases.begin(&writer("w"), 1, 0, SECOND);
    let now = pass(&mut leases, SECOND, SECOND + LEASE - SECOND / 2);
    assert!(leases.lives(sign("w", 1, 0, 0), now, Nodes::One));
    leases.hear(&writer("w"), 1, now);
    let now = pass(&mut leases, now, now + LEASE - SECOND / 2);
    assert_eq!(leases.ended(now, Nodes::One), []);
    assert_eq!(leases.left(&writer("w"), now), Some(SECOND / 2));
    let now = pass(&mut leases, now, now + SECOND / 2);
    assert_eq!(leases.ended(now, Nodes::One), [writer("w")]);
    assert!(
        !leases.lives(sign("w", 1, 0, 0), now, Nodes::One),
        "an old sign is none"
    );
    leases.forget(&writer("w"));
    assert_eq!(leases.ended(now, Nodes::One), []);
}

#[test]
fn an_old_fence_renews_nothing() {
    let mut leases = Leases::default();
    leases.begin(&writer("w"), 2, 0, SECOND);
    let now = pass(&mut leases, SECOND, LEASE);
    leases.hear(&writer("w"), 1, now);
    leases.hear(&writer("stranger"), 1, now);
    let now = pass(&mut leases, now, SECOND + LEASE);
    assert_eq!(leases.ended(now, Nodes::One), [writer("w")]);
}

#[test]
fn what_another_process_wrote_is_a_sign_of_life_and_an_older_row_is_not() {
    for newer in [sign("w", 2, 9, 3), sign("w", 2, 8, 4), sign("w", 3, 8, 3)] {
        let mut leases = Leases::default();
        leases.observe(sign("w", 2, 8, 3), SECOND);
        let now = pass(&mut leases, SECOND, LEASE);
        leases.observe(newer.clone(), now);
        let now = pass(&mut leases, now, SECOND + LEASE);
        assert!(leases.lives(newer, now, Nodes::Several));
        leases.observe(sign("w", 1, 50, 50), now);
        let now = pass(&mut leases, now, LEASE + LEASE + limits::LEASE_BEAT - SECOND);
        assert_eq!(
            leases.ended(now, Nodes::Several),
            [],
            "who hears it may be about to say so"
        );
        let now = pass(&mut leases, now, now + SECOND);
        assert_eq!(leases.ended(now, Nodes::Several), [writer("w")]);
    }
}

#[test]
fn a_look_that_comes_late_gives_every_lease_a_whole_period() {
    let mut leases = Leases::default();
    leases.begin(&writer("w"), 1, 0, SECOND);
    let now = SECOND + LEASE + limits::LEASE_TICK + SECOND;
    assert!(leases.lives(sign("w", 1, 0, 0), now, Nodes::One), "the machine slept");
    let now = pass(&mut leases, now, now + LEASE - SECOND);
    assert!(leases.lives(sign("w", 1, 0, 0), now, Nodes::One));
    let now = pass(&mut leases, now, now + SECOND);
    assert_eq!(leases.ended(now, Nodes::One), [writer("w")], "only once");
}

#[test]
fn who_is_heard_here_is_told_to_others_a_few_times_in_a_period() {
    let mut leases = Leases::default();
    let mut beats = 0;
    leases.begin(&writer("w"), 1, 0, SECOND);
    let mut now = SECOND;
    while now < SECOND + LEASE {
        now += SECOND;
        leases.hear(&writer("w"), 1, now);
        let silent = leases.silent_rows(now);
        beats += silent.len();
        leases.beaten(&silent, now);
    }
    assert_eq!(beats, 3);
    // Who appends needs no beat: its row tells.
    leases.hear(&writer("w"), 1, now);
    leases.committed(&writer("w"), 1, 7, now + limits::LEASE_BEAT);
    assert_eq!(leases.silent_rows(now + limits::LEASE_BEAT), []);
    // Nor who says nothing.
    assert_eq!(leases.silent_rows(now + 3 * limits::LEASE_BEAT), []);
    leases.observe(sign("w", 1, 7, 3), now + limits::LEASE_BEAT);
    let left = leases.left(&writer("w"), now + LEASE - SECOND);
    assert_eq!(left, Some(SECOND), "its own beats are no sign of another's");
}
