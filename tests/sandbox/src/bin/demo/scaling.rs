//! The second act: an Auto Scaling group with lifecycle hooks grows by a member and shrinks by one, while requests go on.

use std::{collections::BTreeMap, time::Duration};

use sandbox::{
    Sandbox, World,
    auto_scaling::{self, ActionResult, Ending, GroupSpec, HookSpec, LifecycleState},
    ec2::{self, InstanceState},
    elbv2::{self, Kind, TargetGroupSpec},
    fleet::{Fleet, Place},
    traffic::{Client, Tally},
    wire::ApiError,
};

use crate::{
    beside::{self, Beside, dead},
    registered::{Snapshot, Standing},
    story::{Broken, calls, show, show_table, tell_calls},
    watch::{Watch, dead_letters},
};

/// The group and its target group.
pub(crate) const GROUP: &str = "app";

/// Its members, in the order of their joining.
pub(crate) const NAMES: [&str; 3] = ["app-1", "app-2", "app-3"];

/// How long its target group drains. AWS's default of five minutes is long to look at.
const DRAINING: Duration = Duration::from_secs(20);

/// How long a request lasts: long enough that the end of an instance could break some off.
const REQUEST: Duration = Duration::from_secs(5);

/// Simulated time until the first members must be in service. They were launched when the first act began.
const UNTIL_READY: Duration = Duration::from_secs(180);

/// Simulated time until another member must be in service: it starts, gets healthy, and is looked at.
const UNTIL_IN_SERVICE: Duration = Duration::from_secs(180);

/// Simulated time until a member must be terminating: it drains, and is looked at.
const UNTIL_ENDING: Duration = Duration::from_secs(180);

/// Simulated time for the eye to rest on a table before the next thing happens.
const PAUSE: Duration = Duration::from_secs(12);

/// Creates the group, which launches its first two members. An ip target group cannot be attached to it: the launch hook's
/// metadata declares the members' registrations.
pub(crate) fn set_up(world: &mut World) -> Result<Fleet, ApiError> {
    let (subnet, place) = create_target_group(world)?;
    let launch = HookSpec::launching("elb-registrar-launch").metadata(r#"{"register": ["tg:app:8080=eth0"]}"#);
    let terminate = HookSpec::terminating("elb-registrar-terminate").by_default(ActionResult::Continue);
    auto_scaling::create_group(world, GroupSpec::new(GROUP, &subnet).hook(launch).hook(terminate).desired(2))?;
    Ok(Fleet { members: Vec::new(), places: vec![place] })
}

/// Creates the target group of the group's addresses, behind a load balancer. Returns the subnet for its members, too.
pub(crate) fn create_target_group(world: &mut World) -> Result<(String, Place), ApiError> {
    let vpc = ec2::create_vpc(world, "10.1.0.0/16");
    let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", "10.1.1.0/24");
    let arn = elbv2::create_target_group(world, TargetGroupSpec::addresses(GROUP, &vpc, 8080))?;
    let balancer = elbv2::create_load_balancer(world, Kind::Application, "app-front", &vpc)?;
    elbv2::attach(world, &arn, &balancer, 80)?;
    elbv2::set_deregistration_delay(world, &arn, DRAINING)?;
    Ok((subnet, Place::Addresses { name: GROUP.to_owned(), arn, port: 8080 }))
}

/// Plays the act in both worlds. `function_key` is the access key that the function calls AWS with.
pub(crate) async fn play(
    sandbox: &Sandbox,
    beside: &mut Beside,
    watch: &mut Watch,
    function_key: &str,
) -> Result<(), Broken> {
    let are_in_service = |wanted: usize| {
        move |world: &World, now: &Snapshot| {
            let healthy = now.values().filter(|standing| **standing == Standing::Healthy).count();
            in_service(world) == wanted && (healthy, now.len()) == (wanted, wanted)
        }
    };
    watch.wait_silently("two members are in service", UNTIL_READY, are_in_service(2)).await?;
    let before = calls(sandbox, function_key);
    let requests = beside::send(sandbox, beside, "tg:app", |balancer| Client::to(balancer).taking(REQUEST))?;
    show(watch, "Before: two members, and ten requests a second, of five seconds each.");

    sandbox.advance(PAUSE).await;
    scale([sandbox, &beside.sandbox], watch, 3)?;
    watch.until("app-3 is healthy and in service", UNTIL_IN_SERVICE, are_in_service(3)).await?;
    show(watch, "After scaling out: app-3 counts as in service since it is healthy.");

    sandbox.advance(PAUSE).await;
    scale([sandbox, &beside.sandbox], watch, 2)?;
    let is_ending = |world: &World, now: &Snapshot| {
        let is_gone = |state| matches!(state, InstanceState::ShuttingDown | InstanceState::Terminated);
        now.len() == 2 && world.ec2.instances.values().any(|history| is_gone(history.current().state))
    };
    watch.until("a member is drained, and on its end", UNTIL_ENDING, is_ending).await?;
    requests.stop(sandbox, beside);
    sandbox.advance(REQUEST * 2).await;
    show(watch, "After scaling in: one is ending, and was held until its last request was answered.");
    let (outcomes, without) = (requests.outcomes(sandbox, beside), beside.app_now());
    show_table(
        "The same minutes without elb-registrar: a group without hooks, its first members registered by hand.",
        &beside.table(&beside.app, &without),
    );
    check(sandbox, &outcomes.with)?;
    if dead(&without) == 0 || outcomes.without.lost() == 0 {
        return Err(Broken(
            "without the function, a request was to be lost, and an address to be left behind".to_owned(),
        ));
    }
    anstream::println!("{}\n", beside::losses(&[outcomes]));
    anstream::println!(
        "A group cannot attach an ip target group. The function registered app-3 at the launch\n\
         hook, and held the terminate hook until nothing was drained any more. Without it, app-3\n\
         gets no request, requests to app-1 break off, and its address stays registered: the next\n\
         host that gets the address gets the requests."
    );
    tell_calls(&since(&before, calls(sandbox, function_key)));
    Ok(())
}

fn scale(sandboxes: [&Sandbox; 2], watch: &mut Watch, wanted: usize) -> Result<(), ApiError> {
    watch.operator(&format!(
        "aws autoscaling set-desired-capacity --auto-scaling-group-name {GROUP} --desired-capacity {wanted}"
    ));
    sandboxes.into_iter().try_for_each(|sandbox| sandbox.with(|world| auto_scaling::set_desired(world, GROUP, wanted)))
}

fn in_service(world: &World) -> usize {
    let members = world.auto_scaling.groups[GROUP].members.values();
    members.filter(|member| member.lifecycle_state == LifecycleState::InService).count()
}

/// Judges the end by the simulated AWS, whatever the log says.
fn check(sandbox: &Sandbox, tally: &Tally) -> Result<(), Broken> {
    if let Some(loss) = tally.losses.first() {
        return Err(Broken(format!("{} requests were lost, first of all {loss}", tally.lost())));
    }
    if tally.served() == 0 || tally.in_flight > 0 {
        return Err(Broken(format!("not every request came to its end: {tally}")));
    }
    let (endings, dead) = sandbox.with(|world| {
        let endings = world.auto_scaling.ended_actions.iter().map(|ended| ended.ending).collect::<Vec<_>>();
        (endings, dead_letters(world))
    });
    if endings != [Ending::Completed(ActionResult::Continue); 4] {
        return Err(Broken(format!(
            "the function was to complete four lifecycle actions, and they ended as {endings:?}"
        )));
    }
    if dead > 0 {
        return Err(Broken(format!("{dead} events became dead letters")));
    }
    Ok(())
}

/// Returns the calls that were made after some others.
fn since(before: &BTreeMap<String, usize>, mut calls: BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    for (action, count) in &mut calls {
        *count -= before.get(action).copied().unwrap_or_default();
    }
    calls.retain(|_, count| *count > 0);
    calls
}
