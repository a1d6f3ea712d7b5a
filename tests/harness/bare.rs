//! HTTP/2 written by hand, frame by frame: for what even [`crate::raw`] is too polite to say.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::Process;
use crate::within;

/// The kinds of frames that are sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of a request.
    Data = 0,
    /// A request's head.
    Headers = 1,
    /// The end of a call, from its peer.
    Reset = 3,
    /// What the peer wishes.
    Settings = 4,
    /// A question that must be answered.
    Ping = 6,
    /// More room.
    WindowUpdate = 8,
    /// More of a head.
    Continuation = 9,
}

/// The flag of a head that is whole.
pub const END_HEADERS: u8 = 4;

/// A connection of which nothing is read unless it is asked for.
#[derive(Debug)]
pub struct Bare {
    socket: TcpStream,
}

/// One frame.
///
/// # Panics
/// When it is too long for one.
#[must_use]
pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    assert!(length[0] == 0, "it is too long for one frame");
    let head = [&length[1..], &[kind as u8, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Header lines as HPACK has them where nothing is remembered.
///
/// # Panics
/// When a name is longer than 126 bytes.
#[must_use]
pub fn lines(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            integer(text.len(), &mut block);
            block.extend(text.as_bytes());
        }
    }
    block
}

fn integer(mut number: usize, into: &mut Vec<u8>) {
    if number < 127 {
        into.push(number.to_le_bytes()[0]);
        return;
    }
    into.push(127);
    number -= 127;
    while number >= 128 {
        into.push(number.to_le_bytes()[0] & 127 | 128);
        number >>= 7;
    }
    into.push(number.to_le_bytes()[0]);
}

impl Bare {
    /// Connects, and says HTTP/2's first words.
    pub async fn connect(hub: &Process) -> Bare {
        let address = hub.url.trim_start_matches("http://");
        let mut socket = TcpStream::connect(address).await.expect("the hub's port");
        let words = [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            &frame(Kind::Settings, 0, 0, &[]),
        ]
        .concat();
        socket.write_all(&words).await.expect("the hub listens");
        Bare { socket }
    }

    /// Sends what the hub takes of these bytes, again and again, until it ends the connection or takes no more for a while. Returns how
    /// much it took. Nothing is read.
    pub async fn flood(&mut self, bytes: &[u8], most: usize) -> usize {
        let mut taken = 0;
        while taken < most {
            let patience = std::time::Duration::from_millis(500);
            match tokio::time::timeout(patience, self.socket.write_all(bytes)).await {
                Ok(Ok(())) => taken += bytes.len(),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        taken
    }

    /// Sends this.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("the hub to take a few bytes", self.socket.write_all(bytes)).await
    }

    /// Reads until the hub has ended the connection.
    pub async fn over(mut self) {
        let mut come = vec![0; 16 * 1024];
        let end = async { while self.socket.read(&mut come).await.is_ok_and(|read| read > 0) {} };
        within("the connection to be ended", end).await;
    }
}
