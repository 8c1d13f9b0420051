//! The body of a response while it arrives: decompressed, counted, and kept only as far as it is needed.
//!
//! Nothing here waits. What is bounded: the bytes after decompression, the bytes and pieces on the wire, and what is kept.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use super::error::Failure;
use super::split::{RawEntry, SplitError, Splitter};

/// What a body may take without asking for a share of the process's budget; nearly all bodies are smaller.
pub(crate) const FREE_BYTES: usize = 64 << 10;
/// Pieces that may be of any size.
const FREE_PIECES: usize = 4096;
/// From then on they have at least so many bytes on average: a peer that sends byte by byte costs more than it is worth.
const MIN_PIECE_BYTES: usize = 128;
/// Compressed bytes that are taken in at once: they become some 500 KiB at most.
const GZIP_PIECE_BYTES: usize = 512;

/// How a body is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Largest body after decompression, in bytes.
    pub(crate) max: usize,
    /// Whether the first [`FREE_BYTES`] are enough, as of an error.
    pub(crate) head_is_enough: bool,
    /// The list whose entries are handed over one by one, if the body is a JSON object: its key, and how deep that may be.
    pub(crate) list: Option<(&'static str, usize)>,
}

/// Takes each entry of the list; a failure ends the body.
pub(crate) type TakeEntry<'a> = &'a mut (dyn FnMut(RawEntry<'_>) -> Result<(), Failure> + Send);

/// Why a body is not read to its end.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It is larger than it may be.
    TooLarge(usize),
    /// It comes in very many tiny pieces.
    TinyPieces,
    /// It is not what its content encoding says.
    Undecodable(io::Error),
    /// It broke off within the compression.
    BrokenOff,
    /// Its list cannot be cut into entries.
    Split(SplitError),
    /// The receiver of the entries refused one.
    Refused(Box<Failure>),
}

impl From<SplitError> for BodyError {
    fn from(error: SplitError) -> Self {
        Self::Split(error)
    }
}

/// What is left of a body at its end.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The body, or its envelope; without a byte order mark.
    pub(crate) bytes: Vec<u8>,
    /// Whether the entries of the list were handed over.
    pub(crate) is_envelope: bool,
}

/// A body that is being read.
pub(crate) struct Body<'a> {
    decoder: Decoder<'a>,
    pieces: usize,
    wire_bytes: usize,
    max: usize,
}

enum Decoder<'a> {
    Plain(Sink<'a>),
    Gzip(Box<MultiGzDecoder<Sink<'a>>>),
}

impl<'a> Body<'a> {
    /// A body of which nothing has come yet.
    pub(crate) fn new(shape: Shape, is_gzip: bool, take: TakeEntry<'a>) -> Self {
        let sink = Sink { shape, take, seen: 0, state: BodyState::Lead, stopped: None };
        let decoder = if is_gzip { Decoder::Gzip(Box::new(MultiGzDecoder::new(sink))) } else { Decoder::Plain(sink) };
        Self { decoder, pieces: 0, wire_bytes: 0, max: shape.max }
    }

    /// Counts a piece that came over the wire, before its parts are taken in.
    pub(crate) fn count(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        self.pieces += 1;
        self.wire_bytes += piece.len();
        if self.wire_bytes > self.max.saturating_add(FREE_BYTES) {
            return Err(BodyError::TooLarge(self.max));
        }
        let counted = self.pieces.saturating_sub(FREE_PIECES);
        if self.wire_bytes < counted * MIN_PIECE_BYTES { Err(BodyError::TinyPieces) } else { Ok(()) }
    }

    /// The parts in which a piece is to be taken in.
    pub(crate) fn parts<'p>(&self, piece: &'p [u8]) -> std::slice::Chunks<'p, u8> {
        piece.chunks(match self.decoder {
            Decoder::Plain(_) => piece.len().max(1),
            Decoder::Gzip(_) => GZIP_PIECE_BYTES,
        })
    }

    /// Takes in the next part; whether more is wanted.
    pub(crate) fn take_in(&mut self, part: &[u8]) -> Result<bool, BodyError> {
        let written = match &mut self.decoder {
            Decoder::Plain(sink) => sink.write_all(part),
            Decoder::Gzip(decoder) => decoder.write_all(part).and_then(|()| decoder.flush()),
        };
        match (written, self.sink().stopped.take()) {
            (_, Some(Stop::Enough)) => Ok(false),
            (_, Some(Stop::Error(error))) => Err(error),
            (Ok(()), None) => Ok(true),
            (Err(error), None) => Err(BodyError::Undecodable(error)),
        }
    }

    /// Whether it keeps so much that a share of the budget is needed.
    pub(crate) fn needs_budget(&mut self) -> bool {
        matches!(&self.sink().state, BodyState::Whole(bytes) if bytes.len() > FREE_BYTES)
    }

    /// The end has come.
    pub(crate) fn finish(mut self) -> Result<Kept, BodyError> {
        if let (Decoder::Gzip(decoder), true) = (&mut self.decoder, self.wire_bytes > 0) {
            let finished = decoder.try_finish();
            if let Some(Stop::Error(error)) = self.sink().stopped.take() {
                return Err(error);
            }
            finished.map_err(|_| BodyError::BrokenOff)?;
        }
        Ok(self.into_kept())
    }

    /// What has come so far.
    pub(crate) fn into_kept(mut self) -> Kept {
        match std::mem::replace(&mut self.sink().state, BodyState::Lead) {
            BodyState::Lead => Kept::default(),
            BodyState::Whole(bytes) => Kept { bytes, is_envelope: false },
            BodyState::Split(splitter) => Kept { bytes: splitter.into_envelope(), is_envelope: true },
        }
    }

    fn sink(&mut self) -> &mut Sink<'a> {
        match &mut self.decoder {
            Decoder::Plain(sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_mut(),
        }
    }
}

/// Where decompressed bytes go.
struct Sink<'a> {
    shape: Shape,
    take: TakeEntry<'a>,
    seen: usize,
    state: BodyState,
    /// Why it takes no more; a writer can say no more than that it failed.
    stopped: Option<Stop>,
}

enum BodyState {
    /// Only blanks and a byte order mark have come.
    Lead,
    Whole(Vec<u8>),
    Split(Box<Splitter>),
}

enum Stop {
    Enough,
    Error(BodyError),
}

impl Sink<'_> {
    fn ensure_success(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.seen += bytes.len();
        if self.seen > self.shape.max && !self.shape.head_is_enough {
            return Err(Stop::Error(BodyError::TooLarge(self.shape.max)));
        }
        let bytes = if matches!(self.state, BodyState::Lead) { self.begin(bytes) } else { bytes };
        match &mut self.state {
            BodyState::Lead => Ok(()),
            BodyState::Whole(body) if self.shape.head_is_enough => {
                let room = FREE_BYTES - body.len().min(FREE_BYTES);
                body.extend_from_slice(&bytes[..bytes.len().min(room)]);
                if bytes.len() > room { Err(Stop::Enough) } else { Ok(()) }
            }
            BodyState::Whole(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
            BodyState::Split(splitter) => {
                let take = &mut self.take;
                let mut take =
                    |entry: RawEntry<'_>| take(entry).map_err(|failure| BodyError::Refused(Box::new(failure)));
                splitter.feed(bytes, &mut take).map_err(Stop::Error)
            }
        }
    }

    /// Skips what may stand before the document, and decides by its first byte how it is read.
    fn begin<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        // No document begins with one of the three bytes of a byte order mark.
        let is_lead = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0xef | 0xbb | 0xbf);
        let Some(start) = bytes.iter().position(|byte| !is_lead(byte)) else { return &[] };
        self.state = match self.shape.list {
            Some((key, deepest)) if bytes[start] == b'{' => BodyState::Split(Box::new(Splitter::new(key, deepest))),
            _ => BodyState::Whole(Vec::new()),
        };
        &bytes[start..]
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.ensure_success(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(stop) => {
                self.stopped = Some(stop);
                Err(io::Error::other("no more is wanted"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Shape = Shape { max: 64 << 20, head_is_enough: false, list: Some(("clusters", 1)) };
    const PLAIN: Shape = Shape { max: 1000, head_is_enough: false, list: None };

    fn zip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Reads a body that comes in pieces of `length` bytes: what is kept, and the most that was kept on the way.
    fn read(shape: Shape, is_gzip: bool, wire: &[u8], length: usize) -> Result<(Kept, usize), BodyError> {
        let (mut take, mut most) = (|_: RawEntry<'_>| Ok(()), 0);
        let mut body = Body::new(shape, is_gzip, &mut take);
        for piece in wire.chunks(length) {
            body.count(piece)?;
            for part in body.parts(piece) {
                let goes_on = body.take_in(part)?;
                if let BodyState::Whole(bytes) = &body.sink().state {
                    most = most.max(bytes.len());
                }
                if !goes_on {
                    return Ok((body.into_kept(), most));
                }
            }
        }
        Ok((body.finish()?, most))
    }

    #[test]
    fn blanks_and_a_byte_order_mark_are_skipped() {
        for lead in ["", "\u{feff}", " \r\n", "\u{feff} "] {
            for (shape, is_envelope) in [(PLAIN, false), (PAGE, true)] {
                let document = format!("{lead}{{\"clusters\":[]}}");
                let (kept, _) = read(shape, false, document.as_bytes(), 2).unwrap();
                assert_eq!((kept.bytes.as_slice(), kept.is_envelope), (&br#"{"clusters":[]}"#[..], is_envelope));
            }
        }
        assert!(!read(PAGE, false, b"<a/>", 9).unwrap().0.is_envelope);
    }

    #[test]
    fn gzip_is_read_in_any_pieces_and_limited_after_decompression() {
        let wire = zip(&[b'x'; 1000]);
        for length in [1, 7, 5000] {
            assert_eq!(read(PLAIN, true, &wire, length).unwrap().0.bytes, [b'x'; 1000]);
        }
        assert!(matches!(read(PLAIN, true, &zip(&[b'x'; 1001]), 9), Err(BodyError::TooLarge(1000))));
        assert!(matches!(read(PLAIN, true, &wire[..wire.len() - 4], 9), Err(BodyError::BrokenOff)));
        assert!(matches!(read(PLAIN, true, b"no gzip at all", 9), Err(BodyError::Undecodable(_))));
        assert_eq!(read(PLAIN, true, b"", 9).unwrap().0.bytes, b"");
    }

    #[test]
    fn of_a_bomb_little_is_kept() {
        let wire = zip(&vec![b' '; 40 << 20]);
        let (kept, most) = read(PAGE, true, &wire, 16 << 10).unwrap();
        assert_eq!((kept.bytes.len(), most), (0, 0));
        let head = Shape { head_is_enough: true, ..PLAIN };
        let (kept, most) = read(head, true, &zip(&vec![b'x'; 40 << 20]), 16 << 10).unwrap();
        assert_eq!((kept.bytes.len(), most), (FREE_BYTES, FREE_BYTES));
        let whole = Shape { max: 4 << 20, head_is_enough: false, list: None };
        let mut take = |_: RawEntry<'_>| Ok(());
        let mut body = Body::new(whole, true, &mut take);
        let wire = zip(&vec![b'x'; 4 << 20]);
        let first = body.parts(&wire).position(|_| true).map(|_| &wire[..GZIP_PIECE_BYTES]).unwrap();
        body.take_in(first).unwrap();
        assert!(body.needs_budget() && body.into_kept().bytes.len() < 1 << 20, "it asks before it grows");
    }

    #[test]
    fn pieces_of_one_byte_are_counted() {
        let pieces = |count: usize, length: usize| {
            let mut take = |_: RawEntry<'_>| Ok(());
            let mut body = Body::new(PAGE, false, &mut take);
            (0..count).position(|_| body.count(&vec![0; length]).is_err())
        };
        assert_eq!(pieces(100_000, 1), Some(4128), "some thousands, then it is enough");
        assert_eq!(pieces(100_000, MIN_PIECE_BYTES), None);
        // Empty blocks of gzip are bytes on the wire that never become bytes of a body.
        assert!(pieces(100, 1 << 20).is_some_and(|count| count < 70));
    }
}
