//! Every decoder of a cloud's answer: with the inputs of the fuzz targets (`fuzz/corpus`, where each finding becomes one), and
//! with what proptest makes of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper that fails must fail its test")]

#[expect(unreachable_pub, reason = "the package of the fuzz targets exports it")]
#[path = "../../fuzz/src/property.rs"]
mod property;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use managed_redis_operator::cloud::testing;
use managed_redis_operator::inventory::testing::{keep_kakao_detail, keep_kakao_list, keep_ncp_list};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

use crate::property::{LIST, SINGLE};

type Decoder = fn(&[u8]);

/// By the names of the fuzz targets, with the memory that each may use.
const DECODERS: [(&str, Decoder, usize); 8] = [
    ("kakao_apply", testing::decode_kakao_apply, SINGLE),
    ("kakao_detail", keep_kakao_detail, SINGLE),
    ("kakao_flavors", testing::decode_kakao_flavors, SINGLE),
    ("kakao_list", keep_kakao_list, LIST),
    ("kakao_token", testing::decode_kakao_token, SINGLE),
    ("kakao_versions", testing::decode_kakao_versions, SINGLE),
    ("ncp_flush", testing::decode_ncp_flush, LIST),
    ("ncp_list", keep_ncp_list, LIST),
];

/// Inputs that proptest makes for each decoder.
const CASES: u32 = 200;

/// Memory is counted of the whole process, so one test decodes at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Names of what is in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The corpus of a decoder, by file name.
fn corpus(decoder: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = fuzz().join("corpus").join(decoder);
    names(&folder).into_iter().map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap())).collect()
}

#[test]
fn every_decoder_has_a_target_and_a_corpus() {
    let decoders: BTreeSet<String> = DECODERS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let targets = names(&fuzz().join("fuzz_targets"));
    let targets: BTreeSet<String> = targets.iter().map(|file| file.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(targets, decoders);
    assert_eq!(BTreeSet::from_iter(names(&fuzz().join("corpus"))), decoders);
    for (decoder, ..) in DECODERS {
        assert!(corpus(decoder).len() >= 5, "{decoder}");
    }
}

#[test]
fn the_corpora_hold() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut broken = Vec::new();
    for (decoder, decode, allowance) in DECODERS {
        for (file, input) in corpus(decoder) {
            if std::panic::catch_unwind(|| property::holds(decode, allowance, &input)).is_err() {
                broken.push(format!("{decoder}/{file}"));
            }
        }
    }
    assert_eq!(broken, [""; 0], "what each did is printed above");
}

/// What the documents of the clouds, and of who means harm, are made of.
const PIECES: &[&str] = &[
    "{},",
    "[",
    "]",
    "{",
    "}",
    "0,",
    "null",
    "true",
    "\"\"",
    "\"-\"",
    ":",
    ",",
    "-1",
    "1e300",
    "3.0",
    "<a>",
    "</a>",
    "<a/>",
    "&x;",
    "\u{feff}",
    "\\ud800",
    "\"2026-03-06T02:35:13Z\"",
    "\"-009999-01-01T00:00:00Z\"",
    "9223372036854775808",
];

/// A change of a document: `length` bytes at `at` become `count` times `with`.
#[derive(Clone, Debug)]
struct Change {
    at: Index,
    length: usize,
    with: Vec<u8>,
    count: usize,
}

fn change() -> impl Strategy<Value = Change> {
    let known = prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec());
    let random = prop::collection::vec(any::<u8>(), 0..8);
    let count = prop_oneof![4 => Just(1_usize), 1 => 2..3_000_usize];
    (any::<Index>(), 0..24_usize, prop_oneof![3 => known, 1 => random], count)
        .prop_map(|(at, length, with, count)| Change { at, length, with, count })
}

fn changed(document: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut document = document.to_vec();
    for change in changes {
        let start = change.at.index(document.len() + 1);
        let end = (start + change.length).min(document.len());
        document.splice(start..end, change.with.repeat(change.count));
    }
    document
}

#[test]
fn changed_documents_hold() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (decoder, decode, allowance) in DECODERS {
        let documents: Vec<Vec<u8>> = corpus(decoder).into_values().collect();
        let strategy = (any::<Index>(), prop::collection::vec(change(), 1..4));
        let mut runner = TestRunner::new(ProptestConfig { cases: CASES, ..ProptestConfig::default() });
        let outcome = runner.run(&strategy, |(document, changes)| {
            let document: &Vec<u8> = document.get(documents.as_slice());
            property::holds(decode, allowance, &changed(document, &changes));
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{decoder}: {error}"));
    }
}
