//! Form fields of `awsQuery` and `ec2Query`, with a memory of the fields that were read.
//!
//! A field that no code has asked for is a parameter that the sandbox does not model, and a simulation that ignores it would be
//! guessing. After the answer, [`Params::unread`] names such fields, and the call fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::ApiError;

/// The fields of a request, or those below one prefix of it.
#[derive(Clone, Debug)]
pub struct Params {
    fields: Arc<BTreeMap<String, String>>,
    /// Shared with every sub-tree of the same request.
    read: Arc<Mutex<BTreeSet<String>>>,
    /// Empty at the root, else without a dot at the end.
    prefix: String,
}

impl Params {
    /// Decodes a form body and a query string.
    pub fn decode(body: &[u8], query: &str) -> Self {
        let fields = form_urlencoded::parse(query.as_bytes())
            .chain(form_urlencoded::parse(body))
            .map(|(k, v)| (k.into_owned(), v.into_owned()))
            .collect();
        Self { fields: Arc::new(fields), read: Arc::default(), prefix: String::new() }
    }

    /// Returns a field's text.
    pub fn optional(&self, name: &str) -> Option<String> {
        let key = self.key(name);
        let value = self.fields.get(&key).cloned();
        if value.is_some() {
            self.note(key);
        }
        value
    }

    /// Returns a field's text.
    ///
    /// # Errors
    /// `MissingParameter`, if there is none.
    pub fn required(&self, name: &str) -> Result<String, ApiError> {
        self.optional(name).ok_or_else(|| {
            ApiError::sender("MissingParameter", format!("The request must contain the parameter {}", self.key(name)))
        })
    }

    /// Returns a field, parsed.
    ///
    /// # Errors
    /// `ValidationError`, if the text is not of that type.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.optional(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            ApiError::sender("ValidationError", format!("Value '{text}' at '{}' is malformed", self.key(name)))
        })
    }

    /// Returns the elements of a list, in order: `NAME.member.1` (query) or `NAME.1` (EC2), each as its own tree.
    pub fn list(&self, name: &str) -> Vec<Params> {
        let mut stems: BTreeMap<u32, String> = BTreeMap::new();
        let start = format!("{}.", self.key(name));
        for key in self.fields.range(start.clone()..).map(|(k, _)| k).take_while(|k| k.starts_with(&start)) {
            let rest = &key[start.len()..];
            let (stem, rest) =
                rest.strip_prefix("member.").map_or((start.clone(), rest), |r| (format!("{start}member."), r));
            let number = rest.split('.').next().unwrap_or_default();
            if let Ok(index) = number.parse() {
                stems.insert(index, format!("{stem}{number}"));
            }
        }
        stems.into_values().map(|stem| self.below(stem)).collect()
    }

    /// Returns the elements of a list of plain texts, in order.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.list(name).iter().filter_map(|element| element.optional("")).collect()
    }

    /// Returns a structure's fields: those that begin with `NAME.`.
    pub fn structure(&self, name: &str) -> Params {
        self.below(self.key(name))
    }

    /// Returns the fields that no handler has asked for.
    pub fn unread(&self) -> Vec<String> {
        let read = self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.fields.keys().filter(|key| !read.contains(*key)).cloned().collect()
    }

    /// Returns every field, for the call log.
    pub fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }

    fn key(&self, name: &str) -> String {
        match (self.prefix.as_str(), name) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}.{name}"),
        }
    }

    fn below(&self, prefix: String) -> Self {
        Self { fields: self.fields.clone(), read: self.read.clone(), prefix }
    }

    fn note(&self, key: String) {
        self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_both_protocols_are_read_in_numeric_order() {
        let params = Params::decode(b"A.member.10=j&A.member.2=b&B.1.Key=k&B.1.Value=v&C=1", "");
        assert_eq!(params.texts("A"), ["b", "j"]);
        let tags = params.list("B");
        assert_eq!((tags[0].optional("Key"), tags[0].optional("Value")), (Some("k".into()), Some("v".into())));
        assert_eq!(params.unread(), ["C"]);
    }
}
