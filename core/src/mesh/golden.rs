//! The bytes of what the mesh itself says: docs/protocol.md, line by line.

use super::channel::{ACK, data, head};
use super::handshake::{Hello, Proof, VERSION_MAX, VERSION_MIN};
use super::members::Members;
use super::record::Record;
use super::routes::Routes;
use super::spread::{Range, encode_marks};
use crate::golden::{assert_wire, node};
use crate::id::{NetworkId, NodeId};
use crate::identity::{Identity, Signature};
use crate::wire::envelope::Tag;
use bytes::BytesMut;

/// Signs with the first bytes of what is signed, so that golden bytes show them.
struct Plain;

impl Identity for Plain {
    fn node(&self) -> NodeId {
        node(0xaa)
    }
    fn sign(&self, message: &[u8]) -> Signature {
        std::array::from_fn(|at| message.get(at).copied().unwrap_or(0xff))
    }
    fn verify(&self, node: NodeId, message: &[u8], signature: &Signature) -> bool {
        node == self.node() && self.sign(message) == *signature
    }
}

const NETWORK: NetworkId = NetworkId([0xee; 16]);

#[test]
fn the_version_that_these_bytes_are_of() {
    assert_eq!((VERSION_MIN, VERSION_MAX), (2, 2), "a new version needs golden bytes of its own");
}

#[test]
fn a_hello() {
    assert_wire(
        "a hello",
        &Hello::new(NETWORK).encode(),
        "666f6c6b6d6f6f74                 ; folkmoot
         02                               ; oldest version
         02                               ; newest version
         eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee ; network id",
    );
}

#[test]
fn a_proof() {
    let proof = Proof::new(&Plain, NETWORK, &[0xdd; 32], 258, 772);
    assert_wire(
        "a proof",
        &proof.encode(),
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ; node id
         0000000000000102                           ; boot counter
         0000000000000304                           ; wall clock
         666f6c6b6d6f6f74206c696e6b2070726f6f662031 ; signed: folkmoot link proof 1
         eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee           ; signed: network id
         0000000000000102                           ; signed: boot counter
         dddddddddddddddddddddddddddddddddddddd     ; signed: handshake hash, its beginning",
    );
    assert_eq!(Proof::decode(proof.encode()), Ok(proof));
}

#[test]
fn a_record() {
    let addresses = ["http://a:1".to_owned()];
    let links = vec![node(0xbb), node(0xcc)];
    let record = Record::new(&Plain, NETWORK, 258, 300, &addresses, links);
    assert_wire(
        "a record",
        &record.encode(),
        "666f6c6b6d6f6f74206e6f6465207265636f72642031         ; signed: folkmoot node record 1
         eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee                     ; signed: network id
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ; signed: what follows, its beginning
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ; node id
         0000000000000102                                     ; boot counter
         ac02                                                 ; sequence
         01                                                   ; addresses
         0a 687474703a2f2f613a31                              ; length, address
         02                                                   ; neighbors
         bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
         cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
    );
    let decoded = Record::decode(record.encode()).unwrap();
    assert!(decoded == record && decoded.is_signed(&Plain, NETWORK));
}

#[test]
fn a_digest() {
    let mut members = Members::default();
    let record = Record::new(&Plain, NETWORK, 258, 300, &[], Vec::new());
    assert!(members.accept(record, node(0xaa), &Routes::default()));
    assert_wire(
        "a digest",
        &members.digest(),
        "01                                                               ; records
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ; node id
         0000000000000102                                                 ; boot counter
         ac02                                                             ; sequence",
    );
}

#[test]
fn marks_as_they_are_announced() {
    let mut out = BytesMut::new();
    encode_marks(&vec![(node(0xaa), 258, 300)], &mut out);
    assert_wire(
        "marks",
        &out,
        "01                                                               ; marks
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ; origin
         0000000000000102                                                 ; its boot counter
         ac02                                                             ; up to this sequence",
    );
}

#[test]
fn a_graft() {
    let range = Range { origin: node(0xaa), boot: 258, from: 3, to: 300 };
    assert_wire(
        "a graft",
        &range.encode(),
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ; origin
         0000000000000102                                                 ; its boot counter
         03                                                               ; from this sequence
         ac02                                                             ; to this sequence",
    );
    assert_eq!(Range::decode(range.encode()), Ok(range));
}

#[test]
fn what_goes_through_a_channel() {
    assert_wire(
        "a message of a channel",
        &data(258, 772, 300, Tag::MESH, &[0, 0, 0, 0, 0, 0, 0, 0, 7]),
        "00                 ; data
         0000000000000102   ; the sender's boot counter
         0000000000000304   ; the receiver's
         ac02               ; sequence
         00                 ; tag: mesh
         00                 ; of the mesh: ping
         0000000000000007   ; of the mesh: number of the ping",
    );
    assert_wire(
        "an acknowledgement of a channel",
        &head(ACK, 258, 772, 300),
        "01                 ; acknowledgement
         0000000000000102   ; the sender's boot counter
         0000000000000304   ; the receiver's
         ac02               ; everything up to this sequence has come",
    );
}
