//! Tags of load balancers and target groups: both services have the same rules (botocore's models of both).

use std::collections::BTreeMap;

use crate::wire::{ApiError, query::Params, xml::Element};

/// Tags a resource. AWS's limit.
const MOST: usize = 50;

/// Resources that DescribeTags takes a call. AWS's limit.
pub(crate) const DESCRIBED_A_CALL: usize = 20;

/// Tags by key.
pub(crate) type Tags = BTreeMap<String, String>;

/// Returns the tags in a request.
pub(crate) fn read(params: &Params) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for tag in params.list("Tags") {
        let (key, value) = (tag.required("Key")?, tag.optional("Value").unwrap_or_default());
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 || key.starts_with("aws:") {
            return Err(ApiError::sender("ValidationError", format!("The tag '{key}' is not valid")));
        }
        if tags.insert(key.clone(), value).is_some() {
            return Err(ApiError::sender(
                "DuplicateTagKeys",
                format!("The tag key '{key}' was specified more than once"),
            ));
        }
    }
    check_number(&tags)?;
    Ok(tags)
}

/// Returns what a resource's tags are after adding some.
pub(crate) fn merged(present: &Tags, added: &Tags) -> Result<Tags, ApiError> {
    let mut tags = present.clone();
    tags.extend(added.clone());
    check_number(&tags)?;
    Ok(tags)
}

/// Refuses a DescribeTags of more resources than AWS allows.
pub(crate) fn check_described(number: usize) -> Result<(), ApiError> {
    if (1..=DESCRIBED_A_CALL).contains(&number) {
        return Ok(());
    }
    Err(ApiError::sender("ValidationError", format!("Cannot describe tags of {number} resources: from 1 to 20 a call")))
}

/// Returns the list `Tags` of an answer.
pub(crate) fn show(tags: &Tags) -> impl Iterator<Item = Element> {
    tags.iter().map(|(key, value)| Element::new("member").text("Key", key).text("Value", value))
}

fn check_number(tags: &Tags) -> Result<(), ApiError> {
    if tags.len() > MOST {
        return Err(ApiError::sender("TooManyTags", "The quota for the number of tags of a load balancer is reached"));
    }
    Ok(())
}
