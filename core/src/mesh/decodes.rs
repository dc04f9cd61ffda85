//! Any bytes from a node, to everything that the mesh reads: an error at worst, never a panic.

use super::channel::{Channels, ToSend};
use super::handshake::{Hello, Proof};
use super::members::Members;
use super::record::Record;
use super::spread::{Range, decode_marks, encode_marks};
use crate::golden::node;
use crate::time::Time;
use crate::wire::codec::Reader;
use crate::wire::envelope::{Spread, Unicast};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_decodes_says_the_same_again(
        bytes in vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..300),
    ) {
        let bytes = Bytes::from(bytes);
        if let Ok(record) = Record::decode(bytes.clone()) {
            prop_assert_eq!(record.encode(), bytes.clone());
        }
        if let Ok(range) = Range::decode(bytes.clone()) {
            prop_assert_eq!(Range::decode(range.encode()), Ok(range));
        }
        if let Ok(marks) = decode_marks(&mut Reader::new(bytes.clone())) {
            let mut out = BytesMut::new();
            encode_marks(&marks, &mut out);
            prop_assert_eq!(decode_marks(&mut Reader::new(out.freeze())), Ok(marks));
        }
        if let Ok(spread) = Spread::decode(bytes.clone()) {
            prop_assert_eq!(Spread::decode(spread.encode()), Ok(spread));
        }
        if let Ok(unicast) = Unicast::decode(bytes.clone()) {
            prop_assert_eq!(unicast.encode(), bytes.clone());
        }
        if let Ok(hello) = Hello::decode(bytes.clone()) {
            prop_assert_eq!(Hello::decode(hello.encode()), Ok(hello));
        }
        if let Ok(proof) = Proof::decode(bytes.clone()) {
            prop_assert_eq!(Proof::decode(proof.encode()), Ok(proof));
        }
        let _ = Members::default().missing_in(bytes.clone());
        let (mut channels, mut to_send) = (Channels::new(1), ToSend::new());
        for boot in [0, 1, u64::MAX] {
            let _ = channels.on_message(Time(0), (node(1), boot), bytes.clone(), &mut to_send);
        }
    }
}
