//! A CloudFormation template as a tree: YAML with its short tags becomes JSON with the long forms of the functions.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::DeployError;

/// The project's own, as it was when the sandbox was built.
const PROJECT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml"));

/// Sections of a template. `Rules`, `Hooks` and `Mappings` are left out: the sandbox would have to understand them.
const SECTIONS: [&str; 9] = [
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Globals",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Transform",
];

/// Functions that have a short tag.
const FUNCTIONS: [&str; 10] = ["And", "Equals", "GetAtt", "If", "Join", "Not", "Or", "Select", "Split", "Sub"];

/// A template, parsed but not resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The whole document. Tests change it, to see the refusals.
    pub document: Value,
}

impl Template {
    /// Returns the project's own `template.yaml`.
    ///
    /// # Panics
    /// If it is not a template.
    pub fn of_project() -> Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        TEMPLATE.get_or_init(|| Self::parse(PROJECT).unwrap_or_else(|why| panic!("template.yaml: {why}"))).clone()
    }

    /// Reads a template.
    ///
    /// # Errors
    /// If it is not YAML, or has a tag or a section that is not modelled.
    pub fn parse(text: &str) -> Result<Self, DeployError> {
        let yaml: yaml_serde::Value = yaml_serde::from_str(text).map_err(|e| DeployError(format!("no YAML: {e}")))?;
        let document = plain(yaml)?;
        let sections = document.as_object().ok_or_else(|| DeployError("a template is a mapping".to_owned()))?;
        match sections.keys().find(|name| !SECTIONS.contains(&name.as_str())) {
            Some(name) => Err(DeployError(format!("the section {name} is not modelled by the sandbox"))),
            None => Ok(Self { document }),
        }
    }

    /// Returns the entries of a section, by their names.
    pub(super) fn section(&self, name: &str) -> Map<String, Value> {
        self.document[name].as_object().cloned().unwrap_or_default()
    }
}

/// Returns a tree without tags. Mappings have texts as keys; a key that comes twice is an error of the parser's.
fn plain(yaml: yaml_serde::Value) -> Result<Value, DeployError> {
    use yaml_serde::Value as Yaml;
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => flag.into(),
        Yaml::Number(number) => serde_json::to_value(&number).unwrap_or_default(),
        Yaml::String(text) => text.into(),
        Yaml::Sequence(values) => values.into_iter().map(plain).collect::<Result<Vec<_>, _>>()?.into(),
        Yaml::Mapping(fields) => {
            let mut object = Map::new();
            for (key, value) in fields {
                let key = match plain(key)? {
                    Value::String(key) => key,
                    // Such as the account ids of a mapping.
                    key @ (Value::Number(_) | Value::Bool(_)) => key.to_string(),
                    key => return Err(DeployError(format!("{key} is no key of a mapping"))),
                };
                object.insert(key, plain(value)?);
            }
            object.into()
        }
        Yaml::Tagged(tagged) => function(tagged.tag.to_string().trim_start_matches('!'), plain(tagged.value)?)?,
    })
}

/// Returns the long form of a function that was written as a tag.
fn function(tag: &str, argument: Value) -> Result<Value, DeployError> {
    match (tag, argument) {
        ("Ref" | "Condition", argument) => Ok(json!({ tag: argument })),
        ("GetAtt", Value::String(path)) => match path.split_once('.') {
            Some((id, attribute)) => Ok(json!({ "Fn::GetAtt": [id, attribute] })),
            None => Err(DeployError(format!("!GetAtt {path} names no attribute"))),
        },
        (tag, argument) if FUNCTIONS.contains(&tag) => Ok(json!({ format!("Fn::{tag}"): argument })),
        (tag, _) => Err(DeployError(format!("the tag !{tag} is not modelled by the sandbox"))),
    }
}
