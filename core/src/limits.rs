//! Every limit, with its unit and default, in one table.
//!
//! Limits that are part of a format or that other nodes rely on are constants; what an operator
//! or a test may set differently is a field of [`Limits`].

/// Bytes of a whole path.
pub const PATH_BYTES_MAX: usize = 512;
/// Segments of a path.
pub const PATH_SEGMENTS_MAX: usize = 32;
/// Bytes of one segment of a path.
pub const SEGMENT_BYTES_MAX: usize = 128;
/// Bytes of the name of one field of a merged object.
pub const FIELD_BYTES_MAX: usize = 256;
/// Fields of a merged object, as far as a node knows them when it writes.
pub const FIELDS_MAX: usize = 1_000;
/// Bytes of one value; of a merged object, names and values together with what was put as a whole.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;
/// Items of one batch.
pub const BATCH_ITEMS_MAX: usize = 1_000;
/// Bytes of paths and values of one batch.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// A time to live, in milliseconds: a hundred years.
pub const TTL_MS_MAX: u64 = 100 * 366 * 24 * 3600 * 1000;
/// Rows of one page of a scan.
pub const SCAN_ROWS_MAX: usize = 1_000;
/// Watches of one session.
pub const WATCHES_MAX: usize = 128;
/// Versions that a history keeps for one path, at the most.
pub const HISTORY_VERSIONS_MAX: usize = 100;

/// Bytes of one frame: what one Noise message of 65,535 bytes carries, less its tag and slack.
pub const FRAME_BYTES_MAX: usize = 65_000;
/// Bytes of one message between nodes, put together from fragments.
pub const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of the first clear message of a handshake.
pub const HELLO_BYTES_MAX: usize = 512;
/// Hops that a unicast may take.
pub const HOPS_MAX: u8 = 64;
/// Nodes that a node keeps records of.
pub const NODES_MAX: usize = 1_024;
/// Neighbors that a node accepts.
pub const NEIGHBORS_MAX: usize = 256;
/// Addresses of peers that a node keeps.
pub const PEERS_MAX: usize = 256;
/// Bytes of one peer address.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Addresses that a node's record may name.
pub const RECORD_ADDRESSES_MAX: usize = 8;
/// Ranges of envelopes received out of order that are kept per origin.
pub const SPREAD_RANGES_MAX: usize = 64;
/// Envelopes that are kept for nodes that ask for them again.
pub const SPREAD_CACHE_MAX: usize = 4_096;
/// Bytes of such envelopes.
pub const SPREAD_CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long such envelopes are kept, in milliseconds: what is older must not come to anybody who
/// may have forgotten by what it was replaced.
pub const SPREAD_CACHE_MS: u64 = 30_000;
/// Bytes of entries in one spread envelope, at which a new one is begun.
pub const SPREAD_BYTES_TARGET: usize = 32 * 1024;
/// Messages of a reliable channel that wait for their acknowledgement.
pub const CHANNEL_WINDOW_MAX: usize = 256;
/// Messages of a reliable channel that wait for the window.
pub const CHANNEL_QUEUE_MAX: usize = 4_096;
/// Bytes of messages of a reliable channel that wait for their acknowledgement, or, at the other
/// end, for an earlier message; a larger message goes alone.
pub const CHANNEL_WINDOW_BYTES_MAX: usize = 512 * 1024;
/// Bytes of messages of a reliable channel that wait for the window.
pub const CHANNEL_QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Channels of a node: also to those whose record has had to make room for another.
pub const CHANNELS_MAX: usize = 4 * NODES_MAX;
/// Bytes of unicasts that are sent over a link while its queue is full; others are dropped, and sent
/// again by their channels.
pub const UNICASTS_OVER_FULL_BYTES_MAX: usize = 64 * 1024;
/// Pings of the mesh that one node waits for.
pub const PINGS_MAX: usize = 1_024;
/// Bytes of entries in one page of catching up.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Entries looked at in one slice of long work.
pub const SLICE_ENTRIES_MAX: usize = 4_096;
/// Bytes of an entry's proof; reserved for a signature over the root of its batch.
pub const PROOF_BYTES_MAX: usize = 1024;
/// Dead entries that all members are asked for at once.
pub const BURIED_AT_ONCE: usize = 256;
/// Groups of buckets that a comparison looks into at once; the others wait for the next round.
pub const GROUPS_AT_ONCE: usize = 128;
/// Versions that a comparison lists at once, give or take a bucket; the others wait for
/// the next round.
pub const VERSIONS_AT_ONCE: usize = 32_768;
/// How often the missing envelopes are asked for before the services must catch up.
pub const GRAFTS_MAX: u32 = 3;
/// First pause before a reliable channel sends what is not acknowledged again, in milliseconds.
pub const RESEND_MS_MIN: u64 = 500;
/// Longest such pause, in milliseconds.
pub const RESEND_MS_MAX: u64 = 5_000;
/// How long a link must hold before the pauses begin anew, in milliseconds.
pub const STEADY_MS: u64 = 60_000;

/// Bytes of the name of a user or a room.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of the body of one chat message.
pub const CHAT_BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a custom status.
pub const STATUS_BYTES_MAX: usize = 128;
/// Rooms that one session may be in.
pub const ROOMS_MAX: usize = 64;
/// Names in one page of users, and in one watch of users.
pub const NAMES_MAX: usize = 1_000;
/// Messages of one session that are not settled yet.
pub const UNSETTLED_MAX: usize = 16_384;
/// Bytes of messages of one session that are not settled yet; at least one message is taken.
pub const UNSETTLED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages that wait for one session to acknowledge them; one more closes it.
pub const UNREAD_MAX: usize = 16_384;
/// Bytes of messages that wait for one session to acknowledge them; more closes it.
pub const UNREAD_BYTES_MAX: usize = 1024 * 1024;
/// What a message counts beside its body.
pub const MESSAGE_COST_BYTES: usize = 64;
/// Conversations whose last message is known, in order to know repeats; the longest silent is
/// forgotten first.
pub const CONVERSATIONS_MAX: usize = 100_000;
/// Users that are remembered after they went, for when they were last seen.
pub const LAST_SEEN_MAX: usize = 20_000;
/// Bytes of one page of a presence list, and of one batch of messages between two nodes.
pub const CHAT_BATCH_BYTES: usize = 32 * 1024;
/// Presence deltas of one node that wait for its list.
pub const EARLY_DELTAS_MAX: usize = 1_024;

/// What an operator or a test may set.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How far in the future a stamp may lie, in milliseconds.
    pub drift_ms_max: u64,
    /// How old a tombstone must be to be collected, in milliseconds.
    pub tombstone_grace_ms: u64,
    /// Changes that the change log keeps for watchers and neighbors.
    pub log_changes_max: u64,
    /// Silence on a link after which it is pinged, in milliseconds.
    pub ping_ms: u64,
    /// Silence on a link after which it is closed, in milliseconds.
    pub dead_ms: u64,
    /// First pause before a peer is dialled again, in milliseconds; doubles, with jitter.
    pub redial_ms_min: u64,
    /// Longest such pause, in milliseconds.
    pub redial_ms_max: u64,
    /// How often neighbors compare what they hold, in milliseconds, give or take a fifth.
    pub compare_ms: u64,
    /// How long lazy announcements are gathered, in milliseconds.
    pub announce_ms: u64,
    /// How long a gap may stay before the missing envelopes are asked for, in milliseconds.
    pub graft_ms: u64,
    /// Offset from the neighbors' clocks at which local writes are refused, in milliseconds.
    pub clock_off_ms_max: u64,
    /// How long a chat session waits for a client whose connection broke, in milliseconds.
    pub resume_ms: u64,
    /// How long a message waits for a user who was online and is not now, in milliseconds.
    pub hold_ms: u64,
    /// How often neighbors compare which presence lists they have, in milliseconds.
    pub presence_ms: u64,
    /// How long repeats of a message are recognised at the least, in milliseconds.
    pub repeat_ms: u64,
    /// Keys of entries that end, and of dead ones, that are kept in memory by their instant, each.
    pub due_keys_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            drift_ms_max: 60_000,
            tombstone_grace_ms: 30 * 24 * 3600 * 1000,
            log_changes_max: 1_000_000,
            ping_ms: 5_000,
            dead_ms: 15_000,
            redial_ms_min: 500,
            redial_ms_max: 30_000,
            compare_ms: 10_000,
            announce_ms: 100,
            graft_ms: 100,
            clock_off_ms_max: 30_000,
            resume_ms: 10_000,
            hold_ms: 10_000,
            presence_ms: 10_000,
            repeat_ms: 600_000,
            due_keys_max: 65_536,
        }
    }
}
