//! A stack: the template's resources with everything resolved, created in the order of their references.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    DeployError, Identity, Template, function,
    intrinsic::Resolver,
    parameters,
    properties::text_of,
    resources::{self, Policies},
};
use crate::world::World;

/// The transformation that makes CloudFormation resources of SAM's.
const SAM: &str = "AWS::Serverless-2016-10-31";

/// The attributes that a resource may have besides its type and its properties.
const ATTRIBUTES: [&str; 7] =
    ["Condition", "DeletionPolicy", "DependsOn", "Metadata", "Properties", "Type", "UpdateReplacePolicy"];

/// A deployed template.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// Every parameter's value.
    pub parameters: BTreeMap<String, String>,
    /// The resources, by logical id.
    pub resources: BTreeMap<String, Resource>,
    /// The template's outputs, by name.
    pub outputs: BTreeMap<String, String>,
}

/// A resource of a stack.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Such as `AWS::SQS::Queue`.
    pub kind: String,
    /// Its name and ARN.
    pub identity: Identity,
    /// Its properties, without functions; those of a SAM function with what `Globals` adds.
    pub properties: Value,
    /// The resources that it names, or says that it depends on.
    needs: BTreeSet<String>,
}

impl Stack {
    /// Returns a resource by its logical id.
    ///
    /// # Panics
    /// If there is none: a test that names one expects it.
    pub fn resource(&self, id: &str) -> &Resource {
        self.resources.get(id).unwrap_or_else(|| panic!("the stack has no resource {id}"))
    }

    /// Returns the logical ids of one type of resource.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&String, &Resource)> {
        self.resources.iter().filter(move |(_, resource)| resource.kind == kind)
    }
}

impl Template {
    /// Creates everything in it.
    ///
    /// # Errors
    /// See [`super::deploy`].
    pub fn deploy(&self, world: &mut World, parameters: &[(&str, &str)]) -> Result<Stack, DeployError> {
        let stack = self.resolve(parameters)?;
        let mut policies = Policies::default();
        for id in order(&stack.resources)? {
            let resource = &stack.resources[&id];
            resources::create(world, &mut policies, &id, resource).map_err(|e| DeployError(format!("{id}: {e}")))?;
        }
        Ok(stack)
    }

    /// Returns everything that would be created, without creating it.
    ///
    /// # Errors
    /// See [`super::deploy`].
    pub fn resolve(&self, parameters: &[(&str, &str)]) -> Result<Stack, DeployError> {
        let given = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut resolver = {
            let declared = self.section("Parameters");
            Resolver::of(parameters::values(&declared, &given)?, parameters::lists(&declared))
        };
        resolver.conditions = self.conditions(&resolver)?;
        let declared = self.created(&resolver)?;
        for (id, resource) in &declared {
            resolver.identities.insert(id.clone(), Identity::of(id, resource, &resolver)?);
        }
        resolver.take_named();
        let mut resources = BTreeMap::new();
        for (id, declaration) in &declared {
            let resource = self.resource(id, declaration, &resolver).map_err(|e| DeployError(format!("{id}: {e}")))?;
            resources.insert(id.clone(), resource);
        }
        let outputs = self.outputs(&resolver)?;
        Ok(Stack { parameters: resolver.parameters, resources, outputs })
    }

    /// Returns whether each condition is true. A condition may name another that comes later.
    fn conditions(&self, resolver: &Resolver) -> Result<BTreeMap<String, bool>, DeployError> {
        let mut resolver = Resolver::of(resolver.parameters.clone(), resolver.lists.clone());
        let mut left = self.section("Conditions");
        while !left.is_empty() {
            let known: Vec<(String, Result<bool, DeployError>)> =
                left.iter().map(|(name, function)| (name.clone(), resolver.is_true(function))).collect();
            let before = left.len();
            for (name, truth) in &known {
                if let Ok(truth) = truth {
                    left.remove(name);
                    resolver.conditions.insert(name.clone(), *truth);
                }
            }
            if left.len() == before {
                return Err(known.into_iter().find_map(|(_, truth)| truth.err()).unwrap_or(DeployError(String::new())));
            }
        }
        Ok(resolver.conditions)
    }

    /// Returns the declarations of resources whose condition is true.
    fn created(&self, resolver: &Resolver) -> Result<Map<String, Value>, DeployError> {
        let mut created = Map::new();
        let is_sam = self.document["Transform"] == SAM;
        for (id, resource) in self.section("Resources") {
            let attributes = resource.as_object().cloned().unwrap_or_default();
            if let Some(name) = attributes.keys().find(|name| !ATTRIBUTES.contains(&name.as_str())) {
                return Err(DeployError(format!("{id}: the attribute {name} is not modelled by the sandbox")));
            }
            if resource["Type"].as_str().is_some_and(|kind| kind.starts_with("AWS::Serverless::")) && !is_sam {
                return Err(DeployError(format!("{id}: without the Transform {SAM} there are no functions of SAM")));
            }
            let is_wanted = match attributes.get("Condition").and_then(Value::as_str) {
                None => true,
                Some(name) => *resolver
                    .conditions
                    .get(name)
                    .ok_or_else(|| DeployError(format!("{id}: Unresolved condition dependency {name}")))?,
            };
            if is_wanted {
                created.insert(id, resource);
            }
        }
        match created.is_empty() {
            true => Err(DeployError("At least one Resources member must be defined.".to_owned())),
            false => Ok(created),
        }
    }

    fn resource(&self, id: &str, declaration: &Value, resolver: &Resolver) -> Result<Resource, DeployError> {
        let kind = declaration["Type"].as_str().unwrap_or_default().to_owned();
        let properties = match kind.as_str() {
            "AWS::Serverless::Function" => {
                function::with_globals(&self.document["Globals"], &declaration["Properties"])?
            }
            _ => declaration["Properties"].clone(),
        };
        let properties = resolver.resolve(&properties)?.unwrap_or_default();
        let mut needs = resolver.take_named();
        for name in text_list(&declaration["DependsOn"]) {
            if !resolver.identities.contains_key(&name) {
                return Err(DeployError(format!("Unresolved resource dependencies [{name}] in DependsOn")));
            }
            needs.insert(name);
        }
        let identity = resolver.identities[id].clone();
        Ok(Resource { kind, identity, properties, needs })
    }

    fn outputs(&self, resolver: &Resolver) -> Result<BTreeMap<String, String>, DeployError> {
        let mut outputs = BTreeMap::new();
        for (name, output) in self.section("Outputs") {
            let wanted = output["Condition"].as_str().map(|name| resolver.conditions.get(name).copied());
            match wanted {
                Some(None) => return Err(DeployError(format!("the output {name} has an unknown condition"))),
                Some(Some(false)) => continue,
                _ => {}
            }
            let value = resolver.resolve(&output["Value"])?.as_ref().and_then(text_of);
            let value = value.ok_or_else(|| DeployError(format!("the output {name} has no text for a value")))?;
            outputs.insert(name, value);
        }
        Ok(outputs)
    }
}

/// Returns logical ids, each after those that it needs.
fn order(resources: &BTreeMap<String, Resource>) -> Result<Vec<String>, DeployError> {
    let mut order: Vec<String> = Vec::new();
    let mut left: BTreeMap<&String, &Resource> = resources.iter().collect();
    while !left.is_empty() {
        let is_ready = |resource: &Resource| !resource.needs.iter().any(|id| left.contains_key(id));
        let ready: Vec<String> =
            left.iter().filter(|(_, found)| is_ready(found)).map(|(id, _)| (*id).clone()).collect();
        if ready.is_empty() {
            let ids: Vec<&str> = left.keys().map(|id| id.as_str()).collect();
            return Err(DeployError(format!("Circular dependency between resources: [{}]", ids.join(", "))));
        }
        left.retain(|id, _| !ready.contains(id));
        order.extend(ready);
    }
    Ok(order)
}

fn text_list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().filter_map(text_of).collect(),
        value => text_of(value).into_iter().collect(),
    }
}
