//! The pages of a service, embedded in its binary and served with strict headers.
//!
//! Files are named by hand in [`embed!`](crate::embed), so what is public is visible in one place.
//! A browser keeps them and asks each time whether they changed, by a tag of their content.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Everything from here and nothing from elsewhere; no inline script, no frame around us.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// An embedded file: path below `/` and content; the ending of the path says what it is.
pub type Page = (&'static str, &'static [u8]);

/// Embeds files of a folder, given from the package's own folder, as a table of
/// [`Page`](crate::pages::Page)s.
///
/// `embed!("../web": "index.html", "app.js")`
#[macro_export]
macro_rules! embed {
    ($folder:literal: $($file:literal),+ $(,)?) => {
        &[$((
            $file,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $file)) as &[u8],
        )),+]
    };
}

/// The pages of both services with what they load; each service picks its own index.
pub const WEB: &[Page] = embed!("../web":
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
    "lib/detail.js",
    "lib/enrol.js",
    "lib/events.js",
    "lib/fleet.js",
    "lib/hooks.js",
    "lib/node.js",
    "lib/pane.js",
    "lib/parts.js",
    "lib/points.js",
    "lib/publish.js",
    "lib/session.js",
    "lib/table.js",
    "lib/time.js",
    "lib/topics.js",
    "lib/topictree.js",
    "lib/traffic.js",
    "lib/twin.js",
    "lib/ui.js",
    "lib/units.js",
    "lib/watch.js",
    "mqtt.html",
    "mqtt.js",
    "style.css",
    "vendor/hooks.js",
    "vendor/htm.LICENSE.txt",
    "vendor/htm.js",
    "vendor/preact.LICENSE.txt",
    "vendor/preact.js",
    "vendor/uplot.LICENSE.txt",
    "vendor/uplot.css",
    "vendor/uplot.js",
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
        let tag = HeaderValue::from_str(&format!("\"{}\"", &hash.to_hex()[..32]))
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
    let is_fresh = known.any(|one| one.trim().trim_start_matches("W/").as_bytes() == tag);
    let mut response = if is_fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Bytes::from_static(content).into_response()
    };
    let headers = response.headers_mut();
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use hyper_util::service::TowerToHyperService;

    const PAGES: &[Page] = &[("index.html", b"<!doctype html>"), ("lib/a.js", b"1")];

    async fn fetch(path: &str, tag: Option<&HeaderValue>) -> Response {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let service = TowerToHyperService::new(routes::<()>("index.html", PAGES));
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

    #[test]
    fn files_are_embedded_from_a_folder() {
        let pages: &[Page] = crate::embed!("src": "pages.rs", "lib.rs");
        assert_eq!((pages[0].0, media_type(pages[0].0)), ("pages.rs", "application/octet-stream"));
        assert!(pages[1].1.starts_with(b"//!"));
    }
}
