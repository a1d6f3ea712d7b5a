use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::poll;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// What a stream was asked, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Write(Vec<u8>),
    Flush,
    Shutdown,
}

/// A stream that notes what it is asked, takes only so much, and may be broken.
#[derive(Debug)]
struct Noted {
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Bytes that it still takes.
    room: Arc<AtomicUsize>,
    waiting: Arc<Mutex<Option<Waker>>>,
}

impl AsyncRead for Noted {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Noted {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let room = self.room.load(Ordering::Relaxed);
        match room {
            0 => {
                *self.waiting.lock().unwrap() = Some(context.waker().clone());
                Poll::Pending
            }
            BROKEN => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            _ => {
                let taken = bytes.len().min(room);
                self.room.fetch_sub(taken, Ordering::Relaxed);
                self.asked.lock().unwrap().push(Asked::Write(bytes[..taken].to_vec()));
                Poll::Ready(Ok(taken))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.asked.lock().unwrap().push(Asked::Flush);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.asked.lock().unwrap().push(Asked::Shutdown);
        Poll::Ready(Ok(()))
    }
}

const PLENTY: usize = usize::MAX / 2;
const BROKEN: usize = usize::MAX;

struct Rig {
    corked: Corked<Noted>,
    turns: Turns<Noted>,
    asked: Arc<Mutex<Vec<Asked>>>,
    room: Arc<AtomicUsize>,
    waiting: Arc<Mutex<Option<Waker>>>,
}

fn rig(room: usize) -> Rig {
    let (asked, waiting) = (Arc::default(), Arc::default());
    let room = Arc::new(AtomicUsize::new(room));
    let noted = Noted {
        asked: Arc::clone(&asked),
        room: room.clone(),
        waiting: Arc::clone(&waiting),
    };
    let (corked, turns) = corked(noted);
    Rig {
        corked,
        turns,
        asked,
        room,
        waiting,
    }
}

impl Rig {
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// One turn of a connection that writes this, each piece flushed, and then waits.
    async fn turn(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.corked.write_all(piece).await.unwrap();
            self.corked.flush().await.unwrap();
        }
        self.idle().await;
    }

    async fn idle(&self) {
        let mut connection = std::pin::pin!(std::future::pending::<()>());
        assert!(poll!(std::pin::pin!(self.turns.take(connection.as_mut()))).is_pending());
    }
}

#[tokio::test]
async fn what_two_turns_write_leaves_in_one_piece() {
    let mut rig = rig(PLENTY);
    rig.turn(&[b"one ", b"two "]).await;
    assert_eq!(rig.asked(), [], "the others of this turn are waited for");
    rig.turn(&[b"three"]).await;
    assert_eq!(rig.asked(), [Asked::Write(b"one two three".to_vec()), Asked::Flush]);
    rig.idle().await;
    rig.idle().await;
    assert_eq!(rig.asked(), [], "nothing is left");
}

#[tokio::test]
async fn a_turn_that_leaves_something_asks_for_the_next_one() {
    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let woken = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut rig = rig(PLENTY);
    rig.corked.write_all(b"x").await.unwrap();
    let turn = || {
        let mut connection = std::pin::pin!(std::future::pending::<()>());
        let turn = std::pin::pin!(rig.turns.take(connection.as_mut()));
        assert!(turn.poll(&mut Context::from_waker(&waker)).is_pending());
        woken.0.swap(0, Ordering::Relaxed)
    };
    assert_eq!(turn(), 1);
    assert_eq!(turn(), 0, "all is out");
    assert_eq!(rig.asked(), [Asked::Write(b"x".to_vec()), Asked::Flush]);
}

#[tokio::test]
async fn no_more_is_kept_than_the_limit_and_all_of_it_in_order() {
    let mut rig = rig(0);
    let piece = vec![7; limits::CORK_PASSES_BYTES - 1];
    let mut taken = 0;
    while let Poll::Ready(wrote) = poll!(std::pin::pin!(rig.corked.write(&piece))) {
        taken += wrote.unwrap();
        assert!(taken <= limits::CORK_BYTES_MAX, "{taken} bytes are kept");
    }
    assert!(
        taken + piece.len() > limits::CORK_BYTES_MAX,
        "it was held back too early"
    );
    // The peer takes a little, and a little more: nothing is lost or doubled on the way.
    let mut got = 0;
    for room in [1, 1000, PLENTY] {
        rig.room.store(room, Ordering::Relaxed);
        rig.waiting.lock().unwrap().take().expect("somebody waits").wake();
        rig.idle().await;
        rig.idle().await;
        for asked in rig.asked() {
            match asked {
                Asked::Write(bytes) => got += bytes.len(),
                Asked::Flush | Asked::Shutdown => {}
            }
        }
    }
    assert_eq!(got, taken);
}

#[tokio::test]
async fn large_pieces_pass_by_unless_something_is_before_them() {
    let mut rig = rig(PLENTY);
    let large = vec![1; limits::CORK_PASSES_BYTES];
    rig.corked.write_all(&large).await.unwrap();
    assert_eq!(rig.asked(), [Asked::Write(large.clone())]);
    rig.corked.write_all(b"small").await.unwrap();
    rig.corked.write_all(&large).await.unwrap();
    rig.idle().await;
    rig.idle().await;
    let together = [b"small", &large[..]].concat();
    assert_eq!(rig.asked(), [Asked::Write(together), Asked::Flush]);
}

#[tokio::test]
async fn the_end_leaves_nothing_behind() {
    let mut rig = rig(PLENTY);
    rig.corked.write_all(b"goodbye").await.unwrap();
    rig.corked.shutdown().await.unwrap();
    let all = [Asked::Write(b"goodbye".to_vec()), Asked::Flush, Asked::Shutdown];
    assert_eq!(rig.asked(), all);
}

#[tokio::test]
async fn what_fails_behind_the_scenes_is_told_once_to_whoever_asks_next() {
    let mut rig = rig(BROKEN);
    rig.turn(&[b"lost"]).await;
    rig.idle().await;
    let read = rig.corked.read(&mut [0; 4]).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

    let mut rig = self::rig(BROKEN);
    rig.turn(&[b"lost"]).await;
    rig.idle().await;
    let written = rig.corked.write(b"more").await;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn streams_that_are_ready_together_share_one_write() {
    let (near, mut far) = tokio::io::duplex(4096);
    let (mut corked, turns) = corked(near);
    let (frames, mut written) = tokio::sync::mpsc::channel::<u8>(16);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let connection = async move {
            while let Some(frame) = written.recv().await {
                corked.write_all(&[frame]).await.unwrap();
                corked.flush().await.unwrap();
            }
        };
        turns.take(std::pin::pin!(connection)).await;
    });
    // The connection is asked to write right behind the first of them.
    for frame in 0..10 {
        let frames = frames.clone();
        tasks.spawn(async move { frames.send(frame).await.unwrap() });
    }
    let mut first = [0; 64];
    let together = far.read(&mut first).await.unwrap();
    assert_eq!(together, 10, "they came one by one");
}
