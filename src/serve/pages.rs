//! The dashboard at `/`: one page that is part of the binary. It fetches nothing from elsewhere, and holds no data itself.

use crate::serve::problem::{Code, Problem};
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

/// A file of the page.
struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The page itself.
const PAGE: &[u8] = include_bytes!("dashboard/index.html");

/// What it loads. `uplot` is uPlot 1.6.32 by Leon Sorokin, whose licence lies beside it.
const FILES: [File; 7] = [
    File { name: "app.js", kind: SCRIPT, bytes: include_bytes!("dashboard/app.js") },
    File { name: "charts.js", kind: SCRIPT, bytes: include_bytes!("dashboard/charts.js") },
    File { name: "stream.js", kind: SCRIPT, bytes: include_bytes!("dashboard/stream.js") },
    File { name: "uplot.js", kind: SCRIPT, bytes: include_bytes!("dashboard/uplot.js") },
    File { name: "uplot.css", kind: STYLE, bytes: include_bytes!("dashboard/uplot.css") },
    File { name: "style.css", kind: STYLE, bytes: include_bytes!("dashboard/style.css") },
    File { name: "icon.svg", kind: "image/svg+xml", bytes: include_bytes!("dashboard/icon.svg") },
];

/// The page.
pub(crate) async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}

/// A file of the page.
pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => ([(header::CONTENT_TYPE, file.kind)], file.bytes).into_response(),
        None => Problem::new(Code::PathUnknown, "there is no such file").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the page may weigh in all.
    const BYTES_MAX: usize = 150 << 10;

    #[test]
    fn page_is_small_and_whole() {
        let all: usize = FILES.iter().map(|file| file.bytes.len()).sum::<usize>() + PAGE.len();
        assert!(all <= BYTES_MAX, "{all} bytes");
        let page = std::str::from_utf8(PAGE).unwrap();
        assert!(!page.contains("http://") && !page.contains("https://"), "it needs nothing from elsewhere");
        assert!(!page.contains("style=") && !page.contains("onclick"), "the policy allows neither");
        for name in page.split("/assets/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(FILES.iter().any(|file| file.name == name), "{name} is not there");
        }
        for file in FILES.iter().filter(|file| file.kind == SCRIPT && file.name != "uplot.js") {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for name in text.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(FILES.iter().any(|file| file.name == name), "{} imports {name}", file.name);
            }
        }
    }
}
