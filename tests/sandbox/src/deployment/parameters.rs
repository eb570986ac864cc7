//! A template's parameters: their values, their defaults, and CloudFormation's refusals.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::{DeployError, properties::text_of};

/// The elements that a parameter's declaration may have.
const ELEMENTS: [&str; 11] = [
    "AllowedPattern",
    "AllowedValues",
    "ConstraintDescription",
    "Default",
    "Description",
    "MaxLength",
    "MaxValue",
    "MinLength",
    "MinValue",
    "NoEcho",
    "Type",
];

/// The type of a parameter that is a list, written with commas between its elements.
const LIST: &str = "CommaDelimitedList";

/// Returns the value of every parameter.
///
/// # Errors
/// In CloudFormation's words, if one is missing, unknown or not allowed.
pub(super) fn values(
    declared: &Map<String, Value>,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, DeployError> {
    let unknown: Vec<&str> = given.keys().filter(|name| !declared.contains_key(*name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return refuse(format!("Parameters: [{}] do not exist in the template", unknown.join(", ")));
    }
    let mut values = BTreeMap::new();
    let mut missing = Vec::new();
    for (name, declaration) in declared {
        let Some(declaration) = declaration.as_object() else {
            return refuse(format!("the parameter {name} is no mapping"));
        };
        if let Some(element) = declaration.keys().find(|element| !ELEMENTS.contains(&element.as_str())) {
            return refuse(format!("the parameter {name} has the unknown element {element}"));
        }
        match given.get(name).cloned().or_else(|| declaration.get("Default").and_then(text_of)) {
            None => missing.push(name.as_str()),
            Some(value) => {
                check(name, &value, declaration)?;
                values.insert(name.clone(), value);
            }
        }
    }
    match missing.is_empty() {
        true => Ok(values),
        false => refuse(format!("Parameters: [{}] must have values", missing.join(", "))),
    }
}

/// Returns the parameters whose value is a list.
pub(super) fn lists(declared: &Map<String, Value>) -> BTreeSet<String> {
    let is_list = |declaration: &Value| declaration["Type"] == LIST;
    declared.iter().filter(|(_, declaration)| is_list(declaration)).map(|(name, _)| name.clone()).collect()
}

/// Refuses a value that its declaration does not allow.
fn check(name: &str, value: &str, declaration: &Map<String, Value>) -> Result<(), DeployError> {
    let is_number = match declaration.get("Type").and_then(Value::as_str) {
        Some("String" | LIST) => false,
        Some("Number") => true,
        other => return refuse(format!("the type {other:?} of the parameter {name} is not modelled by the sandbox")),
    };
    // If the template's author has written a description, CloudFormation shows it and nothing else.
    let explained = declaration.get("ConstraintDescription").and_then(Value::as_str);
    let refuse = |why: String| match explained {
        Some(explained) => refuse(format!("Parameter {name} failed to satisfy constraint: {explained}")),
        None => refuse(why),
    };
    let number = value.trim().parse::<f64>().ok();
    if is_number && number.is_none() {
        return refuse(format!("Parameter '{name}' must be a number."));
    }
    let allowed = declaration.get("AllowedValues").and_then(Value::as_array);
    if allowed.is_some_and(|allowed| !allowed.iter().any(|one| text_of(one).as_deref() == Some(value))) {
        return refuse(format!("Parameter '{name}' must be one of AllowedValues"));
    }
    if let Some(pattern) = declaration.get("AllowedPattern").and_then(Value::as_str) {
        // The whole value has to match.
        let whole = Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|e| DeployError(format!("the pattern of the parameter {name}: {e}")))?;
        if !whole.is_match(value) {
            return refuse(format!("Parameter '{name}' must match pattern {pattern}"));
        }
    }
    let limit = |element| declaration.get(element).and_then(text_of).and_then(|text| text.parse::<f64>().ok());
    let length = value.chars().count() as f64;
    let is_less = |value: Option<f64>, limit: Option<f64>| matches!((value, limit), (Some(v), Some(l)) if v < l);
    if is_less(number, limit("MinValue")) || is_less(limit("MaxValue"), number) {
        return refuse(format!("Parameter '{name}' must be a number within its limits"));
    }
    if is_less(Some(length), limit("MinLength")) || is_less(limit("MaxLength"), Some(length)) {
        return refuse(format!("Parameter '{name}' must have a length within its limits"));
    }
    Ok(())
}

fn refuse<T>(why: String) -> Result<T, DeployError> {
    Err(DeployError(why))
}
