//! The encryption inside a link: Noise (revision 34), `XXpsk3`.
//!
//! Promise: whoever completes the handshake has the network secret's key and has seen the same
//! first words; what is opened was sealed at the other end, once, and in this order. The static
//! key is made anew at each start: which node it is says the proof that follows, see
//! [`super::handshake`].

use bytes::Bytes;
use snow::params::NoiseParams;
use snow::{HandshakeState, StatelessTransportState};
use std::sync::Arc;
use zeroize::Zeroizing;

const PATTERN: &str = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s";
/// Place of the network's key in the pattern: at the end of the third message.
const PSK_PLACE: u8 = 3;
/// Bytes that sealing adds to a message.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of the largest message of the handshake: two keys' worth and two tags.
const HANDSHAKE_BYTES_MAX: usize = 128;

/// Bytes that were not made by somebody with the same keys, or not at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forged;

/// The static key of this process.
pub(super) struct StaticKey(Zeroizing<Vec<u8>>);

impl StaticKey {
    pub(super) fn generate() -> StaticKey {
        let pair = snow::Builder::new(params()).generate_keypair();
        StaticKey(Zeroizing::new(pair.expect("the operating system has random numbers").private))
    }
}

/// A handshake under way; the dialler writes first, then the sides take turns, three messages.
pub(super) struct Handshake {
    state: HandshakeState,
}

impl Handshake {
    pub(super) fn dialler(psk: &[u8; 32], key: &StaticKey, prologue: &[u8]) -> Handshake {
        let state = builder(psk, key, prologue).and_then(snow::Builder::build_initiator);
        Handshake { state: state.expect("pattern and key sizes fit") }
    }

    pub(super) fn acceptor(psk: &[u8; 32], key: &StaticKey, prologue: &[u8]) -> Handshake {
        let state = builder(psk, key, prologue).and_then(snow::Builder::build_responder);
        Handshake { state: state.expect("pattern and key sizes fit") }
    }

    /// The next message of this side.
    pub(super) fn write(&mut self) -> Bytes {
        let mut out = vec![0; HANDSHAKE_BYTES_MAX];
        let length = self.state.write_message(&[], &mut out).expect("it is this side's turn");
        out.truncate(length);
        out.into()
    }

    /// Reads the next message of the other side.
    pub(super) fn read(&mut self, message: &[u8]) -> Result<(), Forged> {
        let mut payload = [0; HANDSHAKE_BYTES_MAX];
        if message.len() > HANDSHAKE_BYTES_MAX {
            return Err(Forged);
        }
        match self.state.read_message(message, &mut payload) {
            Ok(0) => Ok(()),
            _ => Err(Forged),
        }
    }

    /// After the third message: the hash of all that was said, and the two directions.
    pub(super) fn finish(self) -> (Vec<u8>, Sealer, Opener) {
        let hash = self.state.get_handshake_hash().to_vec();
        let transport = self.state.into_stateless_transport_mode();
        let transport = Arc::new(transport.expect("three messages were exchanged"));
        let sealer = Sealer { transport: transport.clone(), nonce: 0 };
        (hash, sealer, Opener { transport, nonce: 0 })
    }
}

/// Seals what this side sends.
pub(super) struct Sealer {
    transport: Arc<StatelessTransportState>,
    nonce: u64,
}

impl Sealer {
    pub(super) fn seal(&mut self, plain: &[u8]) -> Bytes {
        let mut out = vec![0; plain.len() + TAG_BYTES];
        let sealed = self.transport.write_message(self.nonce, plain, &mut out);
        sealed.expect("frames are within the limit of Noise messages");
        self.nonce += 1;
        out.into()
    }
}

/// Opens what the other side sent, in order: a message that is repeated, left out or changed is
/// forged, and so is all that follows.
pub(super) struct Opener {
    transport: Arc<StatelessTransportState>,
    nonce: u64,
}

impl Opener {
    pub(super) fn open(&mut self, sealed: &[u8]) -> Result<Bytes, Forged> {
        let length = sealed.len().checked_sub(TAG_BYTES).ok_or(Forged)?;
        let mut out = vec![0; length];
        let opened = self.transport.read_message(self.nonce, sealed, &mut out);
        opened.map_err(|_| Forged)?;
        self.nonce += 1;
        Ok(out.into())
    }
}

fn params() -> NoiseParams {
    PATTERN.parse().expect("a pattern that the library knows")
}

fn builder<'a>(
    psk: &'a [u8; 32],
    key: &'a StaticKey,
    prologue: &'a [u8],
) -> Result<snow::Builder<'a>, snow::Error> {
    snow::Builder::new(params()).local_private_key(&key.0)?.psk(PSK_PLACE, psk)?.prologue(prologue)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Side = (Vec<u8>, Sealer, Opener);

    fn shake(psks: [[u8; 32]; 2], prologues: [&[u8]; 2]) -> Result<(Side, Side), Forged> {
        let (a, b) = (StaticKey::generate(), StaticKey::generate());
        let mut dialler = Handshake::dialler(&psks[0], &a, prologues[0]);
        let mut acceptor = Handshake::acceptor(&psks[1], &b, prologues[1]);
        acceptor.read(&dialler.write())?;
        dialler.read(&acceptor.write())?;
        acceptor.read(&dialler.write())?;
        Ok((dialler.finish(), acceptor.finish()))
    }

    #[test]
    fn two_that_know_the_secret_agree_and_understand_each_other() {
        let (mut dialler, mut acceptor) = shake([[1; 32]; 2], [b"hello"; 2]).unwrap();
        assert_eq!(dialler.0, acceptor.0);
        for text in [&b"one"[..], b"", b"three"] {
            let sealed = dialler.1.seal(text);
            assert_eq!(sealed.len(), text.len() + TAG_BYTES);
            assert_eq!(acceptor.2.open(&sealed).unwrap(), text);
            assert_eq!(dialler.2.open(&acceptor.1.seal(text)).unwrap(), text);
        }
    }

    /// If this fails, nodes of this version do not understand earlier ones: see docs/protocol.md.
    #[test]
    fn a_handshake_with_known_keys_has_known_bytes() {
        let build = |key: u8| {
            let (key, fixed) = (StaticKey(Zeroizing::new(vec![key; 32])), [key + 1; 32]);
            let builder = builder(&[9; 32], Box::leak(Box::new(key)), b"the two hellos").unwrap();
            builder.fixed_ephemeral_key_for_testing_only(Box::leak(Box::new(fixed)))
        };
        let mut dialler = Handshake { state: build(1).build_initiator().unwrap() };
        let mut acceptor = Handshake { state: build(3).build_responder().unwrap() };
        let first = dialler.write();
        acceptor.read(&first).unwrap();
        let second = acceptor.write();
        dialler.read(&second).unwrap();
        let third = dialler.write();
        acceptor.read(&third).unwrap();
        assert_eq!([first.len(), second.len(), third.len()], [48, 96, 64]);
        let (hash, mut sealer, _) = dialler.finish();
        let all = [first, second, third, hash.into(), sealer.seal(b"proof"), sealer.seal(b"one")];
        let known = "1b8c613c1159d24aa4d5ad0186a4a91112036074b17832d768d3f3a7917e5d17";
        assert_eq!(blake3::hash(&all.concat()).to_hex().as_str(), known);
    }

    #[test]
    fn another_secret_or_other_first_words_end_the_handshake() {
        assert!(shake([[1; 32], [2; 32]], [b"hello"; 2]).is_err());
        assert!(shake([[1; 32]; 2], [b"hello", b"hallo"]).is_err());
    }

    #[test]
    fn a_message_is_opened_once_unchanged_and_in_its_turn() {
        let (mut dialler, mut acceptor) = shake([[1; 32]; 2], [b"hello"; 2]).unwrap();
        let [first, second] = [dialler.1.seal(b"first"), dialler.1.seal(b"second")];
        assert_eq!(acceptor.2.open(&second), Err(Forged), "out of turn");
        assert!(acceptor.2.open(&first).is_ok());
        assert_eq!(acceptor.2.open(&first), Err(Forged), "again");
        assert_eq!(dialler.2.open(&second), Err(Forged), "sent back");
        let mut changed = second.to_vec();
        changed[0] ^= 1;
        assert_eq!(acceptor.2.open(&changed), Err(Forged));
        assert_eq!(acceptor.2.open(&second[..TAG_BYTES - 1]), Err(Forged));
        assert!(acceptor.2.open(&second).is_ok());
    }
}
