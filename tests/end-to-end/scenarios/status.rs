//! `cargo status`: an operator looks at the whole account, and nothing changes.

use std::{net::Ipv4Addr, process::Output};

use end_to_end::Stage;
use protocol::plain::is_plain;
use registrar::{
    aws::clients::Clients,
    config::{Mode, Scope},
    engine::Engine,
    workflow::{Order, Swept},
};
use sandbox::{
    Clock, Options, Sandbox, deployment,
    ec2::{self, Launch},
    elb, server,
};
use serde_json::Value;

/// Runs the built command against an AWS that listens, with one stopped instance behind a Classic load balancer.
async fn status(arguments: &[&str]) -> (Output, Sandbox) {
    status_of(arguments, "web-1").await
}

/// Runs it if the instance has this name.
async fn status_of(arguments: &[&str], name: &str) -> (Output, Sandbox) {
    let binary = tokio::task::spawn_blocking(|| deployment::build("status")).await.expect("no panic");
    let sandbox = Sandbox::new(Clock::scaled(60.0), Options::default());
    sandbox.with(|world| {
        let vpc = ec2::create_vpc(world, "10.0.0.0/16");
        let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/24");
        let instance = ec2::launch_running(world, Launch::new(&subnet).tag("Name", name)).expect("a launch");
        elb::create(world, "shop", &vpc, &["us-east-1a"]).expect("a new name");
        elb::register(world, "shop", &instance).expect("an instance");
        ec2::stop(world, &instance).expect("a stop");
    });
    let server = server::serve(&sandbox, (Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let (endpoint, arguments) = (server.endpoint_url(), arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
    let run = move || {
        let mut command = std::process::Command::new(binary.expect("a command that builds"));
        command.args(arguments).env_clear().env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "AKIAOPERATOR").env("AWS_SECRET_ACCESS_KEY", "sandbox").output()
    };
    (tokio::task::spawn_blocking(run).await.expect("no panic").expect("a process"), sandbox)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_a_table_and_changes_nothing() {
    let (output, sandbox) = status(&[]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for words in
        ["1 instance(s) with something to tell", "│ web-1 ", "clb:shop", "wrong: clb:shop: registered though stop"]
    {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours without a terminal");
    sandbox.with(|world| {
        assert!(!world.calls.is_empty());
        assert!(world.calls.iter().all(|call| call.action.starts_with("Describe")), "{:?}", world.calls);
    });
}

/// A name that would be a row of the table, in red, and turn the rest of it round.
const ROWS: &str = "web-1\n│ web-2 ┆ clb:shop InService\u{1b}[31m\u{9b}2J\u{202e}\u{2028}\r\u{200b}\u{1}";

#[tokio::test(flavor = "multi_thread")]
async fn no_name_makes_a_row_a_colour_or_another_direction() {
    for arguments in [&[][..], &["--json"]] {
        let (output, _) = status_of(arguments, ROWS).await;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{text}");
        let is_line = |c: char| matches!(c, '\n' | '\u{2500}'..='\u{259f}');
        assert!(text.chars().all(|c| is_plain(c) || is_line(c)), "{text:?}");
        let rows: Vec<&str> = text.lines().filter(|line| line.contains("web-2")).collect();
        assert!(
            rows.len() == 1 && rows[0].contains(r"web-1\n\u{2502} web-2") || rows[0].contains(r"web-1\\n"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_json_for_machines_and_help_for_people() {
    let (output, _) = status(&["--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let instance = report["instances"].as_object().and_then(|all| all.values().next()).expect("an instance");
    assert_eq!((&report["mode"], &instance["registered"][0]), (&"observe".into(), &"clb:shop".into()), "{report}");
    let (output, sandbox) = status(&["--help"]).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("Usage: cargo status"));
    assert_eq!(sandbox.with(|world| world.calls.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn clients_that_only_read_refuse_every_change_even_in_enforce_mode() {
    let stage = Stage::new();
    stage.deliver_only(&[]).classic("shop").instance("web-1").registered("web-1", "clb:shop");
    stage.stop_and_rest("web-1").await;
    let clients = Clients::that_only_read(&stage.operator_sdk());
    let engine = Engine::new(clients.into(), Mode::Enforce, Scope::All);
    let Swept { report, .. } = engine.sweep(&Order::default()).await.expect("a report");
    let why = report.failures().map(|(_, failed)| failed.because.to_string()).collect::<Vec<_>>().join("; ");
    assert!(why.contains("CreateTags is not a call that only describes"), "{why}");
    assert_eq!(stage.places("web-1"), ["clb:shop"]);
    assert!(stage.world(|world| world.calls.iter().all(|call| call.action.starts_with("Describe"))));
}
