//! The command `elb-registrar`: an operator looks at the whole account, and gives back what is held.

use std::{collections::BTreeMap, net::Ipv4Addr, process::Output, time::Duration};

use end_to_end::Stage;
use protocol::plain::is_plain;
use registrar::{
    aws::clients::Clients,
    config::{Mode, Scope},
    engine::Engine,
    workflow::{Order, Swept},
};
use sandbox::{
    Clock, Options, Sandbox, World,
    auto_scaling::{self, GroupSpec, HookSpec},
    deployment,
    ec2::{self, Launch},
    elb, elbv2,
    fault::{Verdict, every},
    lambda::{self, FunctionSpec},
    server,
    wire::ApiError,
};
use serde_json::Value;

/// An account with one Classic load balancer, `shop`, and `run` of the command against it.
pub(crate) struct Account {
    pub(crate) sandbox: Sandbox,
}

/// What the command has said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Account {
    /// Creates an account with a network, in which a test sets up the rest.
    pub(crate) fn new(set_up: impl FnOnce(&mut World, &Network)) -> Self {
        let sandbox = Sandbox::new(Clock::scaled(60.0), Options::default());
        sandbox.with(|world| {
            let vpc = ec2::create_vpc(world, "10.0.0.0/16");
            let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/17");
            elb::create(world, "shop", &vpc, &["us-east-1a"]).expect("a new name");
            set_up(world, &Network { vpc, subnet });
        });
        Self { sandbox }
    }

    /// Creates an account with one stopped instance that is registered, which is wrong.
    fn with_one_stopped(name: &str) -> Self {
        Self::new(|world, network| {
            let instance = network.launch(world, name, &[]);
            elb::register(world, "shop", &instance).expect("an instance");
            ec2::stop(world, &instance).expect("a stop");
        })
    }

    /// Runs the command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        self.run_as(arguments, &[("AWS_ACCESS_KEY_ID", "AKIAOPERATOR"), ("AWS_SECRET_ACCESS_KEY", "sandbox")]).await
    }

    /// Runs it with these credentials.
    async fn run_as(&self, arguments: &[&str], credentials: &[(&str, &str)]) -> Said {
        let credentials: Vec<(String, String)> =
            credentials.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let binary = tokio::task::spawn_blocking(|| deployment::build("elb-registrar")).await.expect("no panic");
        let server = server::serve(&self.sandbox, (Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let endpoint = server.endpoint_url();
        let arguments = arguments.iter().map(ToString::to_string).collect::<Vec<_>>();
        let run = move || {
            let mut command = std::process::Command::new(binary.expect("a command that builds"));
            command.args(arguments).env_clear().env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "us-east-1");
            command.envs(credentials);
            command.stdin(std::process::Stdio::null()).output()
        };
        let Output { status, stdout, stderr } =
            tokio::task::spawn_blocking(run).await.expect("no panic").expect("a process");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { code: status.code().expect("an end by itself"), out: text(stdout), errors: text(stderr) }
    }
}

/// Where instances are launched.
pub(crate) struct Network {
    pub(crate) vpc: String,
    pub(crate) subnet: String,
}

impl Network {
    pub(crate) fn launch(&self, world: &mut World, name: &str, tags: &[(&str, &str)]) -> String {
        let launch = Launch::new(&self.subnet).tag("Name", name);
        let launch = tags.iter().fold(launch, |launch, (key, value)| launch.tag(key, value));
        ec2::launch_running(world, launch).expect("a launch")
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn has(&self, all: &[&str]) -> &Self {
        for words in all {
            assert!(self.out.contains(words), "{words}\n{}{}", self.out, self.errors);
        }
        self
    }

    #[track_caller]
    fn lacks(&self, all: &[&str]) -> &Self {
        for words in all {
            assert!(!self.out.contains(words), "{words}\n{}{}", self.out, self.errors);
        }
        self
    }
}

fn only_reads(action: &str) -> bool {
    action.starts_with("Describe") || action == "ListFunctions"
}

/// Deploys a function with these settings, as any stack would.
pub(crate) fn deploy(world: &mut World, name: &str, settings: &[(&str, &str)]) {
    let environment = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    lambda::create_function(world, FunctionSpec { environment, ..FunctionSpec::new(name) });
}

#[tokio::test(flavor = "multi_thread")]
async fn status_prints_a_table_and_changes_nothing() {
    let account = Account::with_one_stopped("web-1");
    let said = account.run(&["status"]).await;
    said.has(&[
        "account   123456789012\nRegion    us-east-1\nfunctions none are deployed here\n",
        "1 instances, 1 registrations, 0 held,",
        "1 wrong, 0 orphans, 0 not read",
        "│ web-1 ",
        "wrong: clb:shop: registered though stop",
    ]);
    said.lacks(&["\u{1b}", "the mode is `observe`"]);
    assert_eq!((said.code, said.errors.as_str()), (1, ""));
    account.sandbox.with(|world| {
        assert!(!world.calls.is_empty());
        assert!(world.calls.iter().all(|call| only_reads(&call.action)), "{:?}", world.calls);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_in_order_ends_with_zero() {
    let account = Account::new(|world, network| {
        let instance = network.launch(world, "web-1", &[]);
        elb::register(world, "shop", &instance).expect("an instance");
    });
    let said = account.run(&["status"]).await;
    said.has(&["│ web-1 ", "0 wrong"]);
    assert_eq!(said.code, 0, "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_read_is_named_and_ends_with_two() {
    let account = Account::with_one_stopped("web-1");
    let refusal =
        ApiError::receiver(403, "AccessDenied", "not authorized to perform: elasticloadbalancing:DescribeTargetGroups");
    let _fault = account.sandbox.fault(every("DescribeTargetGroups", Verdict::Refuse(refusal)));
    let said = account.run(&["status"]).await;
    said.has(&["Not read, so that what follows lacks it\n- ", "DescribeTargetGroups", "1 wrong"]);
    assert_eq!(said.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filters_leave_what_was_asked_for() {
    let account = Account::new(|world, network| {
        elb::create(world, "till", &network.vpc, &["us-east-1a"]).expect("a new name");
        for (name, balancer) in [("web-1", "shop"), ("web-2", "till"), ("web-3", "shop")] {
            let instance = network.launch(world, name, &[]);
            elb::register(world, balancer, &instance).expect("an instance");
            if name == "web-3" {
                ec2::stop(world, &instance).expect("a stop");
            }
        }
        network.launch(world, "web-4", &[("elb-registrar:register", "clb:till")]);
    });
    for (arguments, shown, code) in [
        (&["status"][..], &["web-1", "web-2", "web-3", "web-4"][..], 1),
        (&["status", "--wrong"], &["web-3", "web-4"], 1),
        (&["status", "--instance", "web-1"], &["web-1"], 0),
        (&["status", "--balancer", "clb:till"], &["web-2", "web-4"], 1),
        (&["status", "--balancer", "clb:shop", "--wrong"], &["web-3"], 1),
        (&["status", "--instance", "web-1", "--instance", "web-2"], &["web-1", "web-2"], 0),
    ] {
        let said = account.run(arguments).await;
        let names: Vec<&str> =
            ["web-1", "web-2", "web-3", "web-4"].into_iter().filter(|name| said.out.contains(name)).collect();
        assert_eq!((&names[..], said.code), (shown, code), "{arguments:?}\n{}", said.out);
    }
    let said = account.run(&["status", "--balancer", "shop"]).await;
    assert!(said.code == 2 && said.errors.contains("--balancer"), "{}", said.errors);
    let said = account.run(&["status", "--instance", "web-1", "--instance", "web-11"]).await;
    assert!(said.code == 2 && said.errors.contains("no instance with the id or the name web-11"), "{}", said.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployed_mode_is_told_by_the_functions_themselves() {
    let account = Account::with_one_stopped("web-1");
    account.sandbox.with(|world| {
        (0..60).for_each(|number| deploy(world, &format!("another-{number:02}"), &[("MODE", "x")]));
        let settings = [("REGISTRAR_MODE", "observe"), ("REGISTRAR_STACK", "fleet"), ("REGISTRAR_SCOPE", "tagged")];
        deploy(world, "tf-reconcile", &settings);
    });
    account.run(&["status"]).await.has(&["functions fleet: observe, tagged instances only\n"]);
    account.sandbox.with(|world| {
        deploy(world, "z-lifecycle", &[("REGISTRAR_MODE", "enforce"), ("REGISTRAR_STACK", "other")]);
    });
    let several = account.run(&["status"]).await;
    assert!(
        several.code == 2 && several.errors.contains("say by --stack which one counts: fleet, other"),
        "{}",
        several.errors
    );
    account
        .run(&["status", "--stack", "other"])
        .await
        .has(&["fleet: observe, tagged instances only; other: enforce", "1 wrong"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_may_not_be_read_is_unknown() {
    let account = Account::with_one_stopped("web-1");
    let refusal = ApiError::receiver(403, "AccessDeniedException", "not authorized to perform: lambda:ListFunctions");
    let _fault = account.sandbox.fault(every("ListFunctions", Verdict::Refuse(refusal)));
    let said = account.run(&["status"]).await;
    said.has(&["functions unknown: lambda:ListFunctions was refused (403): not authorized to perform", "│ web-1 "]);
    assert_eq!(said.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_at_a_hook_is_shown_with_its_hook() {
    let account = Account::new(|world, network| {
        for (group, hook) in [("web", "elb-registrar-launch"), ("other", "another-tool")] {
            let group =
                GroupSpec::new(group, &network.subnet).desired(1).hook(HookSpec::launching(hook).heartbeat(7_200));
            auto_scaling::create_group(world, group).expect("a new name");
        }
    });
    // The group launches its instances meanwhile.
    for _ in 0..50 {
        let said = account.run(&["status"]).await;
        if said.out.matches("Pending:Wait").count() == 2 {
            said.has(&[
                "waiting: at a lifecycle hook of the Auto Scaling group web, as Pending:Wait; its hook: elb-registrar-launch",
                "waiting: at a lifecycle hook of the Auto Scaling group other, as Pending:Wait; its hook: another-tool",
                "2 waiting",
            ]);
            assert_eq!(said.code, 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no instance waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_process_is_run() {
    let account = Account::with_one_stopped("web-1");
    let file = std::env::temp_dir().join(format!("elb-registrar-process-{}", std::process::id()));
    let printed = r#"{"Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": "sandbox"}"#;
    let profile = format!("[profile process]\ncredential_process = /bin/echo '{printed}'\n");
    std::fs::write(&file, profile).expect("a file");
    let path = file.to_string_lossy().into_owned();
    let said = account.run_as(&["status"], &[("AWS_PROFILE", "process"), ("AWS_CONFIG_FILE", &path)]).await;
    std::fs::remove_file(&file).expect("the file");
    said.has(&["│ web-1 "]);
    account.sandbox.with(|world| assert!(world.calls.iter().all(|call| call.access_key == "AKIAPROCESS")));
}

/// A name that would be a row of the table, in red, and turn the rest of it round.
const ROWS: &str = "web-1\n│ web-2 ┆ clb:shop InService\u{1b}[31m\u{9b}2J\u{202e}\u{2028}\r\u{200b}\u{1}";

#[tokio::test(flavor = "multi_thread")]
async fn no_name_makes_a_row_a_colour_or_another_direction() {
    let account = Account::with_one_stopped(ROWS);
    for arguments in [&["status"][..], &["status", "--json"]] {
        let said = account.run(arguments).await;
        let text = format!("{}{}", said.out, said.errors);
        assert_eq!(said.code, 1, "{text}");
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
    let account = Account::with_one_stopped("web-1");
    let said = account.run(&["status", "--json"]).await;
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    let instance = report["instances"].as_object().and_then(|all| all.values().next()).expect("an instance");
    assert_eq!((&report["mode"], &instance["registered"][0]), (&"observe".into(), &"clb:shop".into()), "{report}");
    assert_eq!((&report["account"], &report["summary"]["wrong"]), (&"123456789012".into(), &1.into()), "{report}");
    let calls = account.sandbox.with(|world| world.calls.len());
    for arguments in [&["--help"][..], &["status", "--help"], &["plan", "--help"], &["--version"]] {
        let said = account.run(arguments).await;
        assert!(said.code == 0 && said.out.contains("elb-registrar"), "{}", said.out);
    }
    let both = account.run(&["status", "--json", "--html"]).await;
    assert!(both.code == 2 && both.errors.contains("cannot be used with"), "{}", both.errors);
    assert_eq!(account.sandbox.with(|world| world.calls.len()), calls);
}
/// `cargo test four_hundred_instances -- --nocapture` prints how long it takes.
#[tokio::test(flavor = "multi_thread")]
async fn four_hundred_instances_are_shown_in_every_form() {
    let account = Account::new(|world, network| {
        for group in 0..20 {
            let spec = elbv2::TargetGroupSpec::instances(&format!("web-{group}"), &network.vpc, 80);
            let arn = elbv2::create_target_group(world, spec).expect("a new name");
            for number in 0..20 {
                let instance = network.launch(world, &format!("web-{group}-{number}"), &[]);
                elbv2::register(world, &arn, elbv2::Target::new(&instance)).expect("an instance");
            }
        }
    });
    for form in [&["status"][..], &["status", "--json"], &["status", "--markdown"], &["plan", "--html"]] {
        let begun = tokio::time::Instant::now();
        let said = account.run(form).await;
        println!("{form:?}: {:.1} s, {} bytes", begun.elapsed().as_secs_f64(), said.out.len());
        let names = said.out.matches("web-19-").count() + said.out.matches(r"web\-19\-").count();
        assert_eq!((names, said.code), (20, 0), "{}", said.errors);
    }
}

/// The variable that says how many instances `status` is measured with, in 100 target groups.
const INSTANCES: &str = "STATUS_INSTANCES";

/// `STATUS_INSTANCES=10000 cargo test status_calls -- --nocapture` prints the figures of `docs/operations.md`, after a minute.
#[tokio::test(flavor = "multi_thread")]
async fn status_calls_once_for_each_group_and_thousand_instances() {
    let instances = std::env::var(INSTANCES).map_or(1_000, |text| text.parse().expect("a number"));
    let account = Account::new(|world, network| {
        for group in 0..100 {
            let spec = elbv2::TargetGroupSpec::instances(&format!("web-{group}"), &network.vpc, 80);
            let arn = elbv2::create_target_group(world, spec).expect("a new name");
            for number in 0..u8::try_from(instances / 100).expect("a few") {
                // The sandbox looks long for a free address if there are many instances.
                let launch = Launch::new(&network.subnet).address(Ipv4Addr::new(10, 0, group, 10 + number));
                let instance = ec2::launch_running(world, launch.tag("Name", &format!("web-{group}-{number}")));
                elbv2::register(world, &arn, elbv2::Target::new(instance.expect("a launch"))).expect("an instance");
            }
        }
    });
    let begun = tokio::time::Instant::now();
    let said = account.run(&["status", "--html"]).await;
    let seconds = begun.elapsed().as_secs_f64();
    let mut calls = BTreeMap::<String, usize>::new();
    account.sandbox.with(|world| {
        world.calls.iter().for_each(|call| *calls.entry(call.action.clone()).or_default() += 1);
    });
    let all: usize = calls.values().sum();
    println!("{instances} instances: {all} calls, {seconds:.1} s, a page of {} bytes\n{calls:?}", said.out.len());
    assert_eq!((said.out.matches("<tr").count(), said.code), (instances + 1, 0), "{}", said.errors);
    let expected = [
        ("DescribeAutoScalingInstances", 1),
        ("DescribeInstances", instances.div_ceil(1_000)),
        ("DescribeLoadBalancers", 1),
        ("DescribeTags", 10),
        ("DescribeTargetGroups", 2),
        ("DescribeTargetHealth", 100),
        ("ListFunctions", 1),
    ];
    assert_eq!(calls, expected.map(|(action, count)| (action.to_owned(), count)).into());
}

/// Returns an account with one instance that runs and holds, and one that is stopped and holds.
fn account_that_holds() -> Account {
    Account::new(|world, network| {
        network.launch(world, "web-1", &[("elb-registrar:held", "clb:shop")]);
        let stopped = network.launch(world, "web-2", &[("elb-registrar:held", "clb:shop")]);
        ec2::stop(world, &stopped).expect("a stop");
    })
}

fn registered(account: &Account) -> usize {
    account.sandbox.with(|world| elb::members(world, "shop").len())
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_asks_first_and_then_gives_back_what_runs() {
    let account = account_that_holds();
    let dry = account.run(&["restore", "--dry-run"]).await;
    dry.has(&["would register: clb:shop", "web-2", "its tags keep what they hold until it runs"]);
    let unasked = account.run(&["restore"]).await;
    assert!(unasked.code == 2 && unasked.errors.contains("nothing is given back without --yes"), "{}", unasked.errors);
    assert_eq!((dry.code, registered(&account)), (1, 0));
    account.sandbox.with(|world| assert!(world.calls.iter().all(|call| only_reads(&call.action))));
    let done = account.run(&["restore", "--yes", "--wait", "0"]).await;
    done.has(&[
        "registered: clb:shop",
        "1 registration(s) were given back",
        "its tags keep what they hold until it runs",
    ]);
    assert_eq!((done.code, registered(&account)), (1, 1), "web-2 still holds: {}", done.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_with_nothing_held_does_nothing_and_ends_with_zero() {
    let account = Account::new(|world, network| drop(network.launch(world, "web-1", &[])));
    let said = account.run(&["restore"]).await;
    said.has(&["0 instances"]);
    assert_eq!(said.code, 0, "{}", said.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_refuses_beside_functions_that_enforce_or_may() {
    let account = account_that_holds();
    let deploy_in = |mode: &'static str| {
        account.sandbox.with(|world| {
            deploy(world, "reconcile", &[("REGISTRAR_MODE", mode), ("REGISTRAR_STACK", "fleet")]);
        });
    };
    deploy_in("enforce");
    let said = account.run(&["restore", "--yes"]).await;
    assert!(said.code == 2 && said.errors.contains("the functions of the stack fleet enforce"), "{}", said.errors);
    account.run(&["restore", "--dry-run"]).await.has(&["functions fleet: enforce", "would register: clb:shop"]);
    deploy_in("observe");
    let refusal = ApiError::receiver(403, "AccessDeniedException", "not authorized to perform: lambda:ListFunctions");
    let fault = account.sandbox.fault(every("ListFunctions", Verdict::Refuse(refusal)));
    let said = account.run(&["restore", "--yes"]).await;
    assert!(said.code == 2 && said.errors.contains("it is not known whether functions enforce"), "{}", said.errors);
    assert_eq!(registered(&account), 0);
    account.run(&["restore", "--yes", "--force", "--wait", "0"]).await.has(&["1 registration(s) were given back"]);
    drop(fault);
    let again = account.run(&["restore", "--yes", "--wait", "0"]).await;
    again.has(&["0 registration(s) were given back"]);
    assert_eq!(registered(&account), 1);
}

/// A name that would be markup on each page.
const MARKUP: &str = "<script>alert(1)</script> | [a](http://b) `c` \u{202e}x";

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_every_name_and_obey_none() {
    let account = Account::with_one_stopped(MARKUP);
    for subject in ["status", "plan"] {
        let page = account.run(&[subject, "--html"]).await;
        page.has(&[
            "<!doctype html>",
            "&#60;script&#62;alert(1)&#60;/script&#62; | [a](http://b) &#96;c&#96; \\u{202e}x",
            "clb:shop",
        ]);
        page.lacks(&["<script>alert", "\u{202e}", "https:"]);
        let page = account.run(&[subject, "--markdown"]).await;
        page.has(&["\n| account | 123456789012 |\n", "&#60;script&#62;alert\\(1\\)", "\\| \\[a\\]\\(http"]);
        page.lacks(&["<script", "\u{202e}"]);
        assert_eq!(page.code, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_is_done_now_at_a_stop_and_never() {
    let account = Account::new(|world, network| {
        let (web, idle) = (network.launch(world, "web-1", &[]), network.launch(world, "web-2", &[]));
        let ignored = network.launch(world, "web-3", &[("elb-registrar:ignore", "")]);
        for instance in [&web, &idle, &ignored] {
            elb::register(world, "shop", instance).expect("an instance");
        }
        ec2::stop(world, &idle).expect("a stop");
    });
    let said = account.run(&["plan"]).await;
    said.has(&[
        "elb-registrar: what the mode enforce would do",
        "at a stop: clb:shop",
        "would hold: clb:shop",
        "would deregister: clb:shop",
        "left alone: it bears the tag elb-registrar:ignore",
    ]);
    assert_eq!(said.out.matches("at a stop: ").count(), 1, "{}", said.out);
    let tagged = account.run(&["plan", "--tagged"]).await;
    tagged.lacks(&["would hold", "would deregister", "at a stop: "]).has(&["left alone: the scope is `tagged`"]);
    let json = account.run(&["plan", "--json"]).await;
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    let at_a_stop =
        report["instances"].as_object().expect("instances").values().filter(|it| !it["at_a_stop"].is_null());
    assert_eq!(at_a_stop.map(|it| it["at_a_stop"].clone()).collect::<Vec<_>>(), [serde_json::json!(["clb:shop"])]);
    account.sandbox.with(|world| assert!(world.calls.iter().all(|call| !call.action.contains("egister"))));
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
