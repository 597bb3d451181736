//! Sessions of pages: a random cookie that stands for a token, in memory only.
//!
//! A restart ends them all, which costs a sign-in. A session names its token by hash, so revoking
//! the token ends it.

use super::TokenHash;
use data_encoding::HEXLOWER;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A session ends this long after its last use.
pub(super) const LIFE_MS: u64 = 12 * 3_600_000;
/// Sessions at a time; the one unused for longest makes room.
pub(super) const SESSIONS_MAX: usize = 1_000;

#[derive(Debug)]
struct Session {
    token: TokenHash,
    used_ms: u64,
}

/// All open sessions, by the hash of their cookie.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<TokenHash, Session>);

impl Sessions {
    /// Opens a session for `token`; gives the cookie.
    pub(super) fn open(
        &mut self,
        token: TokenHash,
        now_ms: u64,
        fill: impl FnOnce(&mut [u8]),
    ) -> String {
        self.0.retain(|_, session| now_ms.saturating_sub(session.used_ms) < LIFE_MS);
        if self.0.len() >= SESSIONS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, session)| session.used_ms);
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                self.0.remove(&oldest);
            }
        }
        let mut bytes = [0; 32];
        fill(&mut bytes);
        let cookie = HEXLOWER.encode(&bytes);
        self.0.insert(super::hash(&cookie), Session { token, used_ms: now_ms });
        cookie
    }

    /// The token of a session, which goes on living.
    pub(super) fn touch(&mut self, cookie: &str, now_ms: u64) -> Option<TokenHash> {
        let hash = super::hash(cookie);
        let session = self.0.get_mut(&hash)?;
        if now_ms.saturating_sub(session.used_ms) >= LIFE_MS {
            self.0.remove(&hash);
            return None;
        }
        session.used_ms = now_ms;
        Some(session.token)
    }

    /// Ends a session.
    pub(super) fn close(&mut self, cookie: &str) {
        self.0.remove(&super::hash(cookie));
    }
}

/// Locks what no panic can leave half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(sessions: &mut Sessions, number: u64, now_ms: u64) -> String {
        sessions.open([1; 32], now_ms, |out| out[..8].copy_from_slice(&number.to_le_bytes()))
    }

    #[test]
    fn a_session_lives_as_long_as_it_is_used() {
        let mut sessions = Sessions::default();
        let cookie = open(&mut sessions, 1, 0);
        assert_eq!(sessions.touch(&cookie, LIFE_MS - 1), Some([1; 32]));
        assert_eq!(sessions.touch(&cookie, 2 * LIFE_MS - 2), Some([1; 32]));
        assert_eq!(sessions.touch(&cookie, 4 * LIFE_MS), None);
        let cookie = open(&mut sessions, 2, 0);
        sessions.close(&cookie);
        assert_eq!(sessions.touch(&cookie, 0), None);
    }

    #[test]
    fn the_session_unused_for_longest_makes_room() {
        let mut sessions = Sessions::default();
        let cookies: Vec<_> = (0..SESSIONS_MAX as u64).map(|n| open(&mut sessions, n, n)).collect();
        sessions.touch(&cookies[0], 5_000);
        open(&mut sessions, 1 << 32, 6_000);
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
        assert!(sessions.touch(&cookies[0], 6_000).is_some());
        assert!(sessions.touch(&cookies[1], 6_000).is_none());
    }
}
