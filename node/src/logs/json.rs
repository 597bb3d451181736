//! An event as one object on one line: `time`, `level`, `node`, `module`, `message`, then its own
//! fields. Requests and other spans around it stand in `spans`, as text.

use super::fields::Fields;
use crate::time_text::Time;
use holdfast_core::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::fmt;
use std::sync::OnceLock;
use std::time::SystemTime;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// The node that writes, once it is known.
pub(super) static NODE: OnceLock<String> = OnceLock::new();

/// What a line says of itself.
const RESERVED: [&str; 5] = ["time", "level", "node", "module", "spans"];

/// Writes lines of JSON.
pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut out = object(event);
        let scope = context.event_scope().into_iter().flat_map(|scope| scope.from_root());
        let spans = scope.map(|span| {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            Value::from(format!("{}{{{}}}", span.name(), fields.map_or("", |f| f.as_str())))
        });
        let spans: Vec<_> = spans.collect();
        if !spans.is_empty() {
            out.0.push(("spans".into(), spans.into()));
        }
        let line = serde_json::to_string(&out).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// Names and values in the order in which people read them.
struct Line(Vec<(String, Value)>);

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn object(event: &Event<'_>) -> Line {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
    let metadata = event.metadata();
    let mut out: Vec<(String, Value)> = vec![
        ("time".into(), Time(now).to_string().into()),
        ("level".into(), metadata.level().as_str().to_lowercase().into()),
    ];
    out.extend(NODE.get().map(|node| ("node".into(), node.as_str().into())));
    out.push(("module".into(), metadata.target().into()));
    for (name, value) in Fields::of(event).0 {
        // What is said of the line itself is not overwritten.
        let is_taken = RESERVED.contains(&name);
        let name = if is_taken { format!("{name}_") } else { name.to_owned() };
        out.push((name, value));
    }
    Line(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::kept::Kept;

    #[test]
    fn an_event_is_one_object_whatever_is_in_it() {
        let kept = Kept::default();
        let format = tracing_subscriber::fmt().with_ansi(false).event_format(Lines);
        let format = format.with_writer(kept.clone());
        tracing::subscriber::with_default(format.finish(), || {
            let _in = tracing::info_span!("request", id = "7").entered();
            tracing::warn!(
                reason = "two\nlines \"quoted\"",
                times = 3,
                level = "x",
                "it {}",
                "broke"
            );
        });
        let text = kept.text();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.starts_with("{\"time\":"), "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "warn");
        assert_eq!(line["level_"], "x");
        assert_eq!(line["message"], "it broke");
        assert_eq!(line["reason"], "two\nlines \"quoted\"");
        assert_eq!(line["times"], 3);
        assert_eq!(line["module"], "holdfast_node::logs::json::tests");
        assert_eq!(line["spans"], serde_json::json!(["request{id=\"7\"}"]));
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}
