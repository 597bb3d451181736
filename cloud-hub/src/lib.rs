//! The hub: where a fleet is seen, enrolled and queried.
