//! Bytes that clients 1.7.4, 2.5.0, 3.1.3 and 4.8.4 sent, and any bytes.

use super::*;
use proptest::prelude::*;

const IM: &str = r#"2["im",{"text":"é😀"}]"#;

fn message(text: &'static str) -> Packet {
    Packet { kind: Kind::Message, data: Bytes::from_static(text.as_bytes()) }
}

fn ping() -> Packet {
    Packet { kind: Kind::Ping, data: Bytes::new() }
}

fn decode(protocol: Protocol, body: impl Into<Bytes>) -> Result<Vec<Packet>, Malformed> {
    decode_payload(protocol, &body.into(), false, Bounds::CLIENT)
}

#[test]
fn version_1_without_binary_encodes_text_twice() {
    // As JavaScript sees it: a character for each byte of the UTF-8.
    let text: String = IM.bytes().map(char::from).collect();
    let body = format!("26:4{text}1:2");
    assert_eq!(decode(Protocol::Three, body), Ok(vec![message(IM), ping()]));
}

#[test]
fn version_1_with_binary_frames_everything() {
    let body: &[u8] = &[
        0, 2, 6, 255, 52, 50, 91, 34, 105, 109, 34, 44, 123, 34, 116, 101, 120, 116, 34, 58, 34,
        195, 169, 240, 159, 152, 128, 34, 125, 93, 0, 1, 255, 50,
    ];
    let read = decode_payload(Protocol::Three, &Bytes::from_static(body), true, Bounds::CLIENT);
    assert_eq!(read, Ok(vec![message(IM), ping()]));
}

#[test]
fn version_2_counts_code_units() {
    let body = format!("23:4{IM}1:2");
    assert_eq!(decode(Protocol::Three, body), Ok(vec![message(IM), ping()]));
}

#[test]
fn version_2_frames_what_has_bytes_in_it() {
    let body: &[u8] = &[0, 7, 255, 52, 52, 53, 49, 45, 91, 93, 1, 3, 255, 4, 1, 2];
    let read = decode_payload(Protocol::Three, &Bytes::from_static(body), true, Bounds::CLIENT);
    assert_eq!(read, Ok(vec![message("451-[]"), Packet::binary()]));
}

#[test]
fn versions_3_and_4_separate_packets() {
    let body = format!("4{IM}\u{1e}2\u{1e}bAQI=");
    assert_eq!(decode(Protocol::Four, body), Ok(vec![message(IM), ping(), Packet::binary()]));
}

#[test]
fn latin_1_text_of_version_2_is_left_alone() {
    let body = "10:42[\"é\",ÿ]é";
    assert_eq!(decode(Protocol::Three, body).unwrap(), vec![message("2[\"é\",ÿ]é")]);
}

#[test]
fn payloads_for_protocol_3_are_ascii_and_count_the_same_for_all() {
    let packets = [Bytes::from(format!("4{IM}")), Bytes::from_static(b"3")];
    let payload = encode_payload(Protocol::Three, &packets);
    assert_eq!(&payload[..], br#"38:42["im",{"text":"\u00e9\ud83d\ude00"}]1:3"#);
    let payload = encode_payload(Protocol::Four, &packets);
    assert_eq!(payload, format!("4{IM}\u{1e}3"));
}

#[test]
fn payloads_of_bytes_are_ascii_in_frames() {
    let packets = [Bytes::from_static("4\"é123\"".as_bytes()), Bytes::from_static(b"3")];
    let payload = encode_framed(&packets);
    assert_eq!(&payload[..], b"\0\x01\x02\xff4\"\\u00e9123\"\0\x01\xff3");
}

#[test]
fn limits_hold_to_the_byte() {
    let packet = |bytes: usize| Bytes::from("4".repeat(bytes));
    assert!(Packet::decode(packet(PACKET_BYTES_MAX), Bounds::CLIENT).is_ok());
    assert!(Packet::decode(packet(PACKET_BYTES_MAX + 1), Bounds::CLIENT).is_err());
    let most = vec!["2"; PAYLOAD_PACKETS_MAX].join("\u{1e}");
    assert!(decode(Protocol::Four, most.clone()).is_ok());
    assert!(decode(Protocol::Four, most + "\u{1e}2").is_err());
    assert!(decode(Protocol::Three, "1:2".repeat(PAYLOAD_PACKETS_MAX)).is_ok());
    assert!(decode(Protocol::Three, "1:2".repeat(PAYLOAD_PACKETS_MAX + 1)).is_err());
    let large = "4".repeat(100_000).repeat(9) + &"4".repeat(PAYLOAD_BYTES_MAX - 900_000);
    let told = |bytes: &str| decode(Protocol::Four, bytes.to_owned()).unwrap_err().0;
    assert_eq!(told(&large), "a packet is too large");
    assert_eq!(told(&(large + "4")), "the payload is too large");
}

#[test]
fn bad_payloads_are_refused() {
    for body in ["2", ":", "x:2", "-1:2", "2:2", "12345678:2", "1:x", "1:😀", "1e1:2", "9"] {
        assert!(decode(Protocol::Three, body).is_err(), "{body}");
    }
    assert!(decode(Protocol::Three, &b"1:\xff"[..]).is_err());
    for body in ["", "\u{1e}", "x", "2\u{1e}", "7"] {
        assert!(decode(Protocol::Four, body).is_err(), "{body}");
    }
    for body in [&[0][..], &[0, 255], &[0, 1], &[2, 1, 255, 50], &[0, 10, 255, 50], &[0, 1, 255]] {
        let body = Bytes::copy_from_slice(body);
        assert!(decode_payload(Protocol::Three, &body, true, Bounds::CLIENT).is_err(), "{body:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(body: Vec<u8>, binary: bool) {
        let body = Bytes::from(body);
        for protocol in [Protocol::Three, Protocol::Four] {
            for packet in decode_payload(protocol, &body, binary, Bounds::CLIENT).unwrap_or_default() {
                packet.text();
            }
        }
        let _ = Packet::decode(body, Bounds::CLIENT);
    }

    #[test]
    fn almost_payloads_do_no_harm(body in "([0-9]{0,3}:[0-9b]?\\PC{0,4}\u{1e}?){0,4}") {
        for protocol in [Protocol::Three, Protocol::Four] {
            let _ = decode(protocol, body.clone());
        }
    }

    #[test]
    fn what_is_written_is_read(texts in proptest::collection::vec("\\PC{0,20}", 1..5)) {
        let json = |text: &String| serde_json::to_string(text).unwrap();
        let packets: Vec<_> = texts.iter().map(|text| Bytes::from(format!("4{}", json(text)))).collect();
        let framed = encode_framed(&packets);
        for read in [
            decode(Protocol::Three, encode_payload(Protocol::Three, &packets)),
            decode(Protocol::Four, encode_payload(Protocol::Four, &packets)),
            decode_payload(Protocol::Three, &framed, true, Bounds::CLIENT),
        ] {
            let read: Vec<String> = read
                .unwrap()
                .iter()
                .map(|packet| serde_json::from_str(packet.text()).unwrap())
                .collect();
            prop_assert_eq!(&read, &texts);
        }
    }
}
