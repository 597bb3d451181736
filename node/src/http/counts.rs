//! How many requests there were, how they were answered, and how long that took.
//!
//! A request counts under the route that took it. The routes are known from the start, pages are
//! one, and what no route took is one: whoever asks for names that do not exist makes nothing grow.

use crate::metrics::Exposition;
use crate::problem::Problem;
use crate::routes::RouteName;
use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use holdfast_sync::counts::{Counter, Durations};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// From an answer out of memory to a query that reads a year.
const TOOK_US: &[u64] =
    &[500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000, 10_000_000];

#[derive(Debug)]
struct Route {
    method: &'static str,
    path: &'static str,
    classes: [Counter; CLASSES.len()],
    took: Durations,
}

impl Route {
    fn new(method: &'static str, path: &'static str) -> Self {
        Self { method, path, classes: Default::default(), took: Durations::new(TOOK_US) }
    }
}

/// The counts of a listener.
#[derive(Debug)]
pub struct HttpCounts {
    routes: Vec<Route>,
    pages: Route,
    none: Route,
    /// By code, which the program's text bounds.
    problems: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for HttpCounts {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl HttpCounts {
    /// Counts for these routes.
    #[must_use]
    pub fn of(names: Vec<RouteName>) -> Self {
        let routes = names.into_iter().map(|(method, path)| Route::new(word(&method), path));
        Self {
            routes: routes.collect(),
            pages: Route::new("GET", "page"),
            none: Route::new("any", "none"),
            problems: Mutex::default(),
        }
    }

    fn slot(&self, method: &Method, path: Option<&MatchedPath>) -> &Route {
        let Some(path) = path.map(MatchedPath::as_str) else { return &self.none };
        let mut known = self.routes.iter().filter(|route| route.path == path).peekable();
        if known.peek().is_none() {
            return &self.pages;
        }
        // A method that the path does not have is no route.
        known.find(|route| route.method == word(method)).unwrap_or(&self.none)
    }

    /// Counts a request that `path` took, if any did.
    pub(super) fn note(
        &self,
        method: &Method,
        path: Option<&MatchedPath>,
        answer: &Response,
        took_us: u64,
    ) {
        let route = self.slot(method, path);
        route.classes[class(answer.status())].add(1);
        route.took.note(took_us);
        if let Some(problem) = answer.extensions().get::<Problem>() {
            let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
            *problems.entry(problem.code()).or_default() += 1;
        }
    }

    /// Writes what was counted; of routes that nobody asked for, nothing.
    pub fn tell(&self, out: &mut Exposition) {
        let own = [&self.pages, &self.none];
        let asked = |route: &&Route| route.took.cumulated().1 > 0;
        let routes: Vec<_> = self.routes.iter().chain(own).filter(asked).collect();
        let mut family =
            out.counter("holdfast_http_requests_total", "Requests that were answered.");
        for route in &routes {
            for (class, count) in CLASSES.iter().zip(&route.classes) {
                if count.get() > 0 {
                    let labels =
                        [("method", route.method), ("route", route.path), ("status", class)];
                    family.with(&labels, count.get());
                }
            }
        }
        let help = "From the end of a request's head to the beginning of its answer.";
        let mut family = out.histogram("holdfast_http_request_duration_seconds", help);
        for route in &routes {
            let labels = [("method", route.method), ("route", route.path)];
            family.durations(&labels, &route.took);
        }
        let mut family = out.counter("holdfast_http_problems_total", "Errors, by their code.");
        for (code, count) in &*self.problems.lock().unwrap_or_else(PoisonError::into_inner) {
            family.with(&[("code", code)], count);
        }
    }
}

/// A `HEAD` is answered by the route of `GET`.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}
