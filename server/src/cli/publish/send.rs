//! The two ways to the hub: calls, and a writer's stream.
//!
//! Believe this: both answer every entry in its order. Without a writer a call holds what is ready, so a slow source is sent event by
//! event and a fast one in bulk.

use bellboard_sdk::Writer;
use bellboard_sdk::v1::{AppendEventsRequest, EventAppend};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use prost::Message as _;

use super::input::{Entry, Input};
use super::report::{Place, Report};
use crate::cli::hub::Hub;

/// Most events in one call; the hub takes 1,000.
const CALL_EVENTS_MAX: usize = 500;
/// A call with so many bytes is full; with one more event it is still far from the 4 MiB that the hub takes.
const CALL_BYTES_MAX: usize = 1024 * 1024;
/// Most answers waited for at a time. The writer itself holds back before.
const WAITING_MAX: usize = 20_000;

/// Without a writer.
pub(super) async fn by_calls(hub: &Hub, input: &mut Input, report: &mut Report<'_>) -> Result<(), crate::cli::Error> {
    while let Some(entry) = input.next().await {
        let (places, appends, bad) = gather(entry?, input)?;
        if !appends.is_empty() {
            let request = AppendEventsRequest {
                appends,
                ..AppendEventsRequest::default()
            };
            let answer = hub
                .client
                .append_events(request)
                .await
                .map_err(|error| hub.error(error))?;
            for (place, result) in places.into_iter().zip(answer.results) {
                report.result(place, result)?;
            }
        }
        if let Some((place, problem)) = bad {
            report.bad(place, &problem)?;
        }
        report.flush()?;
        if report.is_over() {
            break;
        }
    }
    Ok(())
}

type Gathered = (Vec<Place>, Vec<EventAppend>, Option<(Place, super::json::Problem)>);

/// Everything for one call, up to a line that is none.
fn gather(first: Entry, input: &mut Input) -> Result<Gathered, crate::cli::Error> {
    let (mut places, mut appends, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut next = Some(first);
    while let Some(entry) = next.take() {
        let place = Place::of(&entry);
        match entry.append {
            Err(problem) => return Ok((places, appends, Some((place, problem)))),
            Ok(append) => {
                bytes += append.encoded_len();
                places.push(place);
                appends.push(append);
            }
        }
        if appends.len() < CALL_EVENTS_MAX && bytes < CALL_BYTES_MAX {
            next = input.ready().transpose()?;
        }
    }
    Ok((places, appends, None))
}

/// With a writer.
pub(super) async fn by_stream(
    hub: &Hub,
    writer: Writer,
    input: &mut Input,
    report: &mut Report<'_>,
) -> Result<(), crate::cli::Error> {
    let mut waiting = FuturesOrdered::new();
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            Some((place, answer)) = waiting.next() => {
                let answer: Result<_, bellboard_sdk::Error> = answer;
                let result = answer.map_err(|error| hub.error(error))?;
                report.result(place, result)?;
                if report.is_over() {
                    open = false;
                }
                if waiting.is_empty() {
                    report.flush()?;
                }
            }
            entry = input.next(), if open && waiting.len() < WAITING_MAX => {
                let Some(entry) = entry.transpose()? else {
                    open = false;
                    continue;
                };
                let place = Place::of(&entry);
                match entry.append {
                    Ok(append) => {
                        let ticket = writer.append(append).await.map_err(|error| hub.error(error))?;
                        waiting.push_back(async move { (place, ticket.await) });
                    }
                    Err(problem) => {
                        while let Some((place, answer)) = waiting.next().await {
                            report.result(place, answer.map_err(|error| hub.error(error))?)?;
                        }
                        report.bad(place, &problem)?;
                        report.flush()?;
                        open = !report.is_over();
                    }
                }
            }
            else => break,
        }
    }
    writer.close().await.map_err(|error| hub.error(error))?;
    Ok(())
}
