//! Chat from Rust: who is there, and messages between people on any node.
//!
//! Promise: a message is sent once, in the order of the calls; what became of it is told to
//! whoever waits for it; a message that is heard counts as taken in when the next one is asked
//! for. Nothing is stored. Limits: those of `core`, and in [`session`].

mod message;
mod pump;
mod session;
#[cfg(test)]
mod tests;

pub use folkmoot_core::chat::words::{Outcome, Presence, Target};
pub use folkmoot_core::id::{ClientId, Name};
pub use message::{Heard, Message, UsersChange};
pub use session::{ChatSession, Sending};

use crate::error::Error;
use crate::node::Node;
use crate::session::Session;
use bytes::Bytes;
use folkmoot_core::access::Principal;
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, Connect, UsersWatch};
use folkmoot_core::request::{Event, Reply, Request};

/// Chat as the owner of the node speaks in it; cheap to clone.
///
/// ```
/// # use folkmoot::{Error, Node, api::chat::{Heard, Outcome}};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Error> {
/// let node = Node::builder().listen("127.0.0.1:0").start().await?;
/// let anna = node.chat().connect("anna").await?;
/// let billy = node.chat().connect("billy").await?;
///
/// let sending = anna.send("billy", "hello");
/// let Some(Heard::Message(message)) = billy.next().await else { panic!("it comes first") };
/// assert_eq!((message.from(), message.body().to_string()), ("anna", "\"hello\"".into()));
///
/// // Asking for the next one says that this one was taken in; so does saying it.
/// billy.received(message.number());
/// assert_eq!(sending.await?, Outcome::Delivered(1));
/// assert_eq!(anna.send("nobody", "hello?").await?, Outcome::Unknown);
/// # node.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Chat {
    node: Node,
}

/// How somebody speaks in chat.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions {
    /// Whether others see the user online because of this, and send it messages. What only sends
    /// something need not be seen.
    pub visible: bool,
    /// Messages count as taken in only when [`ChatSession::received`] says so.
    pub acknowledge_by_hand: bool,
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions { visible: true, acknowledge_by_hand: false }
    }
}

/// Users who are online, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersPage {
    /// The users.
    pub users: Vec<Presence>,
    /// Whether there are more behind the last of them.
    pub more: bool,
}

impl Chat {
    pub(crate) fn new(node: Node) -> Chat {
        Chat { node }
    }

    /// Speaks for a user from now on, until the answer is dropped.
    pub async fn connect(&self, user: &str) -> Result<ChatSession, Error> {
        self.connect_with(user, ConnectOptions::default()).await
    }

    /// [`Chat::connect`] with options.
    pub async fn connect_with(
        &self,
        user: &str,
        options: ConnectOptions,
    ) -> Result<ChatSession, Error> {
        let (user, client) = (to_name(user)?, new_client());
        let session = self.node.session(Principal::Owner);
        let visible = options.visible;
        let connect = Connect { user: user.clone(), client, resume: None, visible };
        ask(&session, ChatRequest::Connect(connect)).await?;
        Ok(ChatSession::start(session, user, client, options.acknowledge_by_hand))
    }

    /// Users who are online on any node, whose name begins with `prefix` and comes after `after`;
    /// at most `limit`, which is at most 1,000.
    ///
    /// ```
    /// # use folkmoot::{Error, Node};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Error> {
    /// # let node = Node::builder().listen("127.0.0.1:0").start().await?;
    /// let _anna = node.chat().connect("anna").await?;
    /// let page = node.chat().users("", "", 100).await?;
    /// assert_eq!((page.users[0].user.as_str(), page.users[0].sessions), ("anna", 1));
    /// assert!(!page.more);
    /// # node.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn users(&self, prefix: &str, after: &str, limit: usize) -> Result<UsersPage, Error> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let request = ChatRequest::Users { prefix: bytes(prefix), after: bytes(after), limit };
        self.ask_users(request).await
    }

    /// Who is in a room, on any node.
    pub async fn members(&self, room: &str) -> Result<Vec<Presence>, Error> {
        Ok(self.ask_users(ChatRequest::Members(to_name(room)?)).await?.users)
    }

    /// Who is online among the users whose name begins with `prefix`, and from then on who comes,
    /// goes or changes.
    ///
    /// ```
    /// # use folkmoot::{Error, Node};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Error> {
    /// # let node = Node::builder().listen("127.0.0.1:0").start().await?;
    /// let mut presence = node.chat().presence("").await?;
    /// let first = presence.next().await.expect("the node is open");
    /// assert!(first.all && first.users.is_empty());
    /// let anna = node.chat().connect("anna").await?;
    /// anna.status(Some("busy")).await?;
    /// let change = presence.next().await.expect("the node is open");
    /// assert_eq!((change.users[0].user.as_str(), change.users[0].sessions), ("anna", 1));
    /// # node.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn presence(&self, prefix: &str) -> Result<PresenceStream, Error> {
        let session = self.node.session(Principal::Owner);
        ask(&session, ChatRequest::WatchUsers(to_watch(prefix))).await?;
        Ok(PresenceStream { session })
    }

    async fn ask_users(&self, request: ChatRequest) -> Result<UsersPage, Error> {
        match self.node.ask(Principal::Owner, Request::Chat(request)).await {
            Reply::Users(users, more) => Ok(UsersPage { users, more }),
            Reply::Failed(code, _) => Err(code.into()),
            reply => unreachable!("users are answered with users, not {reply:?}"),
        }
    }
}

/// Who comes and goes. Dropping it ends it.
pub struct PresenceStream {
    session: Session,
}

impl PresenceStream {
    /// The next change, at first everybody who is there; `None` once the node is closed, or has
    /// waited for too long for a call. May be cancelled without loss.
    pub async fn next(&mut self) -> Option<UsersChange> {
        loop {
            if let Event::Chat(ChatEvent::Users { all, changes }) =
                self.session.next_event().await?
            {
                return Some(UsersChange { all, users: changes.to_vec() });
            }
        }
    }
}

/// Asks something that is done or refused.
async fn ask(session: &Session, request: ChatRequest) -> Result<(), Error> {
    match session.ask(Request::Chat(request)).await {
        Reply::Failed(code, _) => Err(code.into()),
        _ => Ok(()),
    }
}

fn to_name(text: &str) -> Result<Name, Error> {
    Ok(Name::new(text.to_owned())?)
}

fn to_watch(prefix: &str) -> UsersWatch {
    UsersWatch::Prefix(Bytes::copy_from_slice(prefix.as_bytes()))
}

/// A new program of a user: its number must be nobody else's.
fn new_client() -> ClientId {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the operating system has random numbers");
    ClientId(u64::from_le_bytes(random))
}
