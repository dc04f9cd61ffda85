//! Pings of nodes anywhere in the mesh, over the reliable channel: is it there, how far away?

use super::Mesh;
use crate::ctx::Ctx;
use crate::error::ErrorCode;
use crate::id::NodeId;
use crate::limits::PINGS_MAX;
use crate::request::{Caller, Reply};
use crate::time::Time;
use crate::wire::codec::Reader;
use crate::wire::envelope::Tag;
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;

/// How long an answer is waited for, in milliseconds.
const PING_MS_MAX: u64 = 10_000;

const PING: u8 = 0;
const PONG: u8 = 1;

/// Pings that wait for their answer.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    next: u64,
    waiting: BTreeMap<u64, (NodeId, Caller, Time)>,
}

impl Pings {
    pub(crate) fn on_tick(&mut self, ctx: &mut Ctx) {
        let now = ctx.now.time;
        self.waiting.retain(|_, (_, caller, sent)| {
            let late = now - *sent >= PING_MS_MAX;
            if late {
                let failed = Reply::Failed(ErrorCode::Unreachable, 0);
                ctx.reply(caller.session, caller.request, failed);
            }
            !late
        });
    }

    pub(crate) fn next_tick(&self) -> Option<Time> {
        self.waiting.values().map(|(_, _, sent)| *sent + PING_MS_MAX).min()
    }
}

impl Mesh {
    /// A local client pings `node`.
    pub(crate) fn on_ping_request(&mut self, ctx: &mut Ctx, caller: Caller, node: NodeId) {
        if node == self.own {
            let pong = Reply::Pong { round_trip_ms: 0, hops: 0 };
            return ctx.reply(caller.session, caller.request, pong);
        }
        let sent = match () {
            () if self.pings.waiting.len() >= PINGS_MAX => Err(ErrorCode::Busy),
            () => {
                self.pings.next += 1;
                self.send_mesh_message(ctx, node, PING, self.pings.next)
            }
        };
        match sent {
            Ok(()) => {
                let ping = (node, caller, ctx.now.time);
                self.pings.waiting.insert(self.pings.next, ping);
            }
            Err(error) => ctx.reply(caller.session, caller.request, Reply::Failed(error, 0)),
        }
    }

    pub(crate) fn on_mesh_message(&mut self, ctx: &mut Ctx, from: NodeId, body: Bytes) {
        let mut reader = Reader::new(body);
        match (reader.u8(), reader.u64()) {
            (Ok(PING), Ok(number)) => {
                // Without a way back there is nobody to answer.
                let _ = self.send_mesh_message(ctx, from, PONG, number);
            }
            (Ok(PONG), Ok(number)) => {
                let Some((node, caller, sent)) = self.pings.waiting.get(&number).copied() else {
                    return;
                };
                if node == from {
                    self.pings.waiting.remove(&number);
                    let round_trip_ms = ctx.now.time - sent;
                    let hops = self.routes.way(from).map_or(0, |(hops, _)| hops);
                    let pong = Reply::Pong { round_trip_ms, hops };
                    ctx.reply(caller.session, caller.request, pong);
                }
            }
            _ => ctx.stats.unknown_messages += 1,
        }
    }

    fn send_mesh_message(
        &mut self,
        ctx: &mut Ctx,
        to: NodeId,
        kind: u8,
        number: u64,
    ) -> Result<(), ErrorCode> {
        let mut out = BytesMut::new();
        out.put_u8(kind);
        out.put_u64(number);
        self.send_reliably(ctx, to, Tag::MESH, out.freeze())
    }
}
