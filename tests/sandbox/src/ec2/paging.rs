//! Pages: the elements after a token, cut to a size.
//!
//! The token is the last key of the page before, not a number of elements. Whatever comes or goes between two calls, an element
//! that was there all the time is neither skipped nor shown twice.

use crate::wire::ApiError;

/// A page, and the token of the next one.
#[derive(Debug)]
pub(crate) struct Page<T> {
    /// In the order of their keys.
    pub(crate) elements: Vec<T>,
    /// `None` on the last page.
    pub(crate) next: Option<String>,
}

/// Cuts the page after a token. `size` is the most elements on it.
pub(crate) fn page<T>(mut elements: Vec<(String, T)>, token: Option<&str>, size: usize) -> Result<Page<T>, ApiError> {
    elements.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(token) = token {
        let last = decode(token)
            .ok_or_else(|| ApiError::sender("InvalidNextToken", format!("The token '{token}' is invalid")))?;
        elements.retain(|(key, _)| *key > last);
    }
    let next = match elements.get(size.saturating_sub(1)) {
        Some((last, _)) if elements.len() > size => Some(encode(last)),
        _ => None,
    };
    elements.truncate(size);
    Ok(Page { elements: elements.into_iter().map(|(_, element)| element).collect(), next })
}

/// Returns the token is hexadecimal: callers cannot read anything in it, and it needs no escaping anywhere.
fn encode(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(token: &str) -> Option<String> {
    let bytes = token.as_bytes().chunks(2).map(|pair| {
        let digits = std::str::from_utf8(pair).ok().filter(|digits| digits.len() == 2)?;
        u8::from_str_radix(digits, 16).ok()
    });
    String::from_utf8(bytes.collect::<Option<Vec<_>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(keys: &[&str]) -> Vec<(String, String)> {
        keys.iter().map(|key| ((*key).to_owned(), (*key).to_owned())).collect()
    }

    #[test]
    fn pages_go_on_after_the_last_element_even_if_it_is_gone() {
        let first = page(keyed(&["c", "a", "b"]), None, 2).unwrap();
        assert_eq!(first.elements, ["a", "b"]);
        let second = page(keyed(&["a", "c"]), first.next.as_deref(), 2).unwrap();
        assert_eq!((second.elements, second.next), (vec!["c".to_owned()], None));
    }

    #[test]
    fn an_invented_token_is_refused() {
        assert_eq!(page(keyed(&["a"]), Some("zz"), 2).unwrap_err().code, "InvalidNextToken");
        assert_eq!(page(keyed(&["a"]), Some("616"), 2).unwrap_err().code, "InvalidNextToken");
    }
}
