//! History in pages, and the seam from it to the live stream.

use bellboard_proto::v1::{self, ErrorReason};
use bellboard_tests::events::{on, resume, session, text};
use bellboard_tests::process::DataDir;

fn list(order: v1::EventOrder) -> v1::ListEventsRequest {
    v1::ListEventsRequest {
        interests: vec![session("s", v1::Detail::Content)],
        order: order.into(),
        page_size: 7,
        ..v1::ListEventsRequest::default()
    }
}

#[tokio::test]
async fn pages_of_both_orders_hold_everything_once() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    for number in 0..30 {
        client
            .append(vec![on("noise").says("n"), on("s").says(&number.to_string())])
            .await;
    }
    for order in [v1::EventOrder::Ascending, v1::EventOrder::Descending] {
        let mut request = list(order);
        let mut offsets = Vec::new();
        let mut resume_token = String::new();
        for page_number in 0.. {
            let page = client
                .events
                .clone()
                .list_events(request.clone())
                .await
                .unwrap()
                .into_inner();
            assert!(page.events.len() <= 7);
            offsets.extend(page.events.iter().map(|event| event.offset));
            resume_token = page.resume_token;
            if page_number == 1 {
                // Said while the pages are turned: not in the list, but first on the stream that continues it.
                client.say("s", &format!("meanwhile {order:?}")).await;
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let mut sorted = offsets.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if order == v1::EventOrder::Descending {
            sorted.reverse();
        }
        assert_eq!(offsets, sorted, "each once, in order");
        let mut stream = client.subscribe(resume(&resume_token, list(order).interests)).await;
        assert_eq!(stream.subscribed().await.answer(), v1::Answer::Resumed);
        let followed: Vec<_> = stream.caught_up().await.iter().map(text).collect();
        assert_eq!(
            followed,
            [format!("meanwhile {order:?}")],
            "nothing is missed or repeated at the seam"
        );
    }
}

#[tokio::test]
async fn a_page_token_of_another_list_and_a_negative_page_size_are_refused_by_name() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client
        .append((0..9).map(|number| on("s").says(&number.to_string())).collect())
        .await;
    let page = client
        .events
        .clone()
        .list_events(list(v1::EventOrder::Ascending))
        .await
        .unwrap()
        .into_inner();
    let other = v1::ListEventsRequest {
        page_token: page.next_page_token,
        ..list(v1::EventOrder::Descending)
    };
    let refused = client
        .events
        .clone()
        .list_events(other)
        .await
        .expect_err("another list's page token");
    assert_eq!(crate::reset::reason(&refused), ErrorReason::PageTokenInvalid);
    let negative = v1::ListEventsRequest {
        page_size: -1,
        ..list(v1::EventOrder::Ascending)
    };
    let refused = client
        .events
        .clone()
        .list_events(negative)
        .await
        .expect_err("a negative page size");
    assert!(refused.message().starts_with("page_size "), "{}", refused.message());
}

#[tokio::test]
async fn sessions_are_listed_in_pages_by_activity() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    for number in 0..25 {
        client.say(&format!("s{number}"), "x").await;
    }
    client.append(vec![on("s3").says("newest"), on("s4").closes()]).await;
    let mut request = v1::ListSessionsRequest {
        page_size: 10,
        ..v1::ListSessionsRequest::default()
    };
    let mut ids = Vec::new();
    loop {
        let page = client
            .events
            .clone()
            .list_sessions(request.clone())
            .await
            .unwrap()
            .into_inner();
        ids.extend(page.sessions.into_iter().map(|session| session.session_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(
        (ids.len(), ids[0].as_str(), ids[1].as_str()),
        (24, "s3", "s24"),
        "the closed one is left out"
    );
}
