//! The page that a Prometheus reads, on a port of its own.
//!
//! Believe this: it takes no key, so it listens on loopback unless told otherwise, tells nothing about anybody in particular, and answers
//! only requests that name a host of its own: a web page cannot read it behind its user's back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bellboard_core::limits;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::{Sources, text};
use crate::auth::Rules;
use crate::auth::rules::Scheme;
use crate::serve::connections::ACCEPT_PAUSE;
use crate::serve::settings::Reach;
use crate::serve::timer::Timer;

/// Where the metrics are.
const PATH: &str = "/metrics";

/// The page, and whom it answers.
#[derive(Debug)]
pub(in crate::serve) struct Page {
    sources: Arc<Sources>,
    /// Which hosts a request may name; none where it may come from anywhere.
    rules: Option<Rules>,
    timer: Timer,
}

/// Answers until it is dropped.
pub(in crate::serve) async fn serve(socket: TcpListener, page: Page) {
    let page = Arc::new(page);
    let permits = Arc::new(Semaphore::new(limits::METRICS_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, socket.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let page = page.clone();
                connections.spawn(async move {
                    page.connection(stream).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "no connection for metrics can be accepted; trying again");
                page.timer.wait(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Page {
    pub(in crate::serve) fn new(sources: Sources, listen: SocketAddr, reach: Reach, timer: Timer) -> Page {
        let rules = match reach {
            Reach::Loopback => Some(Rules::new(listen, Scheme::Http, Vec::new(), Vec::new())),
            Reach::Anywhere => None,
        };
        Page {
            sources: Arc::new(sources),
            rules,
            timer,
        }
    }

    /// One question, one answer.
    async fn connection(&self, stream: TcpStream) {
        let answer = service_fn(async |request| Ok::<_, Infallible>(self.answer(&request)));
        let mut builder = http1::Builder::new();
        builder
            .timer(self.timer.clone())
            .header_read_timeout(limits::REQUEST_HEAD_MAX)
            .max_buf_size(limits::HTTP1_BUFFER_BYTES_MAX)
            .keep_alive(false);
        tokio::select! {
            ended = builder.serve_connection(TokioIo::new(stream), answer) => if let Err(error) = ended {
                debug!(%error, "a connection for metrics broke");
            },
            () = self.timer.wait(limits::REQUEST_ARRIVAL_MAX) => debug!("a connection for metrics is cut: it takes too long"),
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let refused = |rules: &Rules| rules.check(request.uri(), request.headers()).err();
        if let Some(refusal) = self.rules.as_ref().and_then(refused) {
            debug!(?refusal, "a request for metrics was refused");
            return plain(StatusCode::FORBIDDEN, "this host or origin may not read metrics here\n");
        }
        if request.uri().path() != PATH {
            return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
        }
        if request.method() != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "GET /metrics\n");
        }
        match text::render(&self.sources) {
            Ok(text) => response(StatusCode::OK, text::CONTENT_TYPE, text),
            Err(error) => {
                warn!(%error, "the metrics cannot be written");
                plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the metrics cannot be written; see the hub's log\n",
                )
            }
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.to_owned())
}

fn response(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
