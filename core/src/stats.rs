//! What a node counts. Counters only grow and wrap never in practice.

/// Counters since the start of this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Writes of local clients that made a version.
    pub writes: u64,
    /// Entries from other nodes that changed something here.
    pub merged: u64,
    /// Entries from other nodes that were here already.
    pub repeated: u64,
    /// Entries refused because their stamp lies in the future.
    pub future_refused: u64,
    /// Tombstones and expired entries collected.
    pub collected: u64,
    /// Copies of entries sent in live pushes, one per entry and link.
    pub pushed: u64,
    /// Entries sent to neighbors that were catching up.
    pub caught_up: u64,
    /// Bytes of messages sent for comparing and catching up, entries included.
    pub repair_bytes: u64,
    /// Bytes of frames sent.
    pub bytes_sent: u64,
    /// Bytes of frames received.
    pub bytes_received: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Messages of a kind that this version does not know; skipped.
    pub unknown_messages: u64,
    /// Links closed because of malformed bytes.
    pub malformed: u64,
    /// Spread envelopes that had been received before.
    pub spread_repeats: u64,
    /// Envelopes asked for again.
    pub grafts: u64,
    /// Unicasts passed on for others.
    pub forwarded: u64,
    /// Unicasts dropped: no way there, or too many hops.
    pub undeliverable: u64,
    /// Comparisons with a neighbor that found a difference.
    pub differences: u64,
    /// Changes told to watches.
    pub events: u64,
    /// Chat messages that sessions of this node handed in.
    pub messages_taken: u64,
    /// Chat messages given to sessions of this node, one per session.
    pub messages_given: u64,
    /// Chat messages that sessions of this node have taken in.
    pub messages_delivered: u64,
    /// Chat messages that had been here before.
    pub messages_repeated: u64,
    /// Times that another node asked for this one's presence.
    pub presence_lists: u64,
}
