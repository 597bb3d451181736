//! Alerts: what somebody should look at, said once when it begins and once when it ends.
//!
//! A [`Rule`] says what to look for, in configuration or built in. The [`Watch`] keeps one
//! condition per rule and subject and is fed by the pipeline, so what it says is written in the
//! same transaction as the cursor: a crash loses no alert and doubles none. What is said goes into
//! the event stream, which travels first; every node joins what it hears of an alert in its
//! [`Book`], the hub of its whole fleet. A gateway needs nobody for any of it.

mod alert;
mod begins;
mod book;
mod load;
pub mod notice;
mod observe;
mod round;
mod rule;
mod settings;
mod watch;
mod when;

pub use alert::{Alert, Fact, id_text, parse_id};
pub use book::{Book, Filter};
pub use observe::{Observation, Observe, Seen, disk, node_clock};
pub use rule::{Backlog, OwnedSubject, Rule, Scope};
pub use settings::{EdgeAlerts, HubAlerts, RuleSettings, Rules, SeverityWord};
pub use watch::{OnAlerts, Plan, Watch};
pub use when::When;

pub(crate) use round::{Round, Writing};
pub(crate) use watch::Reading;

/// Alerts that a node remembers; of those that are over the oldest are forgotten beyond it. Their
/// entries in the log stay.
pub const KEPT_MAX: usize = 20_000;
/// Rules and subjects watched at most: about 20 MB.
pub const WATCHED_MAX: usize = 100_000;
/// Rules of one configuration; each costs something for each series.
pub const RULES_MAX: usize = 256;
