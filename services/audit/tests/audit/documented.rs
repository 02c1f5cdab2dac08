//! The worked example of docs/audit.md is what the code does.

use sha2::{Digest, Sha256};
use spillway_audit::{Verifier, from_json};

const PAGE: &str = include_str!("../../../../docs/audit.md");

/// The blocks of the page that begin with this word.
fn blocks(kind: &str) -> Vec<&'static str> {
    let begin = format!("```{kind}\n");
    PAGE.split(begin.as_str()).skip(1).map(|rest| rest.split("```").next().expect("at least one part")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal")).collect()
}

#[test]
fn the_worked_example_verifies_and_hashes_what_it_says() {
    let lines: Vec<&str> = blocks("json").into_iter().flat_map(str::lines).collect();
    let (hashed, hashes) = (blocks("hex"), blocks("hash"));
    assert_eq!((lines.len(), hashed.len(), hashes.len()), (2, 2, 2));
    let mut verifier = Verifier::new();
    for ((line, hashed), hash) in lines.into_iter().zip(hashed).zip(hashes) {
        verifier.next(&from_json(line).expect("a line of an export")).expect("fits");
        assert_eq!(Sha256::digest(bytes(hashed))[..], bytes(hash));
        assert_eq!(verifier.hash()[..], bytes(hash));
    }
}
