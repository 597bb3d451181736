//! Codes for signing in once: what `token login` prints and a browser brings.
//!
//! A code stands for the token it was made with, for a short while and for one use, so that nobody
//! has to carry an admin token to a browser. Codes are in memory only, by their hash.

use super::{TokenHash, hash};
use data_encoding::BASE32_NOPAD;

/// How long a code waits for its use.
pub(super) const LIFE_MS: u64 = 10 * 60_000;
/// Codes that wait at a time; the oldest makes room.
const MAX: usize = 16;
/// 128 random bits are not guessed within its life, whatever the rate.
const BYTES: usize = 16;

#[derive(Debug)]
struct Code {
    hash: TokenHash,
    token: TokenHash,
    made_ms: u64,
}

/// The codes that wait, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Codes(Vec<Code>);

impl Codes {
    /// Makes a code for `token`.
    pub(super) fn make(
        &mut self,
        token: TokenHash,
        now_ms: u64,
        fill: impl FnOnce(&mut [u8]),
    ) -> String {
        self.forget(now_ms);
        if self.0.len() >= MAX {
            self.0.remove(0);
        }
        let mut bytes = [0; BYTES];
        fill(&mut bytes);
        let text = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        self.0.push(Code { hash: hash(&text), token, made_ms: now_ms });
        text
    }

    /// The token of a code, which is used up by that.
    pub(super) fn take(&mut self, code: &str, now_ms: u64) -> Option<TokenHash> {
        self.forget(now_ms);
        let wanted = hash(code.trim());
        let at = self.0.iter().position(|code| code.hash == wanted)?;
        Some(self.0.remove(at).token)
    }

    fn forget(&mut self, now_ms: u64) {
        self.0.retain(|code| now_ms.saturating_sub(code.made_ms) < LIFE_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(codes: &mut Codes, number: u8, now_ms: u64) -> String {
        codes.make([number; 32], now_ms, |out| out.fill(number))
    }

    #[test]
    fn a_code_works_once_and_not_for_long() {
        let mut codes = Codes::default();
        let code = make(&mut codes, 1, 0);
        assert_eq!(codes.take("other", 0), None);
        assert_eq!(codes.take(&code, LIFE_MS - 1), Some([1; 32]));
        assert_eq!(codes.take(&code, LIFE_MS - 1), None);
        let late = make(&mut codes, 2, 0);
        assert_eq!(codes.take(&late, LIFE_MS), None);
    }

    #[test]
    fn codes_that_wait_are_bounded() {
        let mut codes = Codes::default();
        let made: Vec<_> = (0..=MAX as u8).map(|number| make(&mut codes, number, 0)).collect();
        assert_eq!(codes.take(&made[0], 0), None);
        assert_eq!(codes.take(&made[1], 0), Some([1; 32]));
        assert_eq!(codes.0.len(), MAX - 1);
    }
}
