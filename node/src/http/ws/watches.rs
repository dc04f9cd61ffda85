//! Data watches of one socket, each with a session of its own.
//!
//! Limits: `WATCHES_MAX`.

use crate::api::watch::{Since, Told, Watch};
use crate::node::Node;
use folkmoot_core::access::Principal;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::Path;
use folkmoot_core::limits::WATCHES_MAX;
use futures_util::stream::{self, AbortHandle, BoxStream, SelectAll};
use futures_util::{Stream, StreamExt};
use std::task::{Context, Poll};

/// What there is to say of a watch.
pub(super) enum News {
    /// It is there.
    Begun,
    /// It sees this.
    Told(Told),
    /// It is over.
    Ended(ErrorCode),
}

/// The watches, under the numbers that their client chose.
#[derive(Default)]
pub(super) struct Watches {
    streams: SelectAll<BoxStream<'static, (u64, News)>>,
    open: Vec<(u64, AbortHandle)>,
}

impl Watches {
    /// Begins a watch; an earlier one of the same number ends.
    pub(super) fn start(
        &mut self,
        node: Node,
        principal: Principal,
        watch: u64,
        prefix: Option<Path>,
        since: Since,
    ) -> Result<(), ErrorCode> {
        self.end(watch);
        if self.open.len() >= WATCHES_MAX {
            return Err(ErrorCode::WatchesMax);
        }
        let news = news(node, principal, prefix, since).map(move |news| (watch, news));
        let (news, handle) = stream::abortable(news);
        self.streams.push(news.boxed());
        self.open.push((watch, handle));
        Ok(())
    }

    /// Ends a watch, if there is one.
    pub(super) fn end(&mut self, watch: u64) {
        if let Some(at) = self.open.iter().position(|(number, _)| *number == watch) {
            self.open.swap_remove(at).1.abort();
        }
    }

    /// The next that there is to say.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(u64, News)> {
        match self.streams.poll_next_unpin(context) {
            Poll::Ready(Some((watch, news))) => {
                if matches!(news, News::Ended(_)) {
                    self.open.retain(|(number, _)| *number != watch);
                }
                Poll::Ready((watch, news))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

fn news(
    node: Node,
    principal: Principal,
    prefix: Option<Path>,
    since: Since,
) -> impl Stream<Item = News> + std::marker::Send {
    let begin = stream::once(Watch::start(node, principal, prefix, since));
    begin.flat_map(|begun| match begun {
        Err(code) => stream::once(async move { News::Ended(code) }).boxed(),
        Ok(watch) => {
            let told = stream::unfold(Some(watch), |watch| async move {
                let mut watch = watch?;
                Some(match watch.next().await {
                    Ok(told) => (News::Told(told), Some(watch)),
                    Err(code) => (News::Ended(code), None),
                })
            });
            stream::once(async { News::Begun }).chain(told).boxed()
        }
    })
}
