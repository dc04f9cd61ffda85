//! A link at work: one task reads and opens, another seals and writes.
//!
//! Promise: the engine hears of the link's end exactly once, also if the task is dropped; frames
//! that were handed over before a close are written if the other side takes them in time.

use super::noise::{Opener, Sealer};
use super::queue::{Next, SendQueue};
use super::refused::{Refused, close_frame};
use super::websocket::{CLOSE_PAUSE, broken, drain, next};
use crate::inbox::Inbox;
use folkmoot_core::engine::Input;
use folkmoot_core::id::LinkId;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Moves frames until the link ends; says why it did.
pub(super) async fn pump<S>(
    socket: WebSocketStream<S>,
    link: LinkId,
    keys: (Sealer, Opener),
    queue: Arc<SendQueue>,
    inbox: &Inbox,
) -> Refused
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, mut stream) = socket.split();
    let end = End(queue.clone());
    let writer = tokio::spawn(write(sink, keys.0, queue.clone()));
    let why = tokio::select! {
        why = read(&mut stream, link, keys.1, inbox) => why,
        () = queue.closing() => Refused::Ended,
    };
    queue.close(why.farewell());
    drop(end);
    // A socket that is closed with unread bytes in it would take back what was said last.
    let _ = tokio::time::timeout(CLOSE_PAUSE, drain(&mut stream)).await;
    // The writer has ended by now, or ends soon; if it panicked there is nothing left to do.
    let _ = writer.await;
    why
}

async fn read<S>(
    stream: &mut SplitStream<WebSocketStream<S>>,
    link: LinkId,
    mut opener: Opener,
    inbox: &Inbox,
) -> Refused
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let sealed = match next(stream).await {
            Ok(sealed) => sealed,
            Err(why) => return why,
        };
        let Ok(frame) = opener.open(&sealed) else { return Refused::Forged };
        if inbox.send(Input::Frame(link, frame)).await.is_err() {
            return Refused::Closing;
        }
    }
}

async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut sealer: Sealer,
    queue: Arc<SendQueue>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let writing = async {
        let mut frames = Vec::new();
        loop {
            match queue.next(&mut frames).await {
                Next::Write { more } => {
                    let (count, mut bytes) = (frames.len(), 0);
                    for frame in frames.drain(..) {
                        bytes += frame.len();
                        sink.feed(Message::Binary(sealer.seal(&frame))).await?;
                    }
                    if !more {
                        sink.flush().await?;
                    }
                    queue.written(count, bytes);
                }
                Next::End(farewell) => {
                    let frame = farewell.map(|(code, reason)| close_frame(code, reason));
                    return sink.send(Message::Close(frame)).await;
                }
            }
        }
    };
    let grace = async {
        queue.closing().await;
        tokio::time::sleep(CLOSE_PAUSE).await;
    };
    let result = tokio::select! {
        result = writing => result,
        () = grace => Ok(()),
    };
    if let Err(error) = result {
        tracing::debug!("a link cannot be written to: {}", broken(error));
    }
    queue.close(None);
}

/// Tells the engine that the link is gone, whatever happens.
struct End(Arc<SendQueue>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}
