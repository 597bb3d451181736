//! Spans as OTLP in JSON (opentelemetry-proto 1.x, `ExportTraceServiceRequest`): identifiers in
//! hexadecimal digits, 64-bit numbers as texts.

use super::{Resource, Span};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

const STATUS_ERROR: u8 = 2;

pub(super) fn request(resource: &Resource, spans: &[Span]) -> String {
    let attributes = [
        ("service.name", resource.service),
        ("service.version", resource.version),
        ("service.instance.id", &resource.instance),
    ];
    let attributes =
        attributes.map(|(key, text)| json!({ "key": key, "value": { "stringValue": text } }));
    let spans: Vec<_> = spans.iter().map(span).collect();
    let scope = json!({ "name": "holdfast", "version": resource.version });
    json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes },
            "scopeSpans": [{ "scope": scope, "spans": spans }],
        }],
    })
    .to_string()
}

fn span(span: &Span) -> Value {
    let attributes = span
        .counts
        .iter()
        .map(|(key, count)| json!({ "key": key, "value": { "intValue": count.to_string() } }));
    let mut out = json!({
        "traceId": HEXLOWER.encode(&span.context.trace),
        "spanId": HEXLOWER.encode(&span.context.span),
        "name": span.name,
        "kind": span.kind as u8,
        // A clock that was set meanwhile must not make a span end before it begins.
        "startTimeUnixNano": span.start.0.to_string(),
        "endTimeUnixNano": span.end.max(span.start).0.to_string(),
        "attributes": attributes.collect::<Vec<_>>(),
    });
    if let Some(parent) = &span.parent {
        out["parentSpanId"] = HEXLOWER.encode(parent).into();
    }
    if let Some(error) = &span.error {
        out["status"] = json!({ "code": STATUS_ERROR, "message": error });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;
    use holdfast_core::Timestamp;
    use holdfast_core::log::trace::SpanContext;

    #[test]
    fn a_span_is_written_as_collectors_read_it() {
        let span = Span {
            context: SpanContext { trace: [0xab; 16], span: [1; 8] },
            parent: Some([0xcd; 8]),
            name: "ingest",
            kind: Kind::Server,
            start: Timestamp(1_790_000_000_000_000_007),
            end: Timestamp(5),
            counts: vec![("holdfast.accepted", 3)],
            error: Some("full".to_owned()),
        };
        let resource = Resource { service: "s", version: "1", instance: "i".to_owned() };
        let written: Value = serde_json::from_str(&request(&resource, &[span])).unwrap();
        let told = &written["resourceSpans"][0];
        let name = json!({ "key": "service.name", "value": { "stringValue": "s" } });
        assert_eq!(told["resource"]["attributes"][0], name);
        assert_eq!(
            told["scopeSpans"][0]["spans"][0],
            json!({
                "traceId": "ab".repeat(16),
                "spanId": "01".repeat(8),
                "parentSpanId": "cd".repeat(8),
                "name": "ingest",
                "kind": 2,
                "startTimeUnixNano": "1790000000000000007",
                "endTimeUnixNano": "1790000000000000007",
                "attributes": [{ "key": "holdfast.accepted", "value": { "intValue": "3" } }],
                "status": { "code": 2, "message": "full" },
            })
        );
    }
}
