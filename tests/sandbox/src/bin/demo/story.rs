//! The first act: web-2 is stopped, comes back with another address, and the balancers follow.

use std::{collections::BTreeMap, fmt, net::IpAddr, time::Duration};

use sandbox::{
    Sandbox, World,
    ec2::{self, InstanceState},
    fleet::{self, RENEWED},
    traffic::Client,
    wire::ApiError,
};

use crate::{
    beside::{self, Beside, dead},
    paint::{BOLD, paint},
    registered::{Key, Snapshot, Standing},
    watch::{NotReached, Watch, dead_letters, has_our_tags, is_through_with},
};

/// The balancers that requests are sent to.
const BALANCERS: [&str; 3] = ["clb:shop-classic", "tg:web", "tg:edge"];

/// Simulated time until the fleet must be healthy at first.
const UNTIL_READY: Duration = Duration::from_secs(120);

/// Simulated time until a stopped instance must be out everywhere: the stopping itself, the event's way, one invocation.
const UNTIL_OUT: Duration = Duration::from_secs(120);

/// Simulated time until it must be drained: the fleet's delay is a minute.
const UNTIL_DRAINED: Duration = Duration::from_secs(120);

/// Simulated time until a started instance must be healthy again everywhere.
const UNTIL_BACK: Duration = Duration::from_secs(180);

/// Simulated time until its tags must be gone: the function waits two minutes from the start, to be sure.
const UNTIL_FORGOTTEN: Duration = Duration::from_secs(300);

/// Simulated time for the eye to rest on a table before the next thing happens.
const PAUSE: Duration = Duration::from_secs(15);

/// A story that does not end as it should.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

/// Plays the story in both worlds. `function_key` is the access key that the function calls AWS with.
pub(crate) async fn play(
    sandbox: &Sandbox,
    beside: &mut Beside,
    watch: &mut Watch,
    function_key: &str,
) -> Result<(), Broken> {
    let fleet = watch.fleet.clone();
    let id = fleet.member(RENEWED).map(|member| member.id.clone()).unwrap_or_default();
    let double = beside.fleet.member(RENEWED).map(|member| member.id.clone()).unwrap_or_default();
    let hero = fleet.members.iter().position(|member| member.id == id).unwrap_or_default();
    let registrations = fleet.places.len();
    let is_everywhere_healthy = |snapshot: &Snapshot, member: usize| {
        of(snapshot, member).filter(|(_, standing)| **standing == Standing::Healthy).count() == registrations
    };

    let is_healthy = |now: &Snapshot| (0..fleet.members.len()).all(|member| is_everywhere_healthy(now, member));
    let mut both_are_healthy = |now: &Snapshot| is_healthy(now) && is_healthy(&beside.fleet_now());
    watch.wait_silently("both fleets are healthy", UNTIL_READY, |_, now| both_are_healthy(now)).await?;
    beside.register_members()?;
    let (before, old_address) = (watch.snapshot().clone(), address(sandbox, &id));
    show(watch, "Before: every instance is registered everywhere. Ten requests a second go to each balancer.");
    let requests = BALANCERS.map(|balancer| beside::send(sandbox, beside, balancer, Client::to));
    let requests = requests.into_iter().collect::<Result<Vec<_>, _>>()?;

    sandbox.advance(PAUSE).await;
    watch.operator("aws ec2 stop-instances --instance-ids $web_2");
    sandbox.with(|world| ec2::stop(world, &id))?;
    beside.sandbox.with(|world| ec2::stop(world, &double))?;
    let is_out = |world: &World, now: &Snapshot| {
        is_through_with(world, InstanceState::Stopped)
            && of(now, hero).all(|(_, standing)| *standing == Standing::Draining)
    };
    watch.until("web-2 is stopped and registered nowhere", UNTIL_OUT, is_out).await?;
    show(watch, "While web-2 is stopped: it is out, and its tags remember from where.");
    watch.until("web-2 is drained everywhere", UNTIL_DRAINED, |_, now| of(now, hero).next().is_none()).await?;

    sandbox.advance(PAUSE).await;
    watch.operator("aws ec2 start-instances --instance-ids $web_2");
    sandbox.with(|world| ec2::start(world, &id))?;
    beside.sandbox.with(|world| ec2::start(world, &double))?;
    let is_back = |_: &World, now: &Snapshot| is_everywhere_healthy(now, hero);
    watch.until("web-2 is back everywhere, and healthy", UNTIL_BACK, is_back).await?;
    let has_forgotten = |world: &World, now: &Snapshot| !has_our_tags(world, &id) && is_back(world, now);
    watch.until("web-2 has no more tags of elb-registrar", UNTIL_FORGOTTEN, has_forgotten).await?;
    let new_address = address(sandbox, &id);
    show(watch, "After: every instance is registered everywhere again, web-2 at its new address.");
    requests.iter().for_each(|requests| requests.stop(sandbox, beside));
    sandbox.advance(PAUSE).await;
    let without = beside.fleet_now();
    show_table("The same minutes without elb-registrar:", &beside.table(&beside.fleet, &without));

    check(sandbox, hero, &before, watch.snapshot(), old_address, new_address)?;
    if dead(&without) == 0 {
        return Err(Broken("without the function, web-2 was to be left without traffic somewhere".to_owned()));
    }
    let outcomes: Vec<_> = requests.iter().map(|requests| requests.outcomes(sandbox, beside)).collect();
    anstream::println!("{}\n", beside::losses(&outcomes));
    let text = |address: Option<IpAddr>| address.map_or("none".to_owned(), |address| address.to_string());
    anstream::println!(
        "web-2 stopped with the address {} and came back with {}. The function took it\n\
         out of {registrations} places, remembered them in its tags, and gave it back to the same {registrations} at its\n\
         new address; web-1 and web-3 were left alone. Without it, web-2 runs and gets no more\n\
         requests in two places, since the load balancers keep its old address. A stop itself\n\
         loses requests in both: EC2 tells of it when it has begun. A Network Load Balancer goes\n\
         on to open connections for two minutes, or until its own checks fail.",
        text(old_address),
        text(new_address)
    );
    tell_calls(&calls(sandbox, function_key));
    Ok(())
}

/// Prints how often the function made each call.
pub(crate) fn tell_calls(calls: &BTreeMap<String, usize>) {
    let title = format!("The function's {} calls to AWS:", calls.values().sum::<usize>());
    anstream::println!("\n{}", paint(BOLD, &title));
    let width = calls.keys().map(String::len).max().unwrap_or_default();
    calls.iter().for_each(|(action, count)| anstream::println!("  {action:width$} {count:3}"));
}

/// Judges the end by the simulated AWS, whatever the log says.
fn check(
    sandbox: &Sandbox,
    hero: usize,
    before: &Snapshot,
    after: &Snapshot,
    old_address: Option<IpAddr>,
    new_address: Option<IpAddr>,
) -> Result<(), Broken> {
    if old_address == new_address || new_address.is_none() {
        return Err(Broken("web-2 was to come back with another address".to_owned()));
    }
    let expected: Snapshot = before
        .iter()
        .map(|(key, standing)| {
            let is_heros = key.member == hero && key.address.is_some();
            (Key { address: if is_heros { new_address } else { key.address }, ..*key }, *standing)
        })
        .collect();
    if *after != expected {
        return Err(Broken("at the end, not everything is registered as it was".to_owned()));
    }
    match sandbox.with(|world| dead_letters(world)) {
        0 => Ok(()),
        count => Err(Broken(format!("{count} events became dead letters"))),
    }
}

/// Returns an instance's registrations.
fn of(snapshot: &Snapshot, member: usize) -> impl Iterator<Item = (&Key, &Standing)> {
    snapshot.iter().filter(move |(key, _)| key.member == member)
}

fn address(sandbox: &Sandbox, id: &str) -> Option<IpAddr> {
    sandbox.with(|world| fleet::primary_address(world, id))
}

pub(crate) fn show(watch: &mut Watch, title: &str) {
    anstream::println!();
    show_table(title, &watch.table());
}

pub(crate) fn show_table(title: &str, table: &str) {
    anstream::println!("{}\n{table}\n", paint(BOLD, title));
}

/// Returns the calls of one key, by action such as `ec2:DescribeInstances`.
pub(crate) fn calls(sandbox: &Sandbox, access_key: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    sandbox.with(|world| {
        for call in world.calls.iter().filter(|call| call.access_key == access_key) {
            *counts.entry(call.iam_action()).or_default() += 1;
        }
    });
    counts
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<NotReached> for Broken {
    fn from(NotReached { what, within }: NotReached) -> Self {
        Self(format!("within {} simulated seconds it did not come to this: {what}", within.as_secs()))
    }
}

impl From<ApiError> for Broken {
    fn from(error: ApiError) -> Self {
        Self(format!("the simulated AWS refused: {}: {}", error.code, error.message))
    }
}
