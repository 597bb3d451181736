//! The gateway: device endpoints, its routes and wiring.
