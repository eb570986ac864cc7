//! Pages of described elements. The cut follows the elements' names, so that an element that comes or goes between two calls
//! neither doubles nor hides another. AWS may choose any order within a page.

use crate::{
    options::Options,
    wire::{ApiError, query::Params},
};

/// Elements on a page, if the caller does not ask for fewer. AWS's limit in both services.
const MOST: usize = 400;

/// Makes a marker recognizable.
const MARK: &str = "after:";

/// The part of the elements that a call asks for.
pub(crate) struct Page {
    after: Option<String>,
    size: usize,
}

impl Page {
    /// Reads `Marker` and `PageSize`.
    pub(crate) fn asked(params: &Params, options: &Options) -> Result<Self, ApiError> {
        let size = params.parsed("PageSize")?.unwrap_or(MOST);
        if !(1..=MOST).contains(&size) {
            return Err(ApiError::sender("ValidationError", format!("Page size {size} is not between 1 and {MOST}")));
        }
        let after = match params.optional("Marker") {
            None => None,
            Some(marker) => match marker.strip_prefix(MARK) {
                Some(after) => Some(after.to_owned()),
                None => return Err(ApiError::sender("ValidationError", format!("'{marker}' is not a valid marker"))),
            },
        };
        Ok(Self { after, size: size.min(options.page_size.unwrap_or(MOST)).max(1) })
    }

    /// Cuts the page out of elements in the order of their names, and returns the next page's marker, too.
    pub(crate) fn cut<'a, T>(self, elements: impl IntoIterator<Item = (&'a String, T)>) -> (Vec<T>, Option<String>) {
        let mut rest = elements.into_iter().filter(|(name, _)| self.after.as_ref().is_none_or(|after| *name > after));
        let (mut page, mut last) = (Vec::new(), None);
        for (name, element) in rest.by_ref().take(self.size) {
            page.push(element);
            last = Some(name);
        }
        let more = rest.next().is_some();
        (page, last.filter(|_| more).map(|name| format!("{MARK}{name}")))
    }
}
