//! The book of tokens: which hash grants what.

use super::{Scope, TokenHash};
use holdfast_core::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// What one token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Names the token without giving it away.
    pub id: String,
    /// What it may do.
    pub scope: Scope,
    /// What people call it.
    pub name: String,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// Where tokens are looked up.
pub trait TokenBook: Send + Sync {
    /// What the token with this hash grants, expired or not.
    fn lookup(&self, token: &TokenHash) -> Option<Arc<Grant>>;
}

/// The book in memory: small, loaded at the start, replaced when the store's changes.
#[derive(Debug, Default)]
pub struct TokenMap(RwLock<HashMap<TokenHash, Arc<Grant>>>);

impl TokenMap {
    /// Replaces all tokens. Sessions of tokens that are gone end with them.
    pub fn replace(&self, grants: impl IntoIterator<Item = (TokenHash, Grant)>) {
        let grants = grants.into_iter().map(|(hash, grant)| (hash, Arc::new(grant))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = grants;
    }

    /// Adds or replaces one token.
    pub fn insert(&self, token: TokenHash, grant: Grant) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        map.insert(token, Arc::new(grant));
    }

    /// Whether a device has a token, expired or not.
    pub fn has_device(&self, device: &str) -> bool {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        map.values().any(|grant| grant.scope.device() == Some(device))
    }

    /// Removes one token.
    pub fn remove(&self, token: &TokenHash) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(token);
    }
}

impl TokenBook for TokenMap {
    fn lookup(&self, token: &TokenHash) -> Option<Arc<Grant>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}
