//! opencode's HTTP interface, as far as the connector reads it.
//!
//! The one thing to believe: every call but the stream ends in bounded time with a bounded answer. opencode itself has been
//! seen to leave a call unanswered for minutes.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

/// How long opencode may take to accept a connection: it is on this machine, or nearly.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call may take, answer included. A folder's first call starts that folder's instance, which takes seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the head of the stream may take.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer, in bytes; parsed it takes several times that. A session's record beyond it is read from its newest
/// messages only.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How many of a session's newest messages are read when its whole history is not to be had.
const MESSAGES_MAX: u32 = 400;

/// Most sessions that are listed, newest first.
pub(super) const SESSIONS_MAX: u32 = 5_000;

/// Who opencode takes a caller for when it was given no name.
const USER: &str = "opencode";

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is no URL.
    #[error("{0} is no address of an opencode server; give one like http://127.0.0.1:4096")]
    Address(String),
    /// The server wants another password.
    #[error("opencode refuses the password; give the one that it was started with (OPENCODE_SERVER_PASSWORD)")]
    Password,
    /// The server has no such thing.
    #[error("opencode has none of that")]
    NotFound,
    /// The server answered something else.
    #[error("opencode answered {0}")]
    Status(u16),
    /// The server was not reached, or did not answer in time.
    #[error("opencode is not reached, or too slow")]
    Unreached(#[source] reqwest::Error),
    /// The answer came too late.
    #[error("opencode took too long to answer")]
    Late,
    /// The answer is longer than can be taken.
    #[error("opencode's answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// The answer is no JSON.
    #[error("opencode's answer is no JSON")]
    Malformed(#[source] serde_json::Error),
}

/// Calls one opencode server.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: reqwest::Client,
    address: String,
    password: Option<String>,
}

impl Api {
    pub(super) fn new(address: &str, password: Option<String>) -> Result<Api, Error> {
        let trimmed = address.trim_end_matches('/');
        let http = reqwest::Url::parse(trimmed).is_ok_and(|url| url.scheme() == "http" && url.host().is_some());
        if !http {
            return Err(Error::Address(address.to_owned()));
        }
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // opencode is reached directly; a proxy of the environment is for other machines.
            .no_proxy()
            .build()
            .map_err(Error::Unreached)?;
        Ok(Api {
            client,
            address: trimmed.to_owned(),
            password,
        })
    }

    /// Opens the stream of all events. It has no end of its own.
    pub(super) async fn stream(&self) -> Result<impl Stream<Item = reqwest::Result<Bytes>> + use<>, Error> {
        let sent = self
            .request(Method::GET, "/global/event")
            .header("accept", "text/event-stream")
            .send();
        let answer = tokio::time::timeout(STREAM_TIMEOUT, sent)
            .await
            .map_err(|_| Error::Late)?;
        Ok(checked(answer.map_err(Error::Unreached)?)?.bytes_stream())
    }

    /// The folder that the server was started in.
    pub(super) async fn home(&self) -> Result<Value, Error> {
        self.get("/path").await
    }

    /// All sessions that are kept, of all projects where the server can tell them.
    pub(super) async fn sessions(&self) -> Result<Value, Error> {
        match self
            .get(&format!("/experimental/session?archived=true&limit={SESSIONS_MAX}"))
            .await
        {
            Err(Error::NotFound | Error::Status(400)) => self.get(&format!("/session?limit={SESSIONS_MAX}")).await,
            answer => answer,
        }
    }

    pub(super) async fn session(&self, session: &str) -> Result<Value, Error> {
        self.get(&format!("/session/{}", encoded(session))).await
    }

    /// The newest messages of a session, oldest first.
    pub(super) async fn messages(&self, session: &str) -> Result<Value, Error> {
        self.get(&format!("/session/{}/message?limit={MESSAGES_MAX}", encoded(session)))
            .await
    }

    pub(super) async fn history(&self, request: &Value) -> Result<Value, Error> {
        self.answer(self.request(Method::POST, "/sync/history").json(request))
            .await
    }

    pub(super) async fn status(&self, directory: &str) -> Result<Value, Error> {
        self.get(&format!("/session/status?directory={}", encoded(directory)))
            .await
    }

    pub(super) async fn permissions(&self, directory: &str) -> Result<Value, Error> {
        self.get(&format!("/permission?directory={}", encoded(directory))).await
    }

    pub(super) async fn questions(&self, directory: &str) -> Result<Value, Error> {
        self.get(&format!("/question?directory={}", encoded(directory))).await
    }

    async fn get(&self, path: &str) -> Result<Value, Error> {
        self.answer(self.request(Method::GET, path)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.address));
        match &self.password {
            Some(password) => request.basic_auth(USER, Some(password)),
            None => request,
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, Error> {
        let answered = async {
            let mut answer = checked(request.send().await.map_err(Error::Unreached)?)?;
            let mut body = BytesMut::new();
            while let Some(chunk) = answer.chunk().await.map_err(Error::Unreached)? {
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    return Err(Error::TooLong);
                }
                body.extend_from_slice(&chunk);
            }
            serde_json::from_slice(&body).map_err(Error::Malformed)
        };
        tokio::time::timeout(CALL_TIMEOUT, answered)
            .await
            .map_err(|_| Error::Late)?
    }
}

fn checked(answer: Response) -> Result<Response, Error> {
    match answer.status().as_u16() {
        200..=299 => Ok(answer),
        401 | 403 => Err(Error::Password),
        404 => Err(Error::NotFound),
        status => Err(Error::Status(status)),
    }
}

/// A text as a part of a path or a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_any_name_are_asked_for() {
        assert_eq!(encoded("/a b/é&x=1"), "%2Fa%20b%2F%C3%A9%26x%3D1");
    }

    #[test]
    fn an_address_that_is_none_is_refused_at_once() {
        for address in ["127.0.0.1:4096", "https://127.0.0.1", "file:///etc", ""] {
            assert!(matches!(Api::new(address, None), Err(Error::Address(_))), "{address}");
        }
        assert!(Api::new("http://127.0.0.1:4096/", None).is_ok());
    }
}
