//! A resource's properties. The sandbox has to read each of them: a property that is left is not modelled, and an error.

use serde_json::{Map, Value};

use super::DeployError;

/// The properties of one resource, or of a structure in them.
#[derive(Debug)]
pub(super) struct Properties {
    /// The resource's name, for people.
    of: String,
    left: Map<String, Value>,
}

impl Properties {
    /// Takes the properties of a resource, after all functions were resolved.
    pub(super) fn new(of: &str, value: &Value) -> Result<Self, DeployError> {
        match value {
            Value::Null => Ok(Self { of: of.to_owned(), left: Map::new() }),
            Value::Object(fields) => Ok(Self { of: of.to_owned(), left: fields.clone() }),
            other => Err(DeployError(format!("{of} is {other}, and has to be a mapping"))),
        }
    }

    /// Returns a property of any type.
    pub(super) fn any(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name)
    }

    /// Returns a text. A number or a flag is one, too.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, DeployError> {
        match self.any(name) {
            None => Ok(None),
            Some(value) => text_of(&value).map(Some).ok_or_else(|| self.wrong(name, "a text")),
        }
    }

    /// Returns a text that has to be there.
    pub(super) fn required(&mut self, name: &str) -> Result<String, DeployError> {
        self.text(name)?.ok_or_else(|| self.wrong(name, "there"))
    }

    /// Returns a number, which may be written as a text.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, DeployError> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| self.wrong(name, "a number")),
        }
    }

    /// Returns a flag, which may be written as a text.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, DeployError> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| self.wrong(name, "true or false")),
        }
    }

    /// Returns a list, which is empty if the property is missing.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, DeployError> {
        match self.any(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Err(self.wrong(name, "a list")),
        }
    }

    /// Returns a list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, DeployError> {
        let values = self.list(name)?;
        let texts: Option<Vec<String>> = values.iter().map(text_of).collect();
        texts.ok_or_else(|| self.wrong(name, "a list of texts"))
    }

    /// Returns a structure, if the property is there.
    pub(super) fn structure(&mut self, name: &str) -> Result<Option<Self>, DeployError> {
        let of = format!("{} of {}", name, self.of);
        self.any(name).map(|value| Self::new(&of, &value)).transpose()
    }

    /// Takes properties that change nothing in the simulation.
    pub(super) fn without_effect(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.left.remove(*name)));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// If a property was not read.
    pub(super) fn finish(self) -> Result<(), DeployError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(DeployError(format!("the property {name} of {} is not modelled by the sandbox", self.of)))
            }
        }
    }

    /// Returns the error of a property with a wrong value.
    pub(super) fn wrong(&self, name: &str, wanted: &str) -> DeployError {
        DeployError(format!("the property {name} of {} has to be {wanted}", self.of))
    }
}

/// Returns a scalar as CloudFormation hands it on: always as a text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
