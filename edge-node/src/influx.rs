//! Errors as clients of InfluxDB read them.
//!
//! Such a client decides by the text of an error whether it repeats, drops or gives up, so the two
//! write APIs answer in their own shapes: version 1 with `error`, version 2 with `code` and
//! `message`. What our problems say stays beside that, under other names where they clash.

use crate::formats::{ItemError, Place};
use crate::ingest::Report;
use axum::Json;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use holdfast_node::problem::Problem;
use schemars::JsonSchema;
use serde_json::{Value, json};

/// Errors told in one sentence; a client's log is not a list of thousands.
const SHOWN_ERRORS: usize = 10;

/// The problem of a write some lines of which were not stored, in the words that clients look for:
/// without `partial write` they would post the bad lines again for ever.
#[must_use]
pub fn partial_write(report: &Report) -> Problem {
    let rejected = &report.rejected;
    let shown = rejected.iter().take(SHOWN_ERRORS).map(|e| format!("{}: {}", e.at, e.detail));
    let mut detail = format!("partial write: {}", shown.collect::<Vec<_>>().join("; "));
    if rejected.len() > SHOWN_ERRORS {
        detail += &format!("; and {} more", rejected.len() - SHOWN_ERRORS);
    }
    detail += &format!(" dropped={}", rejected.len());
    let told = report.shape();
    let line = rejected.first().and_then(line);
    let problem = Problem::malformed(detail)
        .with("accepted", told.accepted)
        .with("duplicates", told.duplicates)
        .with("rejected", json!(told.rejected));
    line.into_iter().fold(problem, |problem, line| problem.with("line", line))
}

fn line(error: &ItemError) -> Option<usize> {
    match error.place {
        Place::Line(number) => Some(number),
        Place::Body | Place::Element(_) => None,
    }
}

/// An error as version 1 has it; of a write some lines of which were stored, with their numbers.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape, no value of it is made")]
pub struct Version1 {
    /// What is wrong.
    error: String,
    /// Our code.
    code: String,
    /// The first bad line.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

/// An error as version 2 has it; of a write some lines of which were stored, with their numbers.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape, no value of it is made")]
pub struct Version2 {
    /// The word of InfluxDB for the status.
    code: String,
    /// What is wrong.
    message: String,
    /// Our code.
    problem: String,
    /// The first bad line.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

/// An error answer as version 1 has it.
pub async fn version_1(response: Response) -> Response {
    reshape(response, |problem| {
        let mut body = problem.body();
        body["error"] = body["detail"].take();
        body
    })
}

/// An error answer as version 2 has it.
pub async fn version_2(response: Response) -> Response {
    reshape(response, |problem| {
        let mut body = problem.body();
        body["message"] = body["detail"].take();
        body["problem"] = json!(problem.code());
        body["code"] = json!(code(problem.status()));
        body
    })
}

fn reshape(response: Response, shape: impl FnOnce(&Problem) -> Value) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else { return response };
    let mut body = shape(problem);
    if let Value::Object(members) = &mut body {
        for name in ["detail", "type", "title", "status"] {
            members.remove(name);
        }
    }
    let mut reshaped = (problem.status(), Json(body)).into_response();
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE {
            reshaped.headers_mut().append(name, value.clone());
        }
    }
    // Whoever counts problems counts this one, too.
    reshaped.extensions_mut().insert(problem.clone());
    reshaped
}

/// The word of version 2 for a status.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not found",
        405 => "method not allowed",
        413 => "request too large",
        415 => "unsupported media type",
        422 => "unprocessable entity",
        429 => "too many requests",
        503 | 507 => "unavailable",
        500.. => "internal error",
        _ => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::line;
    use axum::body::to_bytes;

    fn report(body: &str) -> Report {
        let decoded = line::decode(body.as_bytes(), line::Precision::Nanos).unwrap();
        let rejected: Vec<_> = decoded.errors().cloned().collect();
        Report { accepted: decoded.items.len() - rejected.len(), rejected, ..Report::default() }
    }

    async fn told(response: Response) -> Value {
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
    }

    #[test]
    fn each_bad_line_is_named_in_one_sentence() {
        let text = partial_write(&report("a value=1\nb\nc value=x")).body();
        let detail = text["detail"].as_str().unwrap();
        assert!(detail.starts_with("partial write: line 2: the fields are missing"), "{detail}");
        assert!(detail.contains("; line 3: the field `value` is `x`"), "{detail}");
        assert!(detail.ends_with(" dropped=2"), "{detail}");
        assert_eq!((&text["line"], &text["accepted"]), (&json!(2), &json!(1)));
        assert_eq!(text["rejected"][1]["at"], "line 3");
        let many = partial_write(&report(&"b\n".repeat(30))).body();
        assert!(many["detail"].as_str().unwrap().contains("and 20 more dropped=30"));
        assert_eq!(many["rejected"].as_array().unwrap().len(), 30);
    }

    #[tokio::test]
    async fn each_version_has_its_shape() {
        let bad = || partial_write(&report("a value=1\nb")).into_response();
        let one = version_1(bad()).await;
        assert_eq!(one.status(), 400);
        let one = told(one).await;
        assert!(one["error"].as_str().unwrap().starts_with("partial write: line 2: "), "{one}");
        assert_eq!((&one["code"], &one["line"]), (&json!("malformed"), &json!(2)));
        let two = told(version_2(bad()).await).await;
        assert!(two["message"].as_str().unwrap().starts_with("partial write: line 2: "), "{two}");
        assert_eq!((&two["code"], &two["problem"]), (&json!("invalid"), &json!("malformed")));
        assert_eq!((&two["line"], two.get("detail")), (&json!(2), None));
        assert_eq!(two["rejected"][0]["code"], "syntax");
    }

    #[tokio::test]
    async fn any_problem_is_reshaped_and_keeps_its_headers() {
        let busy = Problem::unavailable("store-unavailable", "later", 5).into_response();
        let busy = version_2(busy).await;
        assert_eq!(
            (busy.status().as_u16(), &busy.headers()["retry-after"]),
            (503, &"5".parse().unwrap())
        );
        let busy = told(busy).await;
        assert_eq!((&busy["code"], &busy["message"]), (&json!("unavailable"), &json!("later")));
        let stranger = Problem::unauthorized("no-token", "who are you").into_response();
        assert_eq!(told(version_1(stranger).await).await["error"], "who are you");
        let fine = version_2(StatusCode::NO_CONTENT.into_response()).await;
        assert_eq!(fine.status(), 204);
    }
}
