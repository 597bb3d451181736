//! A node's key: 32 secret bytes in an envelope, in a file that only its owner can read.

use crate::Fault;
use crate::env::Env;
use crate::store::write_private;
use ed25519_dalek::{Signer as _, SigningKey};
use holdfast_core::NodeId;
use holdfast_core::codec::Reader;
use holdfast_core::envelope::Envelope;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const KIND: u8 = 2;

/// An Ed25519 key pair. Its public half is the node's id.
#[derive(Clone)]
pub struct NodeKey {
    secret: SigningKey,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.id().short())
    }
}

impl NodeKey {
    /// A new key.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        let mut seed = [0; 32];
        env.fill(&mut seed);
        Self { secret: SigningKey::from_bytes(&seed) }
    }

    /// A key that is the same in every run.
    #[cfg(test)]
    pub(crate) fn for_test(seed: u8) -> Self {
        Self { secret: SigningKey::from_bytes(&[seed; 32]) }
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId(self.secret.verifying_key().to_bytes())
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }

    /// The secret half, for the transport that proves it.
    #[must_use]
    pub fn secret_bytes(&self) -> [u8; 32] {
        self.secret.to_bytes()
    }

    /// Reads the key at `path`; `None` when there is no such file.
    ///
    /// # Errors
    /// [`Fault::Damaged`] when the file is not a whole key, [`Fault::File`] when it cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>, Fault> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Fault::file(path, source)),
        };
        let name = path.display().to_string();
        let mut reader = Reader::new(&bytes);
        let envelope = Envelope::decode(&mut reader)
            .and_then(|envelope| reader.finish().map(|()| envelope))
            .map_err(|reject| Fault::damaged(&name, reject.to_string()))?;
        match (envelope.kind, envelope.flags, <[u8; 32]>::try_from(envelope.payload)) {
            (KIND, 0, Ok(seed)) => Ok(Some(Self { secret: SigningKey::from_bytes(&seed) })),
            _ => Err(Fault::damaged(name, "it is not a node key")),
        }
    }

    /// Writes the key to `path`, whole, synced, and readable by its owner only.
    ///
    /// # Errors
    /// [`Fault::File`] or [`Fault::Full`].
    pub fn write(&self, path: &Path) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        Envelope { kind: KIND, flags: 0, payload: &self.secret.to_bytes() }
            .encode(&mut bytes)
            .expect("a key fits an envelope");
        write_private(path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::System;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_file_is_private_reads_back_and_shows_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        assert!(NodeKey::read(&path).unwrap().is_none());
        let key = NodeKey::generate(&System::env());
        key.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(NodeKey::read(&path).unwrap().unwrap().id(), key.id());
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bytes).unwrap();
            assert!(NodeKey::read(&path).unwrap_err().is_damage(), "bit {bit}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = NodeKey::generate(&System::env());
        assert_eq!(format!("{key:?}"), format!("NodeKey({})", key.id().short()));
    }
}
