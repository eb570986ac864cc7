//! A program that cannot start says one sentence, with the name of the missing or wrong thing and what to do.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output},
};

use sandbox::deployment::{INSTANCE_STATE, LIFECYCLE, RECONCILE};

use crate::binary::binary;

/// The variables that Lambda sets besides credentials and Region. No server listens at this address.
const RUNTIME: [(&str, &str); 4] = [
    ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1"),
    ("AWS_LAMBDA_FUNCTION_NAME", "f"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
];

const CREDENTIALS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "sandbox")];

const REGION: (&str, &str) = ("AWS_REGION", "us-east-1");

/// Runs a program with this environment, and no variable of this machine.
fn run(program: &'static str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary(program));
    command.args(arguments).env_clear().env("HOME", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true");
    command.envs(environment.iter().copied()).output().expect("a process")
}

/// Returns the only line of a program that ended by itself with an error. The line on its mode is not counted.
#[track_caller]
fn sentence(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let printed = format!("{out}{err}");
    assert!(!output.status.success(), "{printed}");
    let lines: Vec<&str> = printed.lines().filter(|line| !line.contains(r#""mode":"observe"}"#)).collect();
    assert_eq!(lines.len(), 1, "{printed}");
    for of_debug in ["panicked", "Error:", "Os {", "NotPresent", "Some("] {
        assert!(!printed.contains(of_debug), "{of_debug}: {printed}");
    }
    lines[0].to_owned()
}

#[test]
fn a_function_by_itself_says_what_is_missing() {
    let [key, secret] = CREDENTIALS;
    let with = |more: &[(&'static str, &'static str)]| [&RUNTIME[..], more].concat();
    for (environment, words) in [
        (
            vec![key, secret, REGION],
            "the environment variable AWS_LAMBDA_RUNTIME_API is missing: this program is a Lambda function",
        ),
        (with(&[REGION]), "the environment variable AWS_ACCESS_KEY_ID is missing"),
        (with(&[REGION, ("AWS_PROFILE", "nope")]), "(a function reads no AWS_PROFILE)"),
        (with(&[key, REGION]), "the environment variable AWS_SECRET_ACCESS_KEY is missing"),
        (with(&[key, secret]), "the environment variable AWS_REGION is missing"),
        (
            with(&[key, secret, REGION, ("AWS_ENDPOINT_URL", "nonsense")]),
            "the environment variable AWS_ENDPOINT_URL is `nonsense`",
        ),
        (
            with(&[key, secret, REGION, ("REGISTRAR_MODE", "dry-run")]),
            "the environment variable REGISTRAR_MODE is `dry-run`",
        ),
        (
            with(&[key, secret, REGION, ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]),
            "Lambda's runtime cannot be reached",
        ),
    ] {
        let said = sentence(&run(INSTANCE_STATE, &[], &environment));
        assert!(said.replace("\\\"", "\"").contains(words), "{environment:?}: {said}");
    }
    for function in [LIFECYCLE, RECONCILE] {
        assert!(sentence(&run(function, &[], &[])).contains("AWS_LAMBDA_RUNTIME_API is missing"));
    }
}

#[test]
fn the_command_says_what_is_missing() {
    let [key, secret] = CREDENTIALS;
    let nope =
        "elb-registrar: the environment variable AWS_PROFILE is `nope`, and the AWS configuration has no such profile";
    for (environment, words) in [
        (vec![key, secret], "elb-registrar: no Region is set: set the environment variable AWS_REGION"),
        (vec![("AWS_PROFILE", "nope")], nope),
        // It must never use other credentials than those that were asked for.
        (vec![("AWS_PROFILE", "nope"), key, secret, REGION], nope),
        (vec![REGION], "elb-registrar: no credentials are found: choose a profile that has some by AWS_PROFILE"),
        (vec![REGION, key], "or set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (vec![REGION, key, secret, ("AWS_ENDPOINT_URL", "nonsense")], "AWS_ENDPOINT_URL is `nonsense`"),
    ] {
        let said = sentence(&run("elb-registrar", &["status"], &environment));
        assert!(said.contains(words), "{environment:?}: {said}");
    }
    let misspelt = run("elb-registrar", &["status", "--jsno"], &[]);
    let said = String::from_utf8_lossy(&misspelt.stderr).into_owned();
    assert!(said.contains("'--jsno'") && said.contains("'--json'"), "{said}");
}

#[test]
fn the_command_says_what_is_wrong_with_a_profile() {
    let folder = std::env::temp_dir().join(format!("elb-registrar-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let config = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).expect("a file");
        file.to_string_lossy().into_owned()
    };
    let login = "[profile login]\nregion = us-east-1\nsso_start_url = https://example.com\nsso_region = us-east-1\n\
                 sso_account_id = 123456789012\nsso_role_name = operator\n";
    let (login, broken) = (config("login", login), config("broken", "no section\n"));
    for (profile, file, words) in [
        (
            "login",
            &login,
            "`eval \"$(aws configure export-credentials --format env)\"` sets those that only the AWS CLI can get",
        ),
        ("logni", &login, "AWS_PROFILE is `logni`"),
        ("any", &broken, "elb-registrar: the AWS configuration cannot be read: could not parse profile file"),
    ] {
        let said = sentence(&run("elb-registrar", &["status"], &[("AWS_PROFILE", profile), ("AWS_CONFIG_FILE", file)]));
        assert!(said.contains(words), "{profile}: {said}");
    }
    std::fs::remove_dir_all(&folder).expect("the folder");
}

#[test]
fn a_sandbox_on_a_busy_port_names_it_before_it_builds_anything() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = other.local_addr().expect("an address").port().to_string();
    for options in [&["--port", &port][..], &["--port", &port, "--functions", "--fleet"]] {
        let said = sentence(&run("sandbox", options, &[]));
        assert!(said.starts_with(&format!("sandbox: port {port} of 127.0.0.1 is in use")), "{said}");
        assert!(said.contains("--port (0 is any free one)"), "{said}");
    }
}

#[test]
fn a_sandbox_refuses_a_mode_that_it_cannot_keep() {
    for (options, mode, words) in [
        (&["--functions", "--mode", "dry-run"][..], "", "--mode is `dry-run`, and has to be `observe` or `enforce`"),
        (&["--functions"], "dry-run", "REGISTRAR_MODE is `dry-run`, and has to be `observe` or `enforce`"),
        (&["--functions", "--mode", "enforce"], "observe", "REGISTRAR_MODE is `observe`: leave one out"),
    ] {
        let output = run("sandbox", options, &[("REGISTRAR_MODE", mode)]);
        let said = sentence(&output);
        assert!(said.contains(words) && output.status.code() == Some(2), "{said}");
    }
}
