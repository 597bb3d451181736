//! What both services are made of: configuration, HTTP shell, pipeline and queries.
#![forbid(unsafe_code)]

pub mod http;
pub mod problem;
pub mod time_text;
