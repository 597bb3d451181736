//! Content codings of request bodies: gzip (RFC 1952) or none.
//!
//! A body may grow as it is inflated, up to the limit that holds for bodies as they are; there
//! inflating ends, however much would follow. Only routes that ask for [`Content`] take codings.

use super::{Limits, RawBody};
use crate::problem::Problem;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use std::io::Read;

/// Bytes that are inflated at a time.
const PIECE: usize = 8 << 10;

/// The content of a request: its body without the content coding.
#[derive(Clone, Debug)]
pub struct Content(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Content {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_gzip = is_gzip(request.headers())?;
        let limits = request.extensions().get::<Limits>().copied().unwrap_or_default();
        let RawBody(body) = RawBody::from_request(request, state).await?;
        if !is_gzip {
            return Ok(Self(body));
        }
        Ok(Self(inflate(&body, limits.body_bytes)?.into()))
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    let coding = coding.to_str().unwrap_or("(not ASCII)").trim();
    let is = |known: &str| coding.eq_ignore_ascii_case(known);
    match codings.next() {
        None if is("gzip") || is("x-gzip") => Ok(true),
        None if is("identity") => Ok(false),
        None => Err(Problem::unsupported_coding(format!("the Content-Encoding is `{coding}`"))),
        Some(_) => Err(Problem::unsupported_coding("there is more than one Content-Encoding")),
    }
    .map_err(|problem| problem.at(format!("header: {}", header::CONTENT_ENCODING)))
}

/// Inflates all members of `body`, up to `max` bytes. They are counted first and kept second: what
/// is refused has taken no memory, and what is taken no more than it needs.
fn inflate(body: &[u8], max: u64) -> Result<Vec<u8>, Problem> {
    let mut length = 0;
    pieces(body, |piece| {
        length += piece.len();
        if length as u64 <= max {
            return Ok(());
        }
        let detail = format!("the body has more than {max} bytes when inflated");
        Err(Problem::too_large(detail).with("max", max))
    })?;
    let mut content = Vec::with_capacity(length);
    pieces(body, |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(content)
}

/// Inflates `body` piece by piece, for as long as `each` agrees.
fn pieces(body: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), Problem>) -> Result<(), Problem> {
    let mut decoder = MultiGzDecoder::new(body);
    let mut piece = [0; PIECE];
    loop {
        let read = decoder.read(&mut piece).map_err(|error| {
            let at = body.len() - decoder.get_ref().len();
            let detail = format!("not gzip at byte {at} of {}: {error}", body.len());
            Problem::malformed(detail).at(format!("body: byte {at}"))
        })?;
        if read == 0 {
            return Ok(());
        }
        each(&piece[..read])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_given_up_at_the_limit() {
        let mut bomb = gzip(&vec![0; 4 << 20]);
        assert_eq!(inflate(&bomb, 4 << 20).unwrap().len(), 4 << 20);
        // What follows is never looked at.
        bomb.extend(b"no gzip");
        for max in [0, 1_000, (4 << 20) - 1] {
            let problem = inflate(&bomb, max).unwrap_err();
            assert_eq!((problem.code(), &problem.body()["max"]), ("too-large", &max.into()));
        }
        assert_eq!(inflate(&bomb, 5 << 20).unwrap_err().code(), "malformed");
    }

    #[test]
    fn a_broken_stream_says_where() {
        let whole = gzip(&(0..50_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        let at = |body: &[u8]| inflate(body, 1 << 20).unwrap_err().body()["at"].clone();
        assert_eq!(at(b""), "body: byte 0");
        assert_eq!(at(b"{\"device\":\"a\"}"), "body: byte 10");
        let half = whole.len() / 2;
        assert_eq!(at(&whole[..half]), format!("body: byte {half}"));
        let mut checksum = whole.clone();
        checksum[whole.len() - 8] ^= 1;
        assert_eq!(at(&checksum), format!("body: byte {}", whole.len()));
    }

    #[test]
    fn several_members_are_one_content() {
        let body = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(inflate(&body, 100).unwrap(), b"one two");
    }

    #[test]
    fn other_codings_are_refused_with_those_that_are_taken() {
        let judged = |codings: &[&'static str]| {
            let values = codings.iter().map(|c| (CONTENT_ENCODING, HeaderValue::from_static(c)));
            is_gzip(&values.collect())
        };
        assert!(!judged(&[]).unwrap() && !judged(&["identity"]).unwrap());
        assert!(judged(&["gzip"]).unwrap() && judged(&["X-GZIP"]).unwrap());
        for codings in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &[""]] {
            let problem = judged(codings).unwrap_err();
            assert_eq!(problem.status().as_u16(), 415);
            assert_eq!(problem.body()["expected"], "gzip, identity");
            assert_eq!(problem.body()["at"], "header: content-encoding");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_within_the_limit(
            body in prop::collection::vec(any::<u8>(), 0..200), max in 0u64..300,
            flip in any::<prop::sample::Index>(),
        ) {
            let _ = inflate(&body, max);
            let mut damaged = gzip(&body);
            let at = flip.index(damaged.len());
            damaged[at] ^= 0x55;
            for body in [gzip(&body), damaged] {
                if let Ok(content) = inflate(&body, max) {
                    prop_assert!(content.len() as u64 <= max);
                }
            }
        }
    }
}
