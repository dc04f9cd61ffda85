//! Writes that are done together or not at all.

use super::data::{PutOptions, Written, to_path};
use super::value::Value;
use crate::error::Error;
use crate::node::Node;
use folkmoot_core::access::Principal;
use folkmoot_core::request::{DataRequest, Reply, Request, Write};
use serde::Serialize;

/// Writes that are gathered; nothing happens before [`Batch::commit`].
///
/// ```
/// # use folkmoot::{Condition, Error, ErrorCode, Node, api::PutOptions};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Error> {
/// # let node = Node::builder().listen("127.0.0.1:0").start().await?;
/// let mut batch = node.data().batch();
/// batch.put("accounts/anna", &5)?.put("accounts/billy", &7)?.del("accounts/carl")?;
/// let written = batch.commit().await?;
/// assert!(written[0].changed && !written[2].existed);
///
/// // One of them cannot be done, so none is.
/// let new = PutOptions { condition: Condition::Absent, ..PutOptions::default() };
/// let mut batch = node.data().batch();
/// batch.put("accounts/anna", &0)?.put_with("accounts/billy", &0, new)?;
/// assert_eq!(batch.commit().await.unwrap_err().code(), Some(ErrorCode::Conflict));
/// assert_eq!(node.get("accounts/anna").await?.expect("it was put").to_string(), "5");
/// # node.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Batch {
    node: Node,
    writes: Vec<Write>,
    values: Vec<Option<Value>>,
}

impl Batch {
    pub(crate) fn new(node: Node) -> Batch {
        Batch { node, writes: Vec::new(), values: Vec::new() }
    }

    /// Adds a put.
    pub fn put(
        &mut self,
        path: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<&mut Batch, Error> {
        self.put_with(path, value, PutOptions::default())
    }

    /// Adds a put with options.
    pub fn put_with(
        &mut self,
        path: &str,
        value: &(impl Serialize + ?Sized),
        options: PutOptions,
    ) -> Result<&mut Batch, Error> {
        let value = Value::new(value)?;
        let strategies = self.node.strategies();
        self.writes.push(options.write(strategies, to_path(path)?, &value)?);
        self.values.push(Some(value));
        Ok(self)
    }

    /// Adds a delete.
    pub fn del(&mut self, path: &str) -> Result<&mut Batch, Error> {
        self.writes.push(Write::delete(to_path(path)?));
        self.values.push(None);
        Ok(self)
    }

    /// Does all of it, or nothing. What became of each write comes in the order of the writes.
    pub async fn commit(self) -> Result<Vec<Written>, Error> {
        let paths: Vec<_> = self.writes.iter().map(|write| write.path.clone()).collect();
        let request = Request::Data(DataRequest::Write(self.writes));
        let written = match self.node.ask(Principal::Owner, request).await {
            Reply::Written(written) => written,
            Reply::Failed(code, _) => return Err(code.into()),
            reply => unreachable!("a write is answered with what was written, not {reply:?}"),
        };
        let whole = paths.into_iter().zip(self.values).zip(written);
        let whole = whole.map(|((path, value), written)| Written {
            path: path.to_string(),
            value,
            version: written.version,
            existed: written.existed,
            changed: written.changed,
        });
        Ok(whole.collect())
    }
}
