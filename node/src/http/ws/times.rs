//! What a client has time for: when something is due on its socket, and what.

use super::talk::Farewell;
use crate::http::limits::WsLimits;
use std::pin::Pin;
use std::task::Context;
use tokio::time::{Instant, Sleep};

/// Since when a socket is how it is.
#[derive(Debug)]
pub(super) struct Times {
    opened: Instant,
    /// When something came last.
    heard: Instant,
    /// Since when an answer to a ping is waited for.
    pinged: Option<Instant>,
    /// Since when nothing could be written.
    pub(super) stalled: Option<Instant>,
    /// Since when a text is not whole.
    pub(super) within: Option<Instant>,
    /// Since when it is not listened to, for too much is under way.
    crowded: Option<Instant>,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The client is asked whether it is there.
    Ping,
    /// It is listened to again, whatever is under way.
    Listen,
    /// It has had its time.
    Close(Farewell),
}

impl Times {
    pub(super) fn new(now: Instant) -> Times {
        let (opened, heard) = (now, now);
        Times { opened, heard, pinged: None, stalled: None, within: None, crowded: None }
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        (self.heard, self.pinged) = (now, None);
    }

    /// It is not listened to now; so it is neither silent nor slow.
    pub(super) fn deaf(&mut self, now: Instant, crowded: bool) {
        self.heard(now);
        self.within = self.within.and(Some(now));
        self.crowded = crowded.then(|| self.crowded.unwrap_or(now));
    }

    /// It is listened to.
    pub(super) fn listening(&mut self) {
        self.crowded = None;
    }

    /// When something is due, at the latest; `fresh` says that there was no hello.
    pub(super) fn next(&self, limits: &WsLimits, fresh: bool) -> Instant {
        let silent = match self.pinged {
            None => self.heard + limits.silence,
            Some(pinged) => pinged + limits.pong,
        };
        let others = [
            fresh.then(|| self.opened + limits.hello),
            self.stalled.map(|since| since + limits.write),
            self.within.map(|since| since + limits.message),
            self.crowded.map(|since| since + limits.crowded),
        ];
        others.into_iter().flatten().fold(silent, Instant::min)
    }

    /// What is due now.
    pub(super) fn due(&mut self, limits: &WsLimits, fresh: bool, now: Instant) -> Option<Due> {
        if now < self.next(limits, fresh) {
            return None;
        }
        let over = |since: Option<Instant>, limit| since.is_some_and(|since| since + limit <= now);
        Some(if fresh && over(Some(self.opened), limits.hello) {
            Due::Close(Farewell::NO_HELLO)
        } else if over(self.stalled, limits.write) {
            Due::Close(Farewell::NOT_READING)
        } else if over(self.within, limits.message) || over(self.pinged, limits.pong) {
            Due::Close(Farewell::SILENT)
        } else if over(self.crowded, limits.crowded) {
            self.crowded = None;
            Due::Listen
        } else {
            self.pinged = Some(now);
            Due::Ping
        })
    }
}

/// Sees to it that the task is woken at `due`, or before. A timer that fires early does no harm,
/// so it is moved only if it would be late: a busy socket never touches it.
pub(super) fn arm(context: &mut Context<'_>, mut timer: Pin<&mut Sleep>, due: Instant) {
    while timer.is_elapsed() || timer.deadline() > due {
        timer.as_mut().reset(due);
        if timer.as_mut().poll(context).is_pending() {
            break;
        }
    }
}

/// So many texts at once, and so many a second.
#[derive(Debug)]
pub(super) struct Rate {
    left: f64,
    since: Instant,
    burst: f64,
    per_second: f64,
}

impl Rate {
    pub(super) fn new(limits: &WsLimits, now: Instant) -> Rate {
        let (burst, per_second) = (limits.texts_burst, limits.texts_rate);
        Rate { left: burst, since: now, burst, per_second }
    }

    /// Whether one more is within the rate.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let seconds = (now - self.since).as_secs_f64();
        self.left = (self.left + seconds * self.per_second).min(self.burst) - 1.0;
        self.since = now;
        self.left >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_is_silent_is_asked_and_then_closed() {
        let (limits, start) = (WsLimits::default(), Instant::now());
        let mut times = Times::new(start);
        assert_eq!(times.next(&limits, true), start + limits.hello);
        assert_eq!(times.next(&limits, false), start + limits.silence);
        let asked = start + limits.silence;
        assert_eq!(times.due(&limits, false, asked - SECOND), None);
        assert_eq!(times.due(&limits, false, asked), Some(Due::Ping));
        assert_eq!(times.due(&limits, false, asked + limits.pong - SECOND), None);
        times.heard(asked + SECOND);
        assert_eq!(times.due(&limits, false, asked + limits.pong), None);
        let again = asked + SECOND + limits.silence;
        assert_eq!(times.due(&limits, false, again), Some(Due::Ping));
        let over = times.due(&limits, false, again + limits.pong);
        assert_eq!(over, Some(Due::Close(Farewell::SILENT)));
    }

    #[test]
    fn each_limit_closes_with_its_code() {
        let (limits, start) = (WsLimits::default(), Instant::now());
        let code = |fresh, set: fn(&mut Times, Instant), after| {
            let mut times = Times::new(start);
            set(&mut times, start);
            match times.due(&limits, fresh, start + after) {
                Some(Due::Close(farewell)) => farewell.code,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code(true, |_, _| {}, limits.hello), 4001);
        assert_eq!(code(false, |times, now| times.stalled = Some(now), limits.write), 4008);
        let within = |times: &mut Times, now| {
            times.heard(now + 10 * SECOND);
            times.within = Some(now);
        };
        assert_eq!(code(false, within, limits.message), 4009);
    }

    #[test]
    fn who_is_not_listened_to_is_not_silent_and_is_heard_again_after_a_while() {
        let (limits, start) = (WsLimits::default(), Instant::now());
        let mut times = Times::new(start);
        times.deaf(start, true);
        times.deaf(start + SECOND, true);
        assert_eq!(times.due(&limits, false, start + SECOND), None);
        assert_eq!(times.due(&limits, false, start + limits.crowded), Some(Due::Listen));
        let long = start + 10 * limits.silence;
        times.within = Some(start);
        times.deaf(long, false);
        assert_eq!(times.due(&limits, false, long + SECOND), None);
    }

    #[test]
    fn texts_come_at_a_bounded_rate() {
        let limits = WsLimits { texts_burst: 4.0, texts_rate: 2.0, ..WsLimits::default() };
        let start = Instant::now();
        let mut rate = Rate::new(&limits, start);
        let mut within = |at| (0..10).take_while(|_| rate.take(start + at)).count();
        assert_eq!((within(Duration::ZERO), within(2 * SECOND), within(60 * SECOND)), (4, 3, 4));
    }
}
