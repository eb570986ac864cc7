//! CloudFormation's functions: `Ref`, `Fn::GetAtt`, `Fn::Sub` and their kin are replaced by their values.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{Map, Value};

use super::{DeployError, Identity, STACK, properties::text_of};
use crate::world::{ACCOUNT, REGION};

/// Knows everything that a function can name.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    pub(super) parameters: BTreeMap<String, String>,
    /// The parameters that are lists. An empty one has one element, which is empty.
    pub(super) lists: BTreeSet<String>,
    pub(super) conditions: BTreeMap<String, bool>,
    /// The resources that are created, by logical id.
    pub(super) identities: BTreeMap<String, Identity>,
    /// Resources that were named since the last call of [`Resolver::take_named`].
    named: RefCell<BTreeSet<String>>,
}

impl Resolver {
    /// Returns a resolver that knows parameters, and nothing else yet.
    pub(super) fn of(parameters: BTreeMap<String, String>, lists: BTreeSet<String>) -> Self {
        Self { parameters, lists, ..Self::default() }
    }

    /// Returns a tree without functions. `None` stands for `AWS::NoValue`, which takes the property or the element away.
    pub(super) fn resolve(&self, value: &Value) -> Result<Option<Value>, DeployError> {
        match value {
            Value::Array(values) => {
                let values: Result<Vec<_>, _> = values.iter().map(|value| self.resolve(value)).collect();
                Ok(Some(values?.into_iter().flatten().collect::<Vec<_>>().into()))
            }
            Value::Object(fields) => match function_in(fields) {
                Some((name, argument)) => self.call(name, argument),
                None => {
                    let mut resolved = Map::new();
                    for (name, value) in fields {
                        resolved.extend(self.resolve(value)?.map(|value| (name.clone(), value)));
                    }
                    Ok(Some(resolved.into()))
                }
            },
            scalar => Ok(Some(scalar.clone())),
        }
    }

    /// Returns the resources that were named since the last call.
    pub(super) fn take_named(&self) -> BTreeSet<String> {
        self.named.take()
    }

    /// Returns whether a condition function is true. Conditions know parameters only.
    pub(super) fn is_true(&self, function: &Value) -> Result<bool, DeployError> {
        let fields = function.as_object().and_then(function_in);
        let all = |argument: &Value| argument.as_array().cloned().unwrap_or_default();
        match fields {
            Some(("Condition", name)) => self.condition(name),
            Some(("Fn::Equals", argument)) => match &all(argument)[..] {
                [a, b] => Ok(self.text(a)? == self.text(b)?),
                _ => Err(wrong("Fn::Equals", argument)),
            },
            Some(("Fn::Not", argument)) => match &all(argument)[..] {
                [one] => Ok(!self.is_true(one)?),
                _ => Err(wrong("Fn::Not", argument)),
            },
            Some((name @ ("Fn::And" | "Fn::Or"), argument)) => {
                let truths: Result<Vec<bool>, DeployError> =
                    all(argument).iter().map(|one| self.is_true(one)).collect();
                let truths = truths?;
                Ok(if name == "Fn::And" { truths.iter().all(|is| *is) } else { truths.iter().any(|is| *is) })
            }
            _ => Err(DeployError(format!("{function} is no condition that the sandbox models"))),
        }
    }

    fn condition(&self, name: &Value) -> Result<bool, DeployError> {
        let name = name.as_str().unwrap_or_default();
        let known = self.conditions.get(name).copied();
        known.ok_or_else(|| DeployError(format!("Unresolved condition dependency {name}")))
    }

    fn call(&self, name: &str, argument: &Value) -> Result<Option<Value>, DeployError> {
        let arguments = || argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (name, arguments()) {
            ("Ref", _) => self.reference(argument.as_str().unwrap_or_default()),
            ("Fn::GetAtt", [id, attribute]) => {
                let attribute = self.text(attribute)?;
                self.attribute(id.as_str().unwrap_or_default(), &attribute).map(|value| Some(value.into()))
            }
            ("Fn::If", [condition, then, or]) => self.resolve(if self.condition(condition)? { then } else { or }),
            ("Fn::Sub", [template, variables]) => {
                let variables = variables.as_object().cloned().unwrap_or_default();
                self.substitute(template.as_str().unwrap_or_default(), &variables).map(|text| Some(text.into()))
            }
            ("Fn::Sub", []) => match argument.as_str() {
                Some(template) => self.substitute(template, &Map::new()).map(|text| Some(text.into())),
                None => Err(wrong(name, argument)),
            },
            ("Fn::Join", [separator, values]) => {
                let parts: Result<Vec<String>, _> = self.list(values)?.iter().map(|value| self.text(value)).collect();
                Ok(Some(parts?.join(separator.as_str().unwrap_or_default()).into()))
            }
            ("Fn::Split", [separator, text]) => {
                let text = self.text(text)?;
                let parts = text.split(separator.as_str().unwrap_or_default()).map(Value::from);
                Ok(Some(parts.collect::<Vec<_>>().into()))
            }
            ("Fn::Select", [index, values]) => {
                let index: Option<usize> = self.text(index)?.parse().ok();
                let chosen = index.and_then(|index| self.list(values).ok()?.get(index).cloned());
                chosen.map(Some).ok_or_else(|| wrong(name, argument))
            }
            _ => Err(wrong(name, argument)),
        }
    }

    fn list(&self, value: &Value) -> Result<Vec<Value>, DeployError> {
        match self.resolve(value)? {
            Some(Value::Array(values)) => Ok(values),
            _ => Err(DeployError(format!("{value} is no list"))),
        }
    }

    fn text(&self, value: &Value) -> Result<String, DeployError> {
        let text = self.resolve(value)?.as_ref().and_then(text_of);
        text.ok_or_else(|| DeployError(format!("{value} is no text")))
    }

    fn reference(&self, name: &str) -> Result<Option<Value>, DeployError> {
        if name == "AWS::NoValue" {
            return Ok(None);
        }
        if let Some(list) = self.parameters.get(name).filter(|_| self.lists.contains(name)) {
            return Ok(Some(list.split(',').map(|element| element.trim().into()).collect::<Vec<Value>>().into()));
        }
        if let Some(value) = pseudo_parameter(name).or_else(|| self.parameters.get(name).cloned()) {
            return Ok(Some(value.into()));
        }
        self.identity(name).map(|identity| Some(identity.reference.clone().into()))
    }

    fn attribute(&self, id: &str, attribute: &str) -> Result<String, DeployError> {
        let found = self.identity(id)?.attributes.get(attribute).cloned();
        found.ok_or_else(|| {
            DeployError(format!("Template error: resource {id} does not support attribute {attribute} in Fn::GetAtt"))
        })
    }

    fn identity(&self, id: &str) -> Result<&Identity, DeployError> {
        self.named.borrow_mut().insert(id.to_owned());
        let unknown =
            || DeployError(format!("Template format error: Unresolved resource dependencies [{id}] in the template"));
        self.identities.get(id).ok_or_else(unknown)
    }

    fn substitute(&self, template: &str, variables: &Map<String, Value>) -> Result<String, DeployError> {
        let (mut text, mut rest) = (String::new(), template);
        while let Some((before, after)) = rest.split_once("${") {
            text.push_str(before);
            let unclosed = || DeployError(format!("Fn::Sub {template}: a brace is not closed"));
            let (name, after) = after.split_once('}').ok_or_else(unclosed)?;
            let name = name.trim();
            if let Some(literal) = name.strip_prefix('!') {
                text.push_str(&format!("${{{literal}}}"));
            } else if let Some(value) = variables.get(name) {
                text.push_str(&self.text(value)?);
            } else if let Some((id, attribute)) = name.split_once('.') {
                text.push_str(&self.attribute(id, attribute)?);
            } else {
                let value = self.reference(name)?.as_ref().and_then(text_of);
                text.push_str(&value.ok_or_else(|| DeployError(format!("Fn::Sub {template}: {name} is no text")))?);
            }
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }
}

/// Returns the function in a mapping that consists of one call.
pub(super) fn function_in(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = fields.iter().next().filter(|_| fields.len() == 1)?;
    // A statement's `Condition` is a mapping; a reference to a condition is its name.
    let is_call = name == "Ref" || name.starts_with("Fn::") || (name == "Condition" && argument.is_string());
    is_call.then_some((name.as_str(), argument))
}

fn pseudo_parameter(name: &str) -> Option<String> {
    Some(match name {
        "AWS::AccountId" => ACCOUNT.to_owned(),
        "AWS::Partition" => "aws".to_owned(),
        "AWS::Region" => REGION.to_owned(),
        "AWS::StackName" => STACK.to_owned(),
        "AWS::StackId" => {
            format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/00000000-0000-4000-8000-000000000000")
        }
        "AWS::URLSuffix" => "amazonaws.com".to_owned(),
        _ => return None,
    })
}

fn wrong(name: &str, argument: &Value) -> DeployError {
    DeployError(format!("Template error: {name} with {argument} is wrong, or not modelled by the sandbox"))
}
