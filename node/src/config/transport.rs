//! The words for what carries the sync, the same at a gateway and at its hub.

use holdfast_sync::net::Transport;
use serde::{Deserialize, Serialize};

/// The words for [`Transport`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportWord {
    /// A swarm of libp2p.
    #[default]
    Libp2p,
    /// quinn alone.
    Quic,
}

impl From<TransportWord> for Transport {
    fn from(word: TransportWord) -> Self {
        match word {
            TransportWord::Libp2p => Self::Libp2p,
            TransportWord::Quic => Self::Quic,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]
mod tests {
    use super::*;

    #[test]
    fn a_transport_is_written_as_it_is_called() {
        for transport in Transport::ALL {
            let quoted = format!("\"{}\"", transport.name());
            let word: TransportWord = serde_json::from_str(&quoted).unwrap();
            assert_eq!(Transport::from(word), transport);
            assert_eq!(serde_json::to_string(&word).unwrap(), quoted);
        }
    }
}
