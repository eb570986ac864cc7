//! The functions' settings: the environment variables that follow parameters of the template.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{DeployError, Template, parameters, properties::text_of};

/// The source of an environment variable of the functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// This parameter, with the only values that it allows. If the list is empty, its other constraints decide.
    Parameter {
        /// Its name.
        name: String,
        /// Its `AllowedValues`.
        allowed: Vec<String>,
    },
    /// The stack itself, as with the URL of a queue.
    Stack,
}

impl Template {
    /// Returns the settings by the names of their environment variables.
    pub fn settings(&self) -> BTreeMap<String, Setting> {
        let declared = self.section("Parameters");
        let globals = &self.document["Globals"]["Function"];
        let resources = self.section("Resources");
        let functions = resources.values().map(|resource| &resource["Properties"]);
        let variables =
            [globals].into_iter().chain(functions).filter_map(|of| of["Environment"]["Variables"].as_object());
        variables.flatten().map(|(variable, value)| (variable.clone(), setting(value, &declared))).collect()
    }

    /// Refuses a value that a parameter does not allow.
    ///
    /// # Errors
    /// In CloudFormation's words, also if there is no such parameter.
    pub fn check(&self, parameter: &str, value: &str) -> Result<(), DeployError> {
        let mut declared = self.section("Parameters");
        declared.retain(|name, _| name == parameter);
        let given = BTreeMap::from([(parameter.to_owned(), value.to_owned())]);
        parameters::values(&declared, &given).map(drop)
    }
}

fn setting(value: &Value, declared: &Map<String, Value>) -> Setting {
    let parameter = value["Ref"].as_str().and_then(|name| Some((name, declared.get(name)?)));
    parameter.map_or(Setting::Stack, |(name, declaration)| {
        let allowed = declaration["AllowedValues"].as_array().into_iter().flatten().filter_map(text_of).collect();
        Setting::Parameter { name: name.to_owned(), allowed }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_of_the_functions_is_a_setting_with_its_parameter() {
        let settings = Template::of_project().settings();
        let of = |variable: &str| settings[variable].clone();
        let parameter = |name: &str, allowed: &[&str]| Setting::Parameter {
            name: name.to_owned(),
            allowed: allowed.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(of("REGISTRAR_MODE"), parameter("Mode", &["observe", "enforce"]));
        assert_eq!(of("REGISTRAR_HEALTH_TIMEOUT_SECONDS"), parameter("HealthTimeout", &[]));
        assert_eq!((of("REGISTRAR_STACK"), of("REGISTRAR_QUEUE_URL")), (Setting::Stack, Setting::Stack));
    }

    #[test]
    fn a_value_that_a_parameter_does_not_allow_is_refused() {
        let template = Template::of_project();
        assert_eq!(template.check("Mode", "observe"), Ok(()));
        for (parameter, value, words) in [
            ("Mode", "dry-run", "AllowedValues"),
            ("HealthTimeout", "5m", "a whole number"),
            ("Moon", "full", "do not exist"),
        ] {
            let why = template.check(parameter, value).unwrap_err().0;
            assert!(why.contains(words), "{why}");
        }
    }
}
