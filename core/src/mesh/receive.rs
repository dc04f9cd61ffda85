//! What comes in on a link, message by message.

use super::channel::ToSend;
use super::clocks::offset_ms;
use super::record::Record;
use super::spread::{Range, decode_marks};
use super::{Delivery, Mesh};
use crate::ctx::{Ctx, Marked, Marks, Speaks};
use crate::engine::Notice;
use crate::id::{LinkId, NodeId};
use crate::limits::{HOPS_MAX, PAGE_BYTES_MAX};
use crate::time::Time;
use crate::wire::codec::{Decoded, Malformed, Reader};
use crate::wire::envelope::{Spread, Tag, Unicast};
use crate::wire::frame::Kind;
use bytes::{BufMut, Bytes, BytesMut};

/// Longest round trip that a gap is given to close by itself, in milliseconds.
const GRAFT_TRIP_MS_MAX: u64 = 1_000;

impl Mesh {
    /// One whole frame. Malformed bytes close the link.
    pub(crate) fn on_frame(&mut self, ctx: &mut Ctx, id: LinkId, frame: Bytes) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.last_heard = ctx.now.time;
        ctx.stats.frames_received += 1;
        ctx.stats.bytes_received += frame.len() as u64;
        let from = link.node;
        let unpacked = link.unpacker.unpack(frame).and_then(|messages| {
            messages.into_iter().try_for_each(|(kind, body)| match Kind::from_byte(kind) {
                Some(kind) => self.on_message(ctx, id, from, kind, body),
                None => {
                    ctx.stats.unknown_messages += 1;
                    Ok(())
                }
            })
        });
        if unpacked.is_err() {
            self.close_malformed(ctx, id);
        }
        self.update_routes(ctx.now.time);
    }

    fn on_message(
        &mut self,
        ctx: &mut Ctx,
        link: LinkId,
        from: NodeId,
        kind: Kind,
        body: Bytes,
    ) -> Decoded<()> {
        match kind {
            Kind::FragmentAtOnce | Kind::FragmentAfterWrite => return Err(Malformed),
            Kind::Ping => self.on_ping(ctx, link, body)?,
            Kind::Pong => self.on_pong(ctx, link, body)?,
            Kind::Digest => self.on_digest(link, body)?,
            Kind::Record => self.on_record(ctx, link, body)?,
            Kind::Spread => self.on_spread(ctx, link, from, Spread::decode(body)?),
            Kind::Announce => {
                // What is announced may be on its way over a slower link.
                let trips = self.links.values().filter_map(|link| link.round_trip_ms);
                let slowest_ms = trips.max().unwrap_or(0).min(GRAFT_TRIP_MS_MAX);
                let due = ctx.now.time + ctx.limits.graft_ms + slowest_ms;
                for mark in decode_marks(&mut Reader::new(body))? {
                    if self.members.boot(mark.0) == Some(mark.1) {
                        self.spread.on_announced(from, mark, due);
                    }
                }
            }
            Kind::Graft => self.on_graft(ctx, link, Range::decode(body)?),
            Kind::Unicast => self.on_unicast(ctx, Unicast::decode(body)?)?,
            Kind::Neighbor => {
                let mut reader = Reader::new(body);
                let tag = Tag(reader.u8()?);
                let body = reader.rest();
                self.deliveries.push(Delivery::Message { link, from, tag, body, marked: None });
            }
            Kind::NeighborMarked => {
                let mut reader = Reader::new(body);
                let tag = Tag(reader.u8()?);
                let marks = decode_marks(&mut reader)?;
                // What this node spread itself in this run is here, whatever is said of it.
                let covered = self.spread.covers(&marks);
                let lacking_ms = self.lacking_ms(link, &marks, covered, ctx.now.time);
                let marked = Some(Marked { marks, covered, lacking_ms });
                let body = reader.rest();
                self.deliveries.push(Delivery::Message { link, from, tag, body, marked });
            }
        }
        Ok(())
    }

    /// For how long something that a neighbor said to be here has been missing, in milliseconds.
    /// What was missing once and has come since does not count: what is missing now is younger.
    fn lacking_ms(&mut self, id: LinkId, marks: &Marks, covered: bool, now: Time) -> u64 {
        let Some(link) = self.links.get_mut(&id) else { return 0 };
        let come = link.lacks.as_ref().is_none_or(|(lacked, _)| self.spread.covers(lacked));
        if covered {
            link.lacks = None;
        } else if come {
            link.lacks = Some((marks.clone(), now));
        }
        link.lacks.as_ref().map_or(0, |(_, since)| now - *since)
    }

    fn on_digest(&mut self, id: LinkId, body: Bytes) -> Decoded<()> {
        let missing = self.members.missing_in(body)?;
        let first =
            self.links.get_mut(&id).is_some_and(|l| !std::mem::replace(&mut l.digested, true));
        for record in missing.iter().filter(|_| first) {
            self.push(id, Speaks::AtOnce, Kind::Record, &[record]);
        }
        Ok(())
    }

    fn on_ping(&mut self, ctx: &Ctx, link: LinkId, body: Bytes) -> Decoded<()> {
        let sent = Reader::new(body).u64()?;
        let mut out = BytesMut::new();
        out.put_u64(sent);
        out.put_u64(ctx.now.wall_ms);
        self.push(link, Speaks::AtOnce, Kind::Pong, &[&out]);
        Ok(())
    }

    fn on_pong(&mut self, ctx: &mut Ctx, link: LinkId, body: Bytes) -> Decoded<()> {
        let mut reader = Reader::new(body);
        let (sent, wall_ms) = (reader.u64()?, reader.u64()?);
        let Some(link) = self.links.get_mut(&link) else { return Ok(()) };
        if link.pinged.is_some_and(|at| at.0 == sent) {
            link.pinged = None;
            link.measured = ctx.now.time;
            let round_trip_ms = ctx.now.time.0.saturating_sub(sent);
            link.round_trip_ms = Some(round_trip_ms);
            let at_sender = wall_ms.saturating_add(round_trip_ms / 2);
            link.offset_ms = offset_ms(at_sender, ctx.now.wall_ms);
        }
        Ok(())
    }

    fn on_record(&mut self, ctx: &mut Ctx, link: LinkId, bytes: Bytes) -> Decoded<()> {
        let record = Record::decode(bytes)?;
        if record.node == self.own {
            self.on_own_record(ctx, &record);
            return Ok(());
        }
        if !self.members.is_news(&record) {
            return Ok(());
        }
        if !record.is_signed(&*self.identity, self.network) {
            return Err(Malformed);
        }
        let bytes = record.encode();
        if self.members.accept(record, self.own, &self.routes) {
            self.graph_changed = true;
            self.pass_record_on(&bytes, Some(link));
        }
        Ok(())
    }

    /// A record of this node that this node did not make: from its last run, or of a twin.
    fn on_own_record(&mut self, ctx: &mut Ctx, record: &Record) {
        let own = (self.boot, self.record_sequence);
        if record.order() > own && record.is_signed(&*self.identity, self.network) {
            if record.boot > self.twin {
                self.twin = record.boot;
                ctx.notice(Notice::Twin);
            }
            self.record_sequence = self.record_sequence.max(record.sequence.saturating_add(1));
            self.record_due.get_or_insert(ctx.now.time);
        }
    }

    fn on_spread(&mut self, ctx: &mut Ctx, link: LinkId, from: NodeId, envelope: Spread) {
        let confirmed = self.members.boot(envelope.origin) == Some(envelope.boot);
        let is_own = envelope.origin == self.own;
        if is_own || !confirmed {
            ctx.stats.spread_repeats += u64::from(is_own);
            return;
        }
        if !self.spread.note(envelope.origin, envelope.boot, envelope.sequence) {
            ctx.stats.spread_repeats += 1;
            return;
        }
        let ahead = self.spread.is_ahead(envelope.origin, envelope.sequence);
        self.deliveries.push(Delivery::Spread { link, from, envelope, ahead });
    }

    fn on_graft(&mut self, ctx: &mut Ctx, link: LinkId, range: Range) {
        let takes_more = |link: &&super::Link| !link.behind;
        let sent = self.links.get(&link).filter(takes_more).map(|link| link.regrafted);
        let Some(sent) = sent else { return };
        // What is not kept any more, or would be too much for the link, is not sent: the other
        // side asks again, and after some tries its services catch up instead.
        let room = PAGE_BYTES_MAX.checked_sub(sent).filter(|room| *room > 0);
        let kept = room.and_then(|room| self.spread.kept(ctx.now.time, range, room));
        for (body, weight) in kept.unwrap_or_default() {
            ctx.stats.pushed += weight;
            self.links.entry(link).and_modify(|link| link.regrafted += body.len());
            self.push(link, Speaks::AfterWrite, Kind::Spread, &[&body]);
        }
    }

    fn on_unicast(&mut self, ctx: &mut Ctx, unicast: Unicast) -> Decoded<()> {
        if unicast.to != self.own {
            if let Some(hops_left) = unicast.hops_left.min(HOPS_MAX).checked_sub(1) {
                ctx.stats.forwarded += 1;
                self.forward(ctx, &Unicast { hops_left, ..unicast }, &[]);
            } else {
                ctx.stats.undeliverable += 1;
            }
            return Ok(());
        }
        let Some(boot) = self.members.boot(unicast.from) else { return Ok(()) };
        let mut to_send = ToSend::new();
        let from = (unicast.from, boot);
        // Malformed channel bytes are their sender's fault, not that of the link they came by.
        let messages = self.channels.on_message(ctx.now.time, from, unicast.body, &mut to_send);
        self.send_unicasts(ctx, to_send);
        for (tag, body) in messages.unwrap_or_default() {
            match tag {
                Tag::MESH if body.is_empty() => {} // in the place of what is no longer to be said
                Tag::MESH => self.on_mesh_message(ctx, unicast.from, body),
                tag => {
                    let from = unicast.from;
                    self.deliveries.push(Delivery::Unicast { from, tag, body });
                }
            }
        }
        Ok(())
    }
}
