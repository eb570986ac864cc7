//! A page as one file of HTML that needs no network: style and script are in it.

use registrar::report::{
    html::{Most, content},
    page::Page,
};

/// The style: of the browser's own colours, light or dark; tables become lists on a telephone.
const STYLE: &str = include_str!("page.css");

/// Sorts a table by the column that is chosen. The page is whole without it.
const SCRIPT: &str = include_str!("page.js");

/// Returns the file.
pub(crate) fn of(page: &Page) -> String {
    // `data:` is the icon that browsers ask a server for otherwise.
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{}</main><script>{SCRIPT}</script></body></html>\n",
        content(page, Most::ALL),
        title = page.title,
    )
}

#[cfg(test)]
mod tests {
    use registrar::{
        config::Mode,
        report::{Journal, page::Subject},
    };

    use super::*;

    #[test]
    fn a_page_asks_for_nothing_from_elsewhere() {
        let page = of(&Page::of(Subject::Plan, &Journal::of_sweep(Mode::Observe).into_report(), Vec::new()));
        for elsewhere in ["http:", "https:", "src=", "url(", "@import", "fetch(", "XMLHttpRequest"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        assert_eq!((page.matches("<script>").count(), page.matches("<style>").count()), (1, 1));
    }
}
