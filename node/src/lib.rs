//! What both services are made of: configuration, HTTP shell, pipeline and queries.
#![forbid(unsafe_code)]

pub mod auth;
pub mod http;
pub mod pipeline;
pub mod problem;
pub mod query;
pub mod sources;
pub mod time_text;
