//! A full node's replica: its store, its log, its identity and the session that syncs them.
