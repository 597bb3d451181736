//! The pages of a service, embedded in its binary and served with strict headers.
//!
//! Files are named by hand in [`WEB`], so what is public is visible in one place.
//! A browser keeps them and asks each time whether they changed, by a tag of their content. They
//! are embedded compressed, and so they go to whoever takes that, which every browser does.

use crate::problem::Problem;
use axum::Router;
use axum::body::Bytes;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::read::GzDecoder;
use std::io::Read as _;

/// Everything from here and nothing from elsewhere; no inline script, no frame around us.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// An embedded file: path below `/`, and content in gzip; the ending of the path says what it is.
pub type Page = (&'static str, &'static [u8]);

/// Embeds files of `web/`, which the build has compressed.
macro_rules! embed {
    ($($file:literal),+ $(,)?) => {
        &[$((
            $file,
            include_bytes!(concat!(env!("OUT_DIR"), "/web/", $file, ".gz")) as &[u8],
        )),+]
    };
}

/// The pages of both services with what they load; each service picks its own index.
pub const WEB: &[Page] = embed!(
    "edge.html",
    "edge.js",
    "hub.html",
    "hub.js",
    "icon.svg",
    "lib/alerts.js",
    "lib/api.js",
    "lib/broker.js",
    "lib/catalog.js",
    "lib/chart.js",
    "lib/clients.js",
    "lib/confirm.js",
    "lib/conflicts.js",
    "lib/decide.js",
    "lib/definition.js",
    "lib/detail.js",
    "lib/device.js",
    "lib/enrol.js",
    "lib/events.js",
    "lib/fields.js",
    "lib/fleet.js",
    "lib/flow.js",
    "lib/flows.js",
    "lib/hooks.js",
    "lib/incidents.js",
    "lib/node.js",
    "lib/notices.js",
    "lib/outline.js",
    "lib/pane.js",
    "lib/parts.js",
    "lib/points.js",
    "lib/publish.js",
    "lib/run.js",
    "lib/runlist.js",
    "lib/runs.js",
    "lib/session.js",
    "lib/table.js",
    "lib/time.js",
    "lib/timeline.js",
    "lib/told.js",
    "lib/topics.js",
    "lib/topictree.js",
    "lib/traffic.js",
    "lib/twin.js",
    "lib/ui.js",
    "lib/units.js",
    "lib/watch.js",
    "mqtt.html",
    "mqtt.js",
    "runs.html",
    "runs.js",
    "style.css",
    "vendor/hooks.js",
    "vendor/htm.LICENSE.txt",
    "vendor/htm.js",
    "vendor/preact.LICENSE.txt",
    "vendor/preact.js",
    "vendor/uplot.LICENSE.txt",
    "vendor/uplot.css",
    "vendor/uplot.js",
    "workflows.html",
    "workflows.js",
);

/// The media type of a file by its ending.
#[must_use]
pub fn media_type(file: &str) -> &'static str {
    match file.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// A route for each page; the one called `index` is also at `/`.
pub fn routes<S: Clone + Send + Sync + 'static>(index: &str, pages: &[Page]) -> Router<S> {
    let mut router = Router::new();
    for &(path, content) in pages {
        let media_type = media_type(path);
        let hash = blake3::hash(content);
        // Weak: it is the same for the content in gzip and without.
        let tag = HeaderValue::from_str(&format!("W/\"{}\"", &hash.to_hex()[..32]))
            .expect("hexadecimal digits in quotes");
        let handler = get(move |headers: HeaderMap| {
            let response = answer(&headers, &tag, media_type, content);
            async move { response }
        });
        if path == index {
            router = router.route("/", handler.clone());
        }
        router = router.route(&format!("/{path}"), handler);
    }
    router
}

fn answer(
    headers: &HeaderMap,
    tag: &HeaderValue,
    media_type: &'static str,
    content: &'static [u8],
) -> Response {
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(','));
    let is_fresh = known.any(|one| one.trim().as_bytes() == tag);
    let takes_gzip = takes_gzip(headers);
    let mut response = if is_fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else if takes_gzip {
        Bytes::from_static(content).into_response()
    } else {
        let mut plain = Vec::new();
        match GzDecoder::new(content).read_to_end(&mut plain) {
            Ok(_) => plain.into_response(),
            // It was compressed by the build, so this program is not what was built.
            Err(error) => {
                tracing::error!(%error, "an embedded page is damaged");
                return Problem::internal().into_response();
            }
        }
    };
    let headers = response.headers_mut();
    if takes_gzip && !is_fresh {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    for (name, value) in [
        (CONTENT_TYPE, media_type),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(ETAG, tag.clone());
    response
}

/// Whether an answer may come in gzip (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| {
        let (coding, weight) = one.split_once(';').unwrap_or((one, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        coding.trim().eq_ignore_ascii_case("gzip") && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http_body_util::BodyExt;
    use hyper_util::service::TowerToHyperService;
    use std::io::Write as _;

    const INDEX: &[u8] = b"<!doctype html>";

    fn packed(content: &[u8]) -> &'static [u8] {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(content).unwrap();
        packed.finish().unwrap().leak()
    }

    async fn fetch(path: &str, tag: Option<&HeaderValue>) -> Response {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        fetch_with(request).await
    }

    async fn fetch_with(request: axum::http::request::Builder) -> Response {
        let pages = [("index.html", packed(INDEX)), ("lib/a.js", packed(b"1"))];
        let service = TowerToHyperService::new(routes::<()>("index.html", &pages));
        let request = request.body(Body::empty()).unwrap();
        hyper::service::Service::call(&service, request).await.unwrap()
    }

    #[tokio::test]
    async fn a_page_comes_with_its_tag_and_strict_headers() {
        let index = fetch("/", None).await;
        assert_eq!(index.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(index.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        let policy = index.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"));
        let tag = index.headers()[ETAG].clone();
        let body = index.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&*body, b"<!doctype html>");

        let again = fetch("/index.html", Some(&tag)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = fetch("/lib/a.js", Some(&tag)).await;
        assert_eq!(other.status(), StatusCode::OK);
        assert_eq!(fetch("/lib/b.js", None).await.status(), StatusCode::NOT_FOUND);
    }

    /// A page that loads a file which is not embedded stays empty, and no other test looks at it.
    #[test]
    fn everything_that_the_pages_load_is_embedded() {
        let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
        let mut there = std::collections::BTreeSet::new();
        for folder in ["", "lib/", "vendor/"] {
            for file in std::fs::read_dir(web.join(folder)).unwrap() {
                let file = file.unwrap();
                if file.file_type().unwrap().is_file() && file.file_name() != "README.md" {
                    there.insert(format!("{folder}{}", file.file_name().to_string_lossy()));
                }
            }
        }
        let embedded = WEB.iter().map(|(file, _)| (*file).to_owned()).collect();
        assert_eq!(there, embedded);
    }

    #[tokio::test]
    async fn who_takes_gzip_gets_it_and_nobody_else() {
        for (accepted, is_packed) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("br, gzip;q=0", false),
            ("identity", false),
        ] {
            let answer = fetch_with(Request::get("/").header(ACCEPT_ENCODING, accepted)).await;
            assert_eq!(answer.headers()[VARY], "accept-encoding");
            let coding = answer.headers().get(CONTENT_ENCODING).cloned();
            assert_eq!(coding.is_some_and(|coding| coding == "gzip"), is_packed, "{accepted}");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(&*body, if is_packed { packed(INDEX) } else { INDEX }, "{accepted}");
        }
    }

    #[test]
    fn what_is_embedded_is_what_stands_in_the_folder() {
        let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
        for (file, packed) in WEB {
            let mut plain = Vec::new();
            GzDecoder::new(*packed).read_to_end(&mut plain).unwrap();
            assert!(plain == std::fs::read(web.join(file)).unwrap(), "{file}");
        }
    }
}
