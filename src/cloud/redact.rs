//! Keeps a cloud's answer from repeating the credential that it was asked with.
//!
//! A gateway, a proxy or a debug page may echo the request in any form. Two filters remove secrets: [`Masker`] from the bytes of a
//! response before they are read, [`Redactor`] from every text before it is shown.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

use crate::text::one_line;

/// Characters of a secret in a row that no text may have. A shorter secret may not appear as a whole.
const SHOWN_WINDOW: usize = 8;
/// Shorter "secrets" are not searched for: otherwise every text with an `a` would be an echo.
const MIN_SECRET: usize = 4;
/// Bytes of a secret in a row that are masked in an answer. Longer than what texts may have, for an answer is data: eight
/// characters that happen to be those of a key may be part of a cluster's ID.
const MASKED_WINDOW: usize = 16;
/// Layers of escapes that are taken off a text.
const LAYERS: usize = 4;
/// Shown in place of a word that repeats a secret.
const REDACTED: &str = "[redacted]";

/// Knows whether a text repeats a part of a secret.
pub(crate) struct Redactor {
    windows: HashSet<[u8; SHOWN_WINDOW]>,
    short: Vec<Vec<u8>>,
}

impl Redactor {
    /// A redactor for these secrets. Case does not matter to it.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let mut redactor = Self { windows: HashSet::new(), short: Vec::new() };
        for secret in secrets {
            let secret = secret.expose_secret();
            if secret.len() < MIN_SECRET {
                continue;
            }
            for form in forms(secret.as_bytes()).into_iter().chain([hex(secret.as_bytes())]) {
                redactor.add(form.to_ascii_lowercase());
            }
        }
        redactor
    }

    fn add(&mut self, form: Vec<u8>) {
        if form.len() < SHOWN_WINDOW {
            self.short.push(form);
        } else {
            self.windows.extend(form.array_windows::<SHOWN_WINDOW>());
        }
    }

    /// Whether the text has a part of a secret: as it is, in base64 or hex at any alignment, escaped for a URL, JSON or HTML
    /// (also several times over), or split by characters that are blank, invisible or markup.
    pub(crate) fn repeats(&self, text: &str) -> bool {
        let mut layer = visible(text);
        for _ in 0..LAYERS {
            if self.is_in(&layer) || self.is_in(&without_tags(&layer)) {
                return true;
            }
            let below = visible(&unescaped(&layer));
            if below == layer {
                return false;
            }
            layer = below;
        }
        self.is_in(&layer)
    }

    fn is_in(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase().into_bytes();
        text.array_windows().any(|window| self.windows.contains(window))
            || self.short.iter().any(|short| text.windows(short.len()).any(|window| window == short))
    }

    /// A code, an ID or a message of the cloud as one line of at most `max_chars`, if it says something; what repeats a secret is
    /// not shown.
    pub(crate) fn word(&self, word: &str, max_chars: usize) -> Option<String> {
        let line = one_line(word, max_chars);
        let line = if self.repeats(&line) { REDACTED.to_owned() } else { line };
        (!line.is_empty()).then_some(line)
    }
}

/// Masks every long part of a secret in the bytes of an answer, as it is or in base64, before anything reads them: names and
/// states are data that is passed on, and so never looked at as texts.
pub(crate) struct Masker(Parts);

impl Masker {
    /// A masker for these secrets.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self(Parts::of(secrets))
    }

    /// Masks them where they are.
    pub(crate) fn mask(&self, body: &mut [u8]) {
        for range in self.echoes(body) {
            body[range].fill(b'*');
        }
    }

    /// The same bytes, or a copy in which they are masked.
    pub(crate) fn masked<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let echoes = self.echoes(bytes);
        if echoes.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut copy = bytes.to_vec();
        for range in echoes {
            copy[range].fill(b'*');
        }
        Cow::Owned(copy)
    }

    /// Where parts of a secret are. Lists of clusters are megabytes, so only every eighth place is looked at: sixteen bytes in a
    /// row contain a whole block of eight.
    fn echoes(&self, body: &[u8]) -> Vec<Range<usize>> {
        let mut echoes: Vec<Range<usize>> = Vec::new();
        for at in (0..body.len()).step_by(BLOCK).filter(|at| self.0.has_block(body, *at)) {
            for start in (at.saturating_sub(MASKED_WINDOW - BLOCK)..=at).filter(|start| self.0.has_window(body, *start))
            {
                match echoes.last_mut() {
                    Some(last) if start <= last.end => last.end = start + MASKED_WINDOW,
                    _ => echoes.push(start..start + MASKED_WINDOW),
                }
            }
        }
        echoes
    }
}

/// Bytes that are looked at together.
const BLOCK: usize = 8;

/// The parts of secrets that are masked, and a filter that says "no" to nearly everything in a nanosecond.
struct Parts {
    windows: HashSet<[u8; MASKED_WINDOW]>,
    blocks: HashSet<u64>,
    filter: Vec<u64>,
    shift: u32,
}

impl Parts {
    fn of<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let (mut windows, mut blocks) = (HashSet::new(), HashSet::new());
        for form in secrets.into_iter().flat_map(|secret| forms(secret.expose_secret().as_bytes())) {
            if form.len() >= MASKED_WINDOW {
                windows.extend(form.array_windows::<MASKED_WINDOW>());
                blocks.extend(form.array_windows::<BLOCK>().copied().map(u64::from_be_bytes));
            }
        }
        // 64 bits for each block, so that one of 64 strangers is looked up.
        let words = blocks.len().max(1).next_power_of_two();
        let mut parts = Self { windows, blocks, filter: vec![0; words], shift: 64 - (words * 64).trailing_zeros() };
        for block in &parts.blocks {
            let bit = place(*block, parts.shift);
            parts.filter[bit / 64] |= 1 << (bit % 64);
        }
        parts
    }

    fn has_block(&self, body: &[u8], at: usize) -> bool {
        let Some(block) = body.get(at..).and_then(|rest| rest.first_chunk()) else { return false };
        let block = u64::from_be_bytes(*block);
        let bit = place(block, self.shift);
        self.filter[bit / 64] & (1 << (bit % 64)) != 0 && self.blocks.contains(&block)
    }

    fn has_window(&self, body: &[u8], start: usize) -> bool {
        body.get(start..).and_then(|rest| rest.first_chunk()).is_some_and(|window| self.windows.contains(window))
    }
}

/// The bit of the filter for a block: the upper bits of a product, on which all bits of the block have an influence.
#[expect(clippy::cast_possible_truncation, reason = "it was just shifted to the size of the filter")]
fn place(block: u64, shift: u32) -> usize {
    (block.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
}

/// The secret as it is, and what base64 makes of it wherever in a text it begins, without the characters that depend on what
/// stands beside it.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
        let engine = GeneralPurpose::new(alphabet, NO_PAD);
        for before in 0..3 {
            let shifted = [&[0; 3][..before], secret].concat();
            let encoded = engine.encode(&shifted).into_bytes();
            let (start, end) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
            forms.push(encoded[start.min(end)..end].to_vec());
        }
    }
    forms
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// The characters that a secret can have, and nothing in between.
fn visible(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).collect()
}

fn without_tags(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|character| {
            match character {
                '<' => depth += 1,
                '>' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect()
}

/// One layer of escapes taken off: `%41`, `\u0041`, `\x41`, `\/`, `&#65;`, `&#x41;`, `&amp;`.
fn unescaped(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (character, used) = match first {
            '%' => code(rest, 1, 2, 16),
            '\\' => backslash(rest),
            '&' => entity(rest),
            _ => None,
        }
        .unwrap_or((Some(first), first.len_utf8()));
        plain.extend(character);
        rest = &rest[used..];
    }
    plain.into_iter().collect()
}

/// The entities of HTML that stand for ASCII.
const ENTITIES: [(&str, char); 31] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("excl", '!'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("equals", '='),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("lowbar", '_'),
    ("grave", '`'),
    ("lcub", '{'),
    ("verbar", '|'),
    ("rcub", '}'),
];

/// A character, if one came of it, and the bytes that it took.
type Unescaped = Option<(Option<char>, usize)>;

/// A character given by `digits` digits after `skip` bytes.
fn code(text: &str, skip: usize, digits: usize, radix: u32) -> Unescaped {
    let number = u32::from_str_radix(text.get(skip..skip + digits)?, radix).ok()?;
    Some((char::from_u32(number), skip + digits))
}

fn backslash(text: &str) -> Unescaped {
    match text.as_bytes().get(1)? {
        b'u' if text[2..].starts_with('{') => {
            let end = text.find('}')?;
            let number = u32::from_str_radix(text.get(3..end)?, 16).ok()?;
            Some((char::from_u32(number), end + 1))
        }
        b'u' => code(text, 2, 4, 16),
        b'x' => code(text, 2, 2, 16),
        // Line breaks and the like, which split a text.
        b'n' | b'r' | b't' | b'b' | b'f' | b'0' => Some((None, 2)),
        _ => Some((None, 1)),
    }
}

fn entity(text: &str) -> Unescaped {
    // The longest name is shorter.
    let end = text.bytes().take(40).position(|byte| byte == b';')?;
    let name = text.get(1..end)?;
    let number = match name.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => digits.parse().ok(),
        },
        None => ENTITIES.iter().find(|(known, _)| *known == name).map(|(_, character)| u32::from(*character)),
    };
    let known = number.and_then(char::from_u32);
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#');
    // An unknown name is for a character outside of ASCII.
    is_name.then_some((known, end + 1))
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
