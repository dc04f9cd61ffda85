//! Networks in their files, their secrets, and invite lines.

use super::*;
use std::fs;
use std::time::Instant;

const FIRST: &str = "correct horse battery staple";
const SECOND: &str = "a secret that came later";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// If this fails, nodes of this version do not find nodes of earlier ones: the derivation is
/// part of the protocol and must not change. The values are those of the reference
/// implementation of Argon2 too.
#[test]
fn a_known_secret_makes_a_known_network() {
    let network = Network::new(derive_id(FIRST), Zeroizing::new(FIRST.into()));
    assert_eq!(network.id.to_string(), "1592f56aaa0e90858307a088deeeda40");
    let psk = "143c085fb6d39277deeae70b2b5900aac9dac06ac7df3cdc49197423bce74c8e";
    assert_eq!(hex(&*network.psk), psk);
}

#[test]
fn nodes_that_are_given_one_secret_form_one_network() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Network::load_or_create(first.path(), Some(FIRST)).unwrap();
    let two = Network::load_or_create(second.path(), Some(&format!(" {FIRST}\n"))).unwrap();
    assert_eq!((one.id, &one.psk), (two.id, &two.psk));
    let again = Network::load_or_create(first.path(), None).unwrap();
    assert_eq!((one.id, &one.psk), (again.id, &again.psk));
    assert!(Network::load_or_create(first.path(), Some(FIRST)).is_ok());
}

#[test]
fn a_node_without_a_secret_makes_a_good_one_of_its_own() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Network::load_or_create(first.path(), None).unwrap();
    let two = Network::load_or_create(second.path(), None).unwrap();
    assert_eq!(one.secret.len(), SECRET_MADE_CHARS);
    assert!(one.id != two.id && one.secret != two.secret);
    assert_eq!(Network::load_or_create(first.path(), None).unwrap().secret, one.secret);
}

#[test]
fn another_secret_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let network = Network::load_or_create(dir.path(), Some(FIRST)).unwrap();
    let error = Network::load_or_create(dir.path(), Some(SECOND)).unwrap_err().to_string();
    assert!(error.contains(&format!("belongs to network {}", network.id)), "{error}");
    assert!(error.contains("--data-dir") && error.contains("folkmoot join"), "{error}");
    assert_eq!(Network::load_or_create(dir.path(), None).unwrap().secret, network.secret);
}

#[test]
fn a_replaced_secret_leaves_the_id_and_travels_by_invitation() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = Network::load_or_create(first.path(), Some(FIRST)).unwrap();
    Network::load_or_create(second.path(), Some(FIRST)).unwrap();
    let new = old.rotate(first.path(), Some(SECOND)).unwrap();
    assert!(new.id == old.id && new.psk != old.psk);
    let error = Network::load_or_create(first.path(), Some(FIRST)).unwrap_err().to_string();
    assert!(error.contains("the secret was replaced since"), "{error}");
    let line = new.invite(vec!["http://127.0.0.1:1".into()]).to_string();
    let joined = Network::join(second.path(), &line.parse().unwrap()).unwrap();
    assert_eq!((joined.id, &joined.psk), (new.id, &new.psk));
    assert_eq!(Network::load(second.path()).unwrap().unwrap().secret, new.secret);
}

#[test]
fn a_directory_of_another_network_does_not_join() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Network::load_or_create(first.path(), Some(FIRST)).unwrap();
    let two = Network::load_or_create(second.path(), Some(SECOND)).unwrap();
    let error = Network::join(second.path(), &one.invite(vec![])).unwrap_err().to_string();
    assert!(error.contains(&one.id.to_string()) && error.contains(&two.id.to_string()), "{error}");
    assert_eq!(Network::load(second.path()).unwrap().unwrap().id, two.id);
}

#[test]
fn secrets_that_cannot_be_one_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(SECRET_BYTES_MAX + 1);
    for secret in ["", " \n", "a\0b", &long] {
        let error = Network::load_or_create(dir.path(), Some(secret)).unwrap_err();
        assert!(matches!(error, NetworkError::Secret(_)), "{error}");
    }
    assert!(Network::load_or_create(dir.path(), Some(&long[1..])).is_ok());
}

#[test]
fn every_flipped_bit_of_the_file_is_noticed_whatever_the_secret() {
    for secret in [FIRST, "quo\"ted \\ 'both' ways", "= [x] # é"] {
        let good = Stored::to_file(derive_id(FIRST), &Zeroizing::new(secret.into()));
        assert_eq!(&**Stored::from_file(good.as_bytes()).unwrap().1, secret);
        for place in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.as_bytes().to_vec();
                bad[place] ^= 1 << bit;
                assert!(Stored::from_file(&bad).is_none(), "byte {place}, bit {bit}");
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    private_file::write(&dir.path().join(NETWORK_FILE), b"id = 1").unwrap();
    let error = Network::load_or_create(dir.path(), None).unwrap_err().to_string();
    assert!(error.contains("network.toml is damaged"), "{error}");
}

#[cfg(unix)]
#[test]
fn the_file_is_private_and_the_secret_is_not_printed() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let network = Network::load_or_create(dir.path(), Some(FIRST)).unwrap();
    let mode = fs::metadata(dir.path().join(NETWORK_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!format!("{network:?}").contains("horse"));
}

/// Prints a figure.
#[test]
#[ignore = "a measurement"]
fn one_derivation_takes_some_tens_of_milliseconds() {
    let start = Instant::now();
    derive_id(FIRST);
    println!("{} ms", start.elapsed().as_millis());
}
