//! Filters of Describe calls: all of them must match, each by any of its values, with wildcards.

use std::collections::BTreeSet;

use crate::wire::{ApiError, query::Params};

/// Values in all filters of a call (EC2 guide, "List and filter your resources").
const MAX_VALUES: usize = 200;

/// The filters of a call.
#[derive(Debug)]
pub(super) struct Filters(Vec<Filter>);

#[derive(Debug)]
struct Filter {
    name: String,
    /// Values without wildcards: two hundred ids among ten thousand instances are looked up, and not compared one by one.
    literals: BTreeSet<String>,
    patterns: Vec<String>,
}

impl Filters {
    /// Reads the filters of a call. `known` are the names that the caller of [`Filters::match_all`] can answer, apart from
    /// `tag:KEY`.
    pub(super) fn read(params: &Params, known: &[&str]) -> Result<Self, ApiError> {
        let (mut filters, mut count) = (Vec::new(), 0);
        for filter in params.list("Filter") {
            let (name, values) = (filter.required("Name")?, filter.texts("Value"));
            if !known.contains(&name.as_str()) && !name.starts_with("tag:") {
                return Err(ApiError::not_modelled(format!("the filter {name}")));
            }
            if values.is_empty() {
                return Err(ApiError::sender("InvalidParameterValue", format!("The filter '{name}' has no values")));
            }
            let (patterns, literals): (Vec<String>, Vec<String>) =
                values.into_iter().partition(|value| value.contains(['*', '?', '\\']));
            count += patterns.len() + literals.len();
            filters.push(Filter { name, literals: literals.into_iter().collect(), patterns });
        }
        if count > MAX_VALUES {
            let message = format!("The maximum number of filter values specified on a single call is {MAX_VALUES}");
            return Err(ApiError::sender("FilterLimitExceeded", message));
        }
        Ok(Self(filters))
    }

    /// Returns whether a resource passes. `attribute` returns its values under a filter's name.
    pub(super) fn match_all(&self, attribute: impl Fn(&str) -> Vec<String>) -> bool {
        self.0.iter().all(|Filter { name, literals, patterns }| {
            let values = attribute(name);
            values
                .iter()
                .any(|value| literals.contains(value) || patterns.iter().any(|pattern| matches(pattern, value)))
        })
    }
}

/// Returns whether a value matches a pattern with `*` (anything) and `?` (one character); a backslash makes either literal.
fn matches(pattern: &str, value: &str) -> bool {
    let mut pattern = pattern.chars();
    let Some(first) = pattern.next() else { return value.is_empty() };
    let rest = pattern.as_str();
    let after_one = |value: &str| value.chars().next().map(|c| (c, value[c.len_utf8()..].to_owned()));
    match first {
        '*' => (0..=value.len()).filter(|at| value.is_char_boundary(*at)).any(|at| matches(rest, &value[at..])),
        '?' => after_one(value).is_some_and(|(_, value)| matches(rest, &value)),
        '\\' if !rest.is_empty() => {
            let literal = pattern.next();
            after_one(value).is_some_and(|(c, value)| Some(c) == literal && matches(pattern.as_str(), &value))
        }
        literal => after_one(value).is_some_and(|(c, value)| c == literal && matches(rest, &value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_in_ec2() {
        for (pattern, value, expected) in [
            ("", "", true),
            ("*", "", true),
            ("web-*", "web-1", true),
            ("web-*", "we", false),
            ("web-?", "web-", false),
            ("w*b-?", "web-ü", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\", r"a\", true),
            ("tg:a", "tg:ab", false),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} on {value}");
        }
    }
}
