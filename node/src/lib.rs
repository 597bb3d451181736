//! What both services are made of: configuration, HTTP shell, pipeline, alerts and queries.
#![forbid(unsafe_code)]

pub mod address;
pub mod alerts;
pub mod api;
pub mod artefacts;
pub mod auth;
pub mod backup;
pub mod cli;
pub mod client;
pub mod config;
pub mod conflicts;
pub mod entitled;
pub mod events;
pub mod export;
pub mod flow;
mod glob;
pub mod health;
pub mod http;
pub mod labels;
pub mod logs;
pub mod machine;
pub mod manager;
pub mod metrics;
pub mod pages;
pub mod pipeline;
pub mod policies;
pub mod problem;
pub mod query;
pub mod rebirth;
pub mod routes;
pub mod runs;
pub mod sources;
pub mod supervise;
pub mod time_text;
pub mod tls;
pub mod trace;
pub mod twins;
