//! The program's arguments: options, and the functions' settings in the environment.

use std::{collections::BTreeMap, env};

use lexopt::prelude::{Long, Short, ValueExt};
use sandbox::{
    Options,
    deployment::{Setting, Template},
};

pub(crate) const HELP: &str = "\
A simulated AWS: EC2, Elastic Load Balancing (both), Auto Scaling, SQS, EventBridge, and Lambda's Invoke.

Usage: cargo sandbox [--functions [--mode enforce]] [--fleet] [--port 4566] [--speed 20] [--seed 24301]

  --functions  builds elb-registrar's functions, deploys them, and shows what they say. Settings of theirs in the environment
               (REGISTRAR_SCOPE and the like, see docs/install.md) count
  --mode       enforce: the functions act; observe: they report what they would do. REGISTRAR_MODE says the same
  --fleet      begins with three instances behind load balancers of all kinds, and an empty Auto Scaling group, instead of nothing
  --port       where to listen on 127.0.0.1; 0 is any free port
  --speed      simulated seconds in a real one: at 20, a drain of five minutes takes fifteen seconds
  --seed       decides every delay and order, so that a run can be repeated
";

/// The first letters of the functions' settings in the environment.
const PREFIX: &str = "REGISTRAR_";

/// The parameter of the template that says whether the functions act.
pub(crate) const MODE: &str = "Mode";

/// The mode, if neither option nor environment has one: a sandbox shows the functions at work, and nothing real can break.
const MODE_DEFAULT: &str = "enforce";

pub(crate) struct Arguments {
    pub(crate) port: u16,
    pub(crate) speed: f64,
    pub(crate) seed: u64,
    pub(crate) has_fleet: bool,
    /// The parameters of the stack in which the functions are deployed, if they are to be.
    pub(crate) functions: Option<BTreeMap<String, String>>,
}

/// Returns the variables of the environment that could be settings of the functions.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let texts = env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    texts.filter(|(name, _)| name.starts_with(PREFIX)).collect()
}

/// Returns the program's arguments, or `None` if the user wants help.
///
/// # Errors
/// A sentence that names the option or the variable and says what is allowed.
pub(crate) fn parse(
    mut parser: lexopt::Parser,
    environment: &BTreeMap<String, String>,
) -> Result<Option<Arguments>, String> {
    let mut arguments =
        Arguments { port: 4566, speed: 20.0, seed: Options::default().seed, has_fleet: false, functions: None };
    let (mut has_functions, mut mode) = (false, None);
    let mut read = || {
        while let Some(argument) = parser.next()? {
            match argument {
                Long("port") => arguments.port = parser.value()?.parse()?,
                Long("speed") => arguments.speed = parser.value()?.parse()?,
                Long("seed") => arguments.seed = parser.value()?.parse()?,
                Long("mode") => mode = Some(parser.value()?.string()?),
                Long("functions") => has_functions = true,
                Long("fleet") => arguments.has_fleet = true,
                Short('h') | Long("help") => return Ok(false),
                other => return Err(other.unexpected()),
            }
        }
        Ok(true)
    };
    if !read().map_err(|error| error.to_string())? {
        return Ok(None);
    }
    if !(0.01..=10_000.0).contains(&arguments.speed) {
        return Err(format!("--speed is `{}`, and has to be from 0.01 to 10000", arguments.speed));
    }
    if mode.is_some() && !has_functions {
        return Err("--mode says what the functions do, and there are none: add --functions".to_owned());
    }
    if has_functions {
        arguments.functions = Some(parameters(mode, environment)?);
    }
    Ok(Some(arguments))
}

/// Returns the parameters of the stack: the mode, and the functions' other settings in the environment. An empty variable counts
/// as a missing one, as for the functions themselves.
fn parameters(
    mode: Option<String>,
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let template = Template::of_project();
    let settings = template.settings();
    let mut parameters = BTreeMap::new();
    let set = environment.iter().map(|(variable, value)| (variable, value.trim()));
    for (variable, value) in set.filter(|(_, value)| !value.is_empty()) {
        let what = format!("the environment variable {variable}");
        let setting = settings.get(variable).ok_or_else(|| {
            format!("{what} is no setting of the functions: unset it, or use a name of the table \"Settings\" in docs/install.md")
        })?;
        let Setting::Parameter { name, .. } = setting else {
            return Err(format!("{what} is for the stack to set, which is deployed in the sandbox: unset it"));
        };
        check(&template, &what, setting, value)?;
        parameters.insert(name.clone(), value.to_owned());
    }
    if let Some(mode) = mode {
        check(&template, "--mode", &settings["REGISTRAR_MODE"], &mode)?;
        if let Some(other) = parameters.insert(MODE.to_owned(), mode.clone()).filter(|other| *other != mode) {
            return Err(format!(
                "--mode is `{mode}`, and the environment variable REGISTRAR_MODE is `{other}`: leave one out"
            ));
        }
    }
    parameters.entry(MODE.to_owned()).or_insert_with(|| MODE_DEFAULT.to_owned());
    Ok(parameters)
}

/// Refuses a value that a setting cannot have. `what` names the option or variable with the value, for people.
fn check(template: &Template, what: &str, setting: &Setting, value: &str) -> Result<(), String> {
    let Setting::Parameter { name, allowed } = setting else { return Ok(()) };
    template.check(name, value).map_err(|why| match allowed.is_empty() {
        true => format!("{what} is `{value}`: {why}"),
        false => format!("{what} is `{value}`, and has to be `{}`", allowed.join("` or `")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str], environment: &[(&str, &str)]) -> Result<Option<Arguments>, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        parse(lexopt::Parser::from_args(options), &environment)
    }

    fn stack(options: &[&str], environment: &[(&str, &str)]) -> Result<String, String> {
        let functions = read(options, environment)?.and_then(|arguments| arguments.functions);
        let parameters = functions.unwrap_or_default().into_iter().map(|(name, value)| format!("{name}={value}"));
        Ok(parameters.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_functions_run_in_the_mode_that_option_or_environment_says() {
        for (options, environment, expected) in [
            (&["--functions"][..], &[][..], "Mode=enforce"),
            (&["--functions"], &[("REGISTRAR_MODE", " ")], "Mode=enforce"),
            (&["--functions"], &[("REGISTRAR_MODE", "observe")], "Mode=observe"),
            (&["--functions", "--mode", "observe"], &[], "Mode=observe"),
            (&["--mode=observe", "--functions"], &[("REGISTRAR_MODE", "observe")], "Mode=observe"),
            // No function runs that could read it.
            (&["--fleet"], &[("REGISTRAR_MODE", "observe")], ""),
        ] {
            assert_eq!(stack(options, environment).as_deref(), Ok(expected), "{options:?} {environment:?}");
        }
    }

    #[test]
    fn other_settings_of_the_functions_come_from_the_environment() {
        let environment = [("REGISTRAR_SCOPE", "tagged"), ("REGISTRAR_HEALTH_TIMEOUT_SECONDS", "60")];
        let expected = "HealthTimeout=60 Mode=enforce Scope=tagged";
        assert_eq!(stack(&["--functions"], &environment).as_deref(), Ok(expected));
    }

    #[test]
    fn a_wrong_option_or_variable_is_refused_by_its_name() {
        let observes = [("REGISTRAR_MODE", "observe")];
        for (options, environment, sentence) in [
            (
                &["--functions", "--mode", "dry-run"][..],
                &[][..],
                "--mode is `dry-run`, and has to be `observe` or `enforce`",
            ),
            (
                &["--functions"],
                &[("REGISTRAR_MODE", "dry-run")],
                "the environment variable REGISTRAR_MODE is `dry-run`, and has to be `observe` or `enforce`",
            ),
            (
                &["--functions", "--mode", "enforce"],
                &observes,
                "--mode is `enforce`, and the environment variable REGISTRAR_MODE is `observe`: leave one out",
            ),
            (&["--mode", "observe"], &[], "--mode says what the functions do, and there are none: add --functions"),
            (
                &["--functions"],
                &[("REGISTRAR_MDOE", "observe")],
                "the environment variable REGISTRAR_MDOE is no setting",
            ),
            (&["--functions"], &[("REGISTRAR_STACK", "mine")], "REGISTRAR_STACK is for the stack to set"),
            (
                &["--functions"],
                &[("REGISTRAR_HEALTH_TIMEOUT_SECONDS", "5m")],
                "is `5m`: Parameter HealthTimeout failed to satisfy constraint: has to be a whole number of seconds",
            ),
            (&["--speed", "NaN"], &[], "--speed is `NaN`, and has to be from 0.01 to 10000"),
            (&["--port", "eighty"], &[], "cannot parse argument \"eighty\""),
            (&["--fleets"], &[], "invalid option '--fleets'"),
        ] {
            let why = read(options, environment).err().unwrap_or_default();
            assert!(why.contains(sentence), "{options:?} {environment:?}: {why}");
        }
    }
}
