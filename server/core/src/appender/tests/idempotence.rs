//! An append that is sent again is stored once.

use crate::appender::{Append, Claim, Condition, Error, Outcome, Refusal, Rejection, Wish};
use crate::event::{DedupeKey, Draft, SessionStep};
use crate::offset::{Index, Offset};
use crate::session::SessionFacts;
use crate::store::Stored;
use crate::testing::rig::{Rig, append, seq, stored};
use crate::testing::{draft, session, within, writer};

fn duplicate(offset: u64, index: u64) -> Outcome {
    Outcome::Duplicate {
        session: Some(session("a")),
        stored: Some(place(offset, index)),
    }
}

const fn place(offset: u64, index: u64) -> Stored {
    Stored {
        offset: Offset(offset),
        index: Some(Index(index)),
    }
}

fn refused(seq: u64) -> Append {
    let rejection = Rejection {
        refusal: Refusal::TooLarge,
        message: "too large".into(),
        field: String::new(),
        metadata: Vec::new(),
    };
    Append {
        seq,
        condition: Condition::Always,
        draft: Err(rejection),
    }
}

fn refusal(outcome: &Outcome) -> Refusal {
    let Outcome::Rejected(rejection) = outcome else {
        panic!("it was not rejected: {outcome:?}")
    };
    rejection.refusal
}

fn keyed(id: &str, key: &str) -> Draft {
    Draft {
        dedupe: Some(DedupeKey::of_key(key)),
        ..draft(id)
    }
}

#[tokio::test]
async fn k_11_a_seq_that_comes_again_is_stored_once_and_told_where() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    let first = rig
        .append(Some(&claim), vec![seq(1, draft("a")), seq(2, draft("a"))])
        .await
        .unwrap();
    assert_eq!(first.iter().map(stored).collect::<Vec<_>>(), [place(1, 1), place(2, 2)]);
    let again = vec![seq(1, draft("a")), seq(2, draft("a")), seq(3, draft("a"))];
    let again = rig.append(Some(&claim), again).await.unwrap();
    assert_eq!(again[..2], [duplicate(1, 1), duplicate(2, 2)]);
    assert_eq!(stored(&again[2]), place(3, 3));
    assert_eq!(rig.row().await.tail, Offset(4));
}

#[tokio::test]
async fn k_11_a_seq_twice_in_one_commit_is_stored_once_and_told_where() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    let commits = rig.commits();
    let one = rig
        .queue(Some(&claim), vec![seq(1, draft("a")), seq(1, draft("a"))])
        .await;
    let other = rig.queue(Some(&claim), vec![seq(1, draft("a"))]).await;
    let one = within(one).await.unwrap().unwrap();
    assert_eq!(stored(&one[0]), place(1, 1));
    assert_eq!(one[1], duplicate(1, 1));
    assert_eq!(within(other).await.unwrap().unwrap(), [duplicate(1, 1)]);
    assert_eq!((rig.commits() - commits, rig.row().await.tail), (1, Offset(2)));
}

#[tokio::test]
async fn k_11_a_dedupe_key_that_comes_again_is_stored_once_per_session() {
    let rig = Rig::new().await;
    let batch = vec![
        append(keyed("a", "k")),
        append(keyed("a", "k")),
        append(keyed("b", "k")),
    ];
    let outcomes = rig.append(None, batch).await.unwrap();
    assert_eq!(stored(&outcomes[0]), place(1, 1));
    assert_eq!(outcomes[1], duplicate(1, 1), "within one batch");
    assert_eq!(rig.commits(), 1, "noticed before the store does");
    assert_eq!(
        stored(&outcomes[2]),
        place(3, 1),
        "another session's key is another key"
    );
    let again = rig.append(None, vec![append(keyed("a", "k"))]).await.unwrap();
    assert_eq!(again, [duplicate(1, 1)], "across batches");
    let claim = rig.open("w").await;
    let swept = rig
        .append(Some(&claim), vec![seq(1, keyed("a", "k")), seq(2, keyed("a", "l"))])
        .await
        .unwrap();
    assert_eq!(swept[0], duplicate(1, 1), "from a second witness");
    assert_eq!(stored(&swept[1]).offset, Offset(4), "whose seq was consumed");
}

#[tokio::test]
async fn a_seq_beyond_the_next_is_a_gap_and_consumes_nothing() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    let outcomes = rig
        .append(Some(&claim), vec![seq(2, draft("a")), seq(3, draft("a"))])
        .await
        .unwrap();
    assert_eq!(outcomes.iter().map(refusal).collect::<Vec<_>>(), [Refusal::SeqGap; 2]);
    assert_eq!(rig.row().await.tail, Offset(0));
    let outcomes = rig
        .append(Some(&claim), vec![seq(1, draft("a")), seq(2, draft("a"))])
        .await
        .unwrap();
    assert_eq!(
        outcomes.iter().map(stored).collect::<Vec<_>>(),
        [place(1, 1), place(2, 2)]
    );
}

#[tokio::test]
async fn a_rejected_event_consumes_its_seq_and_the_batch_goes_on() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    let outcomes = rig
        .append(Some(&claim), vec![refused(1), seq(2, draft("a"))])
        .await
        .unwrap();
    assert_eq!(refusal(&outcomes[0]), Refusal::TooLarge);
    assert_eq!(stored(&outcomes[1]), place(1, 1));
    let again = rig.append(Some(&claim), vec![refused(1)]).await.unwrap();
    let nowhere = Outcome::Duplicate {
        session: None,
        stored: None,
    };
    assert_eq!(again, [nowhere], "it was answered before");
}

#[tokio::test]
async fn a_seq_of_nothing_is_refused() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    let outcomes = rig
        .append(Some(&claim), vec![seq(0, draft("a")), seq(1, draft("a"))])
        .await
        .unwrap();
    assert_eq!(refusal(&outcomes[0]), Refusal::InvalidField);
    assert_eq!(stored(&outcomes[1]), place(1, 1));
}

#[tokio::test]
async fn a_writers_seq_outlives_its_fences() {
    let rig = Rig::new().await;
    let first = rig.open("w").await;
    rig.append(Some(&first), vec![seq(1, draft("a")), refused(2)])
        .await
        .unwrap();
    let opening = rig.appender.open_writer(rig.log.clone(), writer("w"), Wish::default());
    let grant = within(opening).await.unwrap();
    assert_eq!((grant.fence, grant.last_seq), (first.fence + 1, 2));
    let renewing = rig.appender.renew_writer(
        rig.log.clone(),
        Claim {
            fence: grant.fence,
            ..first
        },
        Wish::default(),
    );
    assert_eq!(within(renewing).await.unwrap().last_seq, 2);
}

#[tokio::test]
async fn a_replaced_writer_is_fenced_even_in_the_commit_that_replaces_it() {
    let rig = Rig::new().await;
    let old = rig.open("w").await;
    let before = rig.queue(Some(&old), vec![seq(1, draft("a"))]).await;
    let opening = rig.appender.open_writer(rig.log.clone(), writer("w"), Wish::default());
    let (grant, late) = within(futures_util::future::join(
        opening,
        rig.queue(Some(&old), vec![seq(2, draft("a"))]),
    ))
    .await;
    let grant = grant.unwrap();
    let fenced = Err(Error::Fenced {
        given: old.fence,
        current: grant.fence,
    });
    assert!(within(before).await.unwrap().is_ok());
    assert_eq!((grant.last_seq, within(late).await.unwrap()), (1, fenced.clone()));
    assert_eq!(rig.append(Some(&old), vec![seq(2, draft("a"))]).await, fenced);
    let new = Claim {
        fence: grant.fence,
        ..old
    };
    assert!(rig.append(Some(&new), vec![seq(2, draft("a"))]).await.is_ok());
    assert_eq!(rig.row().await.tail, Offset(3));
}

#[tokio::test]
async fn fences_come_from_one_counter_and_only_opened_writers_have_one() {
    let rig = Rig::new().await;
    let (one, other) = (rig.open("v").await, rig.open("w").await);
    assert!(other.fence > one.fence);
    let stranger = Claim {
        writer: writer("x"),
        fence: other.fence,
    };
    assert_eq!(
        rig.append(Some(&stranger), vec![seq(1, draft("a"))]).await,
        Err(Error::WriterUnknown)
    );
    let renewing = rig.appender.renew_writer(rig.log.clone(), stranger, Wish::default());
    assert_eq!(within(renewing).await, Err(Error::WriterUnknown));
}

#[tokio::test]
async fn a_change_that_changes_nothing_is_not_stored() {
    let rig = Rig::new().await;
    let titled = |title: &str| Append {
        condition: Condition::ChangesFacts,
        ..append(Draft {
            session_step: SessionStep::Changed(Box::new(SessionFacts {
                title: Some(title.into()),
                ..SessionFacts::default()
            })),
            ..draft("a")
        })
    };
    let batch = vec![titled("x"), titled("x"), titled("y")];
    let outcomes = rig.append(None, batch).await.unwrap();
    let unchanged = Outcome::Unchanged { session: session("a") };
    assert_eq!((stored(&outcomes[0]), &outcomes[1]), (place(1, 1), &unchanged));
    assert_eq!(stored(&outcomes[2]), place(2, 2));
    assert_eq!(rig.append(None, vec![titled("y")]).await.unwrap(), [unchanged]);
}
