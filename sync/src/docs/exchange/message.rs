//! What two nodes say to each other about their documents.
//!
//! Each message is one record in the stream of a session, so messages arrive in their order and
//! whole, and what is said of one document follows what was said of it before. Reading checks all
//! that can be checked without a store. Byte-exact page: `docs/formats/exchange.md`.

use crate::docs::change::{Change, hashes};
use crate::docs::chunk::Hash;
use crate::docs::cursor::Cursor;
use crate::docs::cut::Cut;
use crate::docs::parcel::read_chunks;
use crate::docs::sketch::{Item, SketchKey, Symbol};
use crate::docs::{DocumentName, Parcel, Refusal, SyncMessage};
use holdfast_core::Reject;
use holdfast_core::codec::{Reader, Sink};

const NAME_MAX: usize = 256;
const CODE_MAX: usize = 64;
const MEMBERSHIP_MAX: usize = 1024;
/// Symbols asked for at most: a larger difference is cheaper to find by the sorted list.
pub(super) const SYMBOLS_MAX: usize = 1024;
/// Items in one message, so that a list of many keeps leaving room for what is urgent.
pub(super) const ITEMS: usize = 1024;

const PUSH: u8 = 3;
const HAVE: u8 = 4;
const WANT: u8 = 5;
const TALK: u8 = 6;
const UPTO: u8 = 7;
const REFUSED: u8 = 8;
const MEMBER: u8 = 9;
const ROOT: u8 = 10;
const SKETCH: u8 = 11;
const SYMBOLS: u8 = 12;
const LIST: u8 = 13;
const DIFFER: u8 = 14;
const CUT: u8 = 21;

/// Whether a record of this kind is a message about documents.
#[must_use]
pub fn is_message(kind: u8) -> bool {
    (PUSH..=DIFFER).contains(&kind) || kind == CUT
}

/// A message to a peer, or one whose form has been checked.
#[derive(Clone, Debug)]
pub(super) enum Message<P, T, B> {
    /// Changes of a document behind what the peer is known to have.
    Push {
        /// The document.
        name: DocumentName,
        /// Its heads at the sender.
        heads: Vec<Hash>,
        /// The changes.
        parcel: P,
    },
    /// The document is in the epoch that began with this cut.
    Cut {
        /// The document.
        name: DocumentName,
        /// The cut.
        cut: Cut,
        /// The changes with which the epoch begins, or nothing for a peer that can make them.
        base: B,
    },
    /// The sender has a document up to these heads, and the peer should too.
    Have(DocumentName, Vec<Hash>),
    /// A message of the engine about a document whose histories have parted.
    Talk(DocumentName, T),
    /// The sender lacks changes of a document, and has it up to these heads.
    Want(DocumentName, Vec<Hash>),
    /// All documents that changed up to this place have been sent.
    Upto(Cursor),
    /// What came of a document was refused.
    Refused(DocumentName, String),
    /// A member that has written what follows.
    Member(Vec<u8>),
    /// All that the sender has for the peer, as one hash.
    Root(Root),
    /// So many symbols, or, with 0, the list are wanted.
    Sketch(usize),
    /// Symbols from this one on.
    Symbols(usize, Vec<Symbol>),
    /// Some of the sender's items, ascending; `true` with the last.
    List(bool, Vec<Item>),
    /// Items of the peer that are not here, and documents here whose items are not there; `true`
    /// with the last.
    Differ(bool, Vec<Item>, Vec<(DocumentName, Vec<Hash>)>),
}

/// A collection as one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Root {
    /// Where the sender's sequence of changes was.
    pub at: Cursor,
    /// How many documents there are.
    pub count: u64,
    /// Hash of their items, ascending.
    pub hash: [u8; 16],
    /// For the sketch.
    pub key: SketchKey,
}

/// As it is sent.
pub(super) type Outgoing = Message<Vec<u8>, Vec<u8>, Vec<u8>>;
/// As it was read.
pub(super) type Checked =
    Message<Result<Parcel, Refusal>, Result<SyncMessage, Refusal>, Result<Vec<Change>, Refusal>>;

impl Outgoing {
    /// The record.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out).expect("a growing buffer is never full");
        out
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self {
            Self::Push { name, heads, parcel } => {
                put_kind(out, PUSH, name)?;
                put_hashes(out, heads)?;
                out.put(parcel)
            }
            Self::Talk(name, message) => {
                put_kind(out, TALK, name)?;
                out.put(message)
            }
            Self::Cut { name, cut, base } => {
                put_kind(out, CUT, name)?;
                cut.put(out)?;
                out.put(base)
            }
            Self::Have(name, heads) => {
                put_kind(out, HAVE, name)?;
                put_hashes(out, heads)
            }
            Self::Want(name, heads) => {
                put_kind(out, WANT, name)?;
                put_hashes(out, heads)
            }
            Self::Upto(cursor) => {
                out.put_u8(UPTO)?;
                cursor.put(out)
            }
            Self::Refused(name, code) => {
                put_kind(out, REFUSED, name)?;
                out.put_bytes(code.as_bytes())
            }
            Self::Member(membership) => {
                out.put_u8(MEMBER)?;
                out.put(membership)
            }
            Self::Root(root) => {
                out.put_u8(ROOT)?;
                root.at.put(out)?;
                out.put_uint(root.count)?;
                out.put(&root.hash)?;
                out.put(&root.key)
            }
            Self::Sketch(count) => {
                out.put_u8(SKETCH)?;
                out.put_uint(*count as u64)
            }
            Self::Symbols(from, symbols) => {
                out.put_u8(SYMBOLS)?;
                out.put_uint(*from as u64)?;
                symbols.iter().try_for_each(|symbol| symbol.put(out))
            }
            Self::List(last, items) => {
                out.put_u8(LIST)?;
                out.put_u8(u8::from(*last))?;
                items.iter().try_for_each(|item| out.put(&item.to_le_bytes()))
            }
            Self::Differ(last, items, have) => {
                out.put_u8(DIFFER)?;
                out.put_u8(u8::from(*last))?;
                out.put_uint(items.len() as u64)?;
                items.iter().try_for_each(|item| out.put(&item.to_le_bytes()))?;
                have.iter().try_for_each(|(name, heads)| {
                    out.put_bytes(name.as_str().as_bytes())?;
                    put_hashes(out, heads)
                })
            }
        }
    }
}

impl Checked {
    /// Reads a record.
    pub(super) fn read(record: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(record);
        let message = match reader.u8()? {
            PUSH => {
                let (name, heads) = (read_name(&mut reader)?, read_hashes(&mut reader)?);
                let parcel = Parcel::check(reader.rest());
                let parcel = parcel.and_then(|parcel| parcel.signed_for(&name));
                return Ok(Self::Push { name, heads, parcel });
            }
            TALK => {
                let name = read_name(&mut reader)?;
                let said = SyncMessage::check(reader.rest());
                let said = said.and_then(|said| said.signed_for(&name));
                return Ok(Self::Talk(name, said));
            }
            CUT => {
                let name = read_name(&mut reader)?;
                let cut = Cut::read(&mut reader).map_err(|_| Reject::Malformed)?;
                let mut changes = Vec::new();
                let base = read_chunks(reader.rest(), &mut changes).map(|()| changes);
                return Ok(Self::Cut { name, cut, base });
            }
            HAVE => Self::Have(read_name(&mut reader)?, read_hashes(&mut reader)?),
            WANT => Self::Want(read_name(&mut reader)?, read_hashes(&mut reader)?),
            UPTO => Self::Upto(Cursor::read(&mut reader)?),
            REFUSED => Self::Refused(read_name(&mut reader)?, reader.str(CODE_MAX)?.to_owned()),
            MEMBER => {
                let bytes = reader.rest();
                if bytes.len() > MEMBERSHIP_MAX {
                    return Err(Reject::Full);
                }
                return Ok(Self::Member(bytes.to_vec()));
            }
            ROOT => Self::Root(Root {
                at: Cursor::read(&mut reader)?,
                count: reader.uint()?,
                hash: reader.array()?,
                key: reader.array()?,
            }),
            SKETCH => {
                let count = usize::try_from(reader.uint()?).map_err(|_| Reject::Full)?;
                Self::Sketch(if count <= SYMBOLS_MAX { count } else { return Err(Reject::Full) })
            }
            SYMBOLS => {
                let from = usize::try_from(reader.uint()?).map_err(|_| Reject::Full)?;
                Self::Symbols(from, until_end(&mut reader, SYMBOLS_MAX, Symbol::read)?)
            }
            LIST => {
                let last = reader.u8()? == 1;
                Self::List(last, until_end(&mut reader, ITEMS, read_item)?)
            }
            DIFFER => {
                let last = reader.u8()? == 1;
                let count = reader.uint()?;
                if count > ITEMS as u64 {
                    return Err(Reject::Full);
                }
                let items = (0..count).map(|_| read_item(&mut reader)).collect::<Result<_, _>>()?;
                let document =
                    |reader: &mut Reader<'_>| Ok((read_name(reader)?, read_hashes(reader)?));
                Self::Differ(last, items, until_end(&mut reader, ITEMS, document)?)
            }
            _ => return Err(Reject::Malformed),
        };
        reader.finish()?;
        Ok(message)
    }
}

fn until_end<'a, T>(
    reader: &mut Reader<'a>,
    max: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Reject>,
) -> Result<Vec<T>, Reject> {
    let mut out = Vec::new();
    while !reader.rest().is_empty() {
        if out.len() == max {
            return Err(Reject::Full);
        }
        out.push(read(reader)?);
    }
    Ok(out)
}

fn put_kind(out: &mut Vec<u8>, kind: u8, name: &DocumentName) -> Result<(), Reject> {
    out.put_u8(kind)?;
    out.put_bytes(name.as_str().as_bytes())
}

fn put_hashes(out: &mut Vec<u8>, hashes: &[Hash]) -> Result<(), Reject> {
    out.put_uint(hashes.len() as u64)?;
    hashes.iter().try_for_each(|hash| out.put(hash))
}

fn read_name(reader: &mut Reader<'_>) -> Result<DocumentName, Reject> {
    DocumentName::new(reader.str(NAME_MAX)?).map_err(|_| Reject::Malformed)
}

fn read_item(reader: &mut Reader<'_>) -> Result<Item, Reject> {
    Ok(Item::from_le_bytes(reader.array()?))
}

fn read_hashes(reader: &mut Reader<'_>) -> Result<Vec<Hash>, Reject> {
    hashes(reader).map_err(|_| Reject::Malformed)
}
