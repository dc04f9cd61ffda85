//! Everything that can be refused: a stable number, one line each, and what it left behind.

/// Why something was refused. Numbers are part of the protocol and never reused.
/// Unless a line says otherwise, nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[repr(u16)]
#[non_exhaustive]
pub enum ErrorCode {
    // 1xx: the request cannot be understood.
    /// A path or one of its segments is over its limit.
    #[error("the path is too long: at most 512 bytes and 32 segments of at most 128 bytes")]
    PathTooLong = 101,
    /// A path is empty, starts or ends with `/`, or has `//`.
    #[error("the path has an empty segment: write it as a/b/c, without a slash at either end")]
    PathSegmentEmpty = 102,
    /// A path has a `.` or `..` segment.
    #[error("the path has a '.' or '..' segment: paths are names, not directions")]
    PathSegmentDots = 103,
    /// A path has a NUL or another control character.
    #[error("the path has a control character: use printable text")]
    PathControl = 104,
    /// A path is not UTF-8.
    #[error("the path is not UTF-8")]
    PathNotUtf8 = 105,
    /// A value is over `value_bytes_max`.
    #[error("the value is too large: at most 256 KiB per path")]
    ValueTooLarge = 106,
    /// A batch has no item, more than 1,000, or more than 1 MiB.
    #[error("the batch is too large or empty: 1 to 1,000 items and at most 1 MiB")]
    BatchSize = 107,
    /// A batch names a path twice.
    #[error("the batch names a path twice: its items would have no order")]
    BatchRepeats = 108,
    /// A time to live that is over, or further away than a hundred years.
    #[error("the time to live is out of range: 1 ms to 100 years")]
    TtlRange = 109,
    /// More watches in one session than allowed.
    #[error("too many watches in this session: at most 128")]
    WatchesMax = 110,
    /// A peer address that is not `http://host:port`, `ws://...`, or over the limit.
    #[error("the peer address is not usable: write http://host:port")]
    PeerAddress = 111,
    /// The name of a user or room is empty, too long, or has what names must not have.
    #[error(
        "the name is not usable: 1 to 128 bytes of text, no control characters, no space at either end"
    )]
    Name = 112,
    /// The body of a message is over its limit.
    #[error("the message is too large: at most 64 KiB")]
    MessageTooLarge = 113,
    /// More rooms in one session than allowed.
    #[error("too many rooms in this session: at most 64")]
    RoomsMax = 115,
    /// A status text over its limit.
    #[error("the status is too long: at most 128 bytes of text without control characters")]
    StatusText = 116,
    /// A page or a watch of users that asks for too much.
    #[error("too many names: at most 1,000")]
    NamesMax = 117,
    /// A merged object would have more than `FIELDS_MAX` fields.
    #[error("too many fields: an object that is merged has at most 1,000")]
    FieldsMax = 118,

    // 2xx: understood, but not allowed or not possible now.
    /// The principal may not do this.
    #[error("not allowed: this principal has no grant for it")]
    Forbidden = 201,
    /// The condition of a write (`If-Match`, `If-None-Match`) does not hold.
    #[error("the condition does not hold: the path has changed; read it again and retry")]
    Conflict = 202,
    /// Nothing at that path.
    #[error("nothing there")]
    NotFound = 203,
    /// The node is not known or not reachable.
    #[error("that node cannot be reached now")]
    Unreachable = 204,
    /// Too much is under way already.
    #[error("busy: too much is under way; retry later")]
    Busy = 205,
    /// The clock of this node disagrees with the clocks of its neighbors.
    #[error("this node's clock is off by more than 30 s from its neighbors: set it right")]
    ClockOff = 206,
    /// The disk is nearly full: under 5 % or under 1 GiB free.
    #[error("the disk is nearly full: writes are refused until there is space; reads go on")]
    DiskFull = 207,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closing = 208,
    /// A peer that is linked or listed already, or more peers than allowed.
    #[error("too many peers: at most 256 addresses")]
    PeersMax = 209,
    /// The session has not said for whom it speaks.
    #[error("say who you are first: connect with a user's name")]
    NotConnected = 210,
    /// The session is not in that room.
    #[error("you are not in that room: join it first")]
    NotInRoom = 211,
    /// There is no session to go on with: it ended, or was on another node.
    #[error(
        "there is no session to go on with here: connect anew, and send again what was not settled"
    )]
    NotResumed = 212,
    /// Too many of the session's messages are not settled yet.
    #[error("too many messages are under way: wait until some are settled")]
    Unsettled = 213,

    // 3xx: what another node sent is refused.
    /// Bytes that do not decode; the link is closed.
    #[error("malformed bytes")]
    Malformed = 301,
    /// Not a member of this network, or removed from it.
    #[error("that node was removed from this network")]
    Removed = 302,
    /// A stamp further in the future than the drift limit.
    #[error("the stamp is in the future: a clock is wrong")]
    StampFuture = 303,
    /// A signature that does not fit.
    #[error("the signature does not fit")]
    Signature = 304,
    /// Another network.
    #[error("that node belongs to another network")]
    Network = 305,
    /// No protocol version in common.
    #[error("no protocol version in common: upgrade the older node")]
    ProtocolVersion = 306,

    // 4xx: this node itself.
    /// The store could not be read: the node stops.
    #[error("the store is damaged or cannot be read")]
    Store = 401,
}

impl ErrorCode {
    /// The stable number.
    pub fn number(self) -> u16 {
        self as u16
    }
}
