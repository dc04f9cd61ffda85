//! What waits at its sender's node until its user is somewhere again.
//!
//! A message is held when an earlier one to the same user is at nodes that the user has left, or
//! when nobody took it in where it went, for `hold_ms` at the most. What is held for a user is
//! tried again in order, and what failed is not tried again after a later one has arrived.

use super::Chat;
use super::session::{Fate, Flow, Sid, Waits, narrowed};
use super::words::{Message, Outcome, Target};
use crate::ctx::Ctx;
use crate::id::Name;
use crate::limits::MESSAGE_COST_BYTES;
use crate::time::Time;
use std::sync::Arc;

impl Chat {
    /// Keeps a message until its user can be reached.
    pub(super) fn hold(
        &mut self,
        ctx: &Ctx,
        sid: Sid,
        flow: &mut Flow,
        message: Arc<Message>,
        local: bool,
    ) {
        let until = ctx.now.time + ctx.limits.hold_ms;
        flow.held.push_back(message.number);
        if let Target::User(user) = &message.to {
            self.holding.entry(user.clone()).or_default().insert(sid);
            self.hold_at.insert((until, user.clone()));
        }
        if let Some(session) = self.sessions.get_mut(sid) {
            let bytes = message.body.len() + MESSAGE_COST_BYTES;
            let number = message.number;
            session.push(ctx.now.time, number, bytes, Fate::Held { message, until }, local);
        }
    }

    /// Tries what is held for users who have come, and gives up what was held for too long.
    pub(super) fn try_held(&mut self, ctx: &mut Ctx) {
        while let Some((at, user)) = self.hold_at.first().cloned()
            && at <= ctx.now.time
        {
            self.hold_at.remove(&(at, user.clone()));
            self.retry.insert(user);
        }
        for user in std::mem::take(&mut self.retry) {
            for sid in self.holding.remove(&user).unwrap_or_default() {
                if self.try_user(ctx, sid, &user) {
                    self.holding.entry(user.clone()).or_default().insert(sid);
                }
            }
        }
    }

    /// Tries what one session holds for a user. Whether it still holds something afterwards.
    fn try_user(&mut self, ctx: &mut Ctx, sid: Sid, user: &Name) -> bool {
        let to = Target::User(user.clone());
        let Some(session) = self.sessions.get_mut(sid) else { return false };
        let Some(place) = session.flows.get_mut(&to) else { return false };
        let (mut flow, from) = (std::mem::take(place), session.user.clone());
        let way_open = self.find_way(sid, &from, &to, &mut flow);
        self.give_up(ctx.now.time, sid, &mut flow);
        if way_open && flow.under_way == 0 && !flow.to.is_empty() {
            for number in std::mem::take(&mut flow.held) {
                self.start_again(ctx.now.time, sid, &mut flow, number);
            }
        }
        let still = !flow.held.is_empty();
        self.put_back(sid, &to, flow);
        still
    }

    fn start_again(&mut self, now: Time, sid: Sid, flow: &mut Flow, number: u64) {
        let Some(sent) = self.sessions.get_mut(sid).and_then(|s| s.sent(number)) else { return };
        let Fate::Held { message, until } = &sent.fate else { return };
        if number < flow.delivered {
            sent.fate = Fate::Done(Outcome::Offline);
            return;
        }
        let to = narrowed(&flow.to, sent.local).into_owned();
        let (message, local) = (message.clone(), sent.local);
        if to.is_empty() {
            // It is for this node only, and the user is elsewhere.
            sent.fate = Fate::Done(Outcome::Offline);
            self.hand_over_echo(now, sid, &flow.echo, &message, local);
            return;
        }
        let nodes = Waits::new(&to);
        let until = Some(*until);
        (sent.until, sent.at) = (until, now);
        sent.fate = Fate::UnderWay { message: message.clone(), nodes, sessions: 0 };
        flow.under_way += 1;
        to.iter().for_each(|index| self.hand_over(now, *index, sid, &message));
        self.hand_over_echo(now, sid, &flow.echo, &message, local);
    }

    /// Ends what was held for its time. The sender's other sessions get it all the same, but not at
    /// nodes of its target, who would.
    fn give_up(&mut self, now: Time, sid: Sid, flow: &mut Flow) {
        let Some(session) = self.sessions.get_mut(sid) else { return };
        let mut given_up = Vec::new();
        flow.held.retain(|number| {
            let Some(sent) = session.sent(*number) else { return false };
            match &sent.fate {
                Fate::Held { until, message } if *until <= now => {
                    given_up.push((message.clone(), sent.local));
                    sent.fate = Fate::Done(Outcome::Offline);
                    false
                }
                fate => matches!(fate, Fate::Held { .. }),
            }
        });
        for (message, local) in given_up {
            let echo = self.echo_way(sid, &message.from, &message.to, &self.way(&message.to));
            self.hand_over_echo(now, sid, &echo, &message, local);
        }
        self.settling.push(sid);
    }
}
