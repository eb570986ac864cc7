//! The simulation: seeds keep every promise, a seed repeats byte for byte, and the checkers find planted faults.

use std::{collections::BTreeSet, net::Ipv4Addr};

use end_to_end::simulation::{
    self, Plan, draw,
    ledger::Ledger,
    plan::{Balancer, BalancerKind, Deed, Group, Guardian, Instance, Step, Weather},
    promise::{self, Cost, Promise, Told, Violation},
    reference::Reference,
    shrink::shrink_while,
    view::{self, Owned},
};
use sandbox::{
    SameAddressWhileDraining, Sandbox, World,
    ec2::{self, Launch, NewInterface},
    elb,
    elbv2::{self, Target, TargetGroupSpec},
    wire::ApiError,
};

/// Seeds in every run of the tests; `.ci/run` plays thousands.
const SEEDS: u64 = 60;

/// Plays some seeds. If one breaks a promise, says how to repeat the first such seed.
fn play(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        if let Err(failure) = simulation::run(&draw::plan(seed)) {
            panic!("seed {seed}: {}\nmake it short with: cargo simulate --seed {seed}", failure.violation);
        }
    }
}

// Two tests, so that two cores have work.
#[test]
fn every_promise_is_kept_whatever_the_seed() {
    play(0..SEEDS / 2);
}

#[test]
fn every_promise_is_kept_whatever_the_other_seeds() {
    play(SEEDS / 2..SEEDS);
}

#[test]
fn the_same_seed_gives_the_same_log_byte_for_byte() {
    let mut lines = 0;
    for seed in [3, 19, 57] {
        let log = || simulation::run(&draw::plan(seed)).expect("a seed that is good").log;
        let (once, again) = (log(), std::thread::scope(|scope| scope.spawn(log).join().expect("no panic")));
        assert_eq!(once, again, "seed {seed}");
        lines += once.lines().count();
    }
    assert!(lines > 100, "{lines}: these seeds say too little");
}

#[test]
fn different_seeds_give_different_plans() {
    let plans: BTreeSet<String> = (0..200).map(|seed| draw::plan(seed).to_string()).collect();
    assert_eq!(plans.len(), 200);
}

#[test]
fn shrinking_a_plan_drops_the_steps_that_do_not_matter() {
    let is_long = |plan: &Plan| plan.strikes.len() > 3 && plan.steps.len() > 6 && plan.instances.len() > 1;
    let plan = (0..).map(draw::plan).find(is_long).expect("a seed");
    let (strike, step) = (plan.strikes[2], plan.steps[4].clone());
    let short = shrink_while(&plan, |plan| plan.strikes.contains(&strike) && plan.steps.contains(&step));
    assert_eq!((short.strikes, short.steps), (vec![strike], vec![step]));
    assert!(short.deliveries.is_empty() && short.balancers.is_empty());
}

/// Returns a plan with an instance in a group for addresses and on a Classic load balancer, and with a stranger beside it. No fault
/// strikes.
fn plan(steps: Vec<Step>) -> Plan {
    let balancer =
        |name: &str, kind, guardian| Balancer { name: name.to_owned(), kind, drains: 5, guardian, has_strangers: true };
    Plan {
        seed: 1,
        weather: Weather {
            is_quick: false,
            same_address_while_draining: SameAddressWhileDraining::Refused,
            page_size: None,
            throttle: None,
        },
        balancers: vec![
            balancer("shop", BalancerKind::Classic, None),
            balancer("edge", BalancerKind::Addresses, None),
            balancer("pods", BalancerKind::Instances, Some(Guardian::Kubernetes)),
        ],
        instances: vec![Instance {
            name: "web-1".to_owned(),
            is_renewed: false,
            has_floating: false,
            has_other_interfaces: false,
            is_member: false,
            is_ignored: false,
            places: ["clb:shop", "tg:edge:443=eth0", "tg:pods:80"].map(str::to_owned).to_vec(),
            declares: Vec::new(),
        }],
        group: Group::default(),
        steps,
        deliveries: Vec::new(),
        orders: Vec::new(),
        strikes: Vec::new(),
    }
}

#[test]
fn a_place_that_a_person_removes_is_no_loss() {
    let name = || "web-1".to_owned();
    let steps = vec![
        Step { at: 500, deed: Deed::Remove(name(), "clb:shop".to_owned()) },
        Step { at: 600, deed: Deed::Stop(name()) },
        Step { at: 700, deed: Deed::Start(name()) },
    ];
    let outcome = simulation::run(&plan(steps)).expect("no promise is broken");
    let calls = |action: &str| outcome.log.matches(action).count();
    assert_eq!((calls(":DeregisterTargets "), calls(":RegisterTargets ")), (1, 1), "{}", outcome.log);
    assert_eq!(calls(":RegisterInstancesWithLoadBalancer "), 0);
}

/// A small world with its ledger and reference, in which the checkers must find the fault that a test plants.
struct Planted {
    sandbox: Sandbox,
    id: String,
    group: String,
    ledger: Ledger,
    reference: Reference,
}

impl Planted {
    /// Creates an instance at `clb:shop` and `tg:edge:443=eth0`, and another host in the group. The ledger and the reference know
    /// all of them.
    fn new() -> Self {
        let sandbox = Sandbox::in_virtual_time();
        let (id, group) = sandbox.with(small_world).expect("a world that AWS accepts");
        let mut planted = Self { sandbox, id, group, ledger: Ledger::default(), reference: Reference::default() };
        planted.look();
        for owned in planted.ledger.in_place() {
            planted.reference.planted(owned.clone());
        }
        planted
    }

    fn owned(&self, place: &str) -> Owned {
        Owned { instance: self.id.clone(), place: place.to_owned() }
    }

    fn look(&mut self) -> simulation::ledger::Changes {
        let Self { sandbox, ledger, reference, .. } = self;
        sandbox.with(|world| {
            let changes = ledger.look(world, &reference.declared);
            reference.look(world, ledger);
            changes
        })
    }

    /// Makes a change as if a function's call had made it, and returns what the checkers find.
    fn as_a_call(&mut self, deed: impl FnOnce(&mut World, &str, &str)) -> Option<Violation> {
        self.sandbox.with(|world| self.ledger.foreign_tags = view::foreign_tags(world));
        self.sandbox.with(|world| deed(world, &self.id, &self.group));
        let changes = self.look();
        let Self { sandbox, ledger, reference, .. } = self;
        sandbox.with(|world| {
            promise::taken_without_right(world, ledger, &changes)
                .or_else(|| promise::given_without_right(world, ledger, &changes))
                .or_else(|| promise::foreign_tags_touched(world, ledger))
                .or_else(|| promise::taken_and_not_held(world, ledger, &changes))
                .or_else(|| promise::lost(world, ledger, reference, &changes))
        })
    }

    fn at_rest(&mut self) -> Option<Violation> {
        self.look();
        let Self { sandbox, ledger, reference, .. } = self;
        sandbox.with(|world| promise::at_rest(world, ledger, reference))
    }

    /// Returns what is left to a sweep, although every event of the instance has come.
    fn left_to_a_sweep(&mut self, is_stale: bool) -> Option<Violation> {
        self.look();
        let told = Told { instances: &["web-1"], is_stale };
        let Self { sandbox, ledger, reference, .. } = self;
        sandbox.with(|world| promise::left_to_a_sweep(world, ledger, reference, told))
    }

    async fn stopped(mut self) -> Self {
        self.sandbox.with(|world| ec2::stop(world, &self.id)).expect("a running instance");
        self.sandbox.advance(std::time::Duration::from_secs(60)).await;
        self.look();
        self
    }

    /// Waits until no function can still be at work with an older view of it.
    async fn settled(mut self) -> Self {
        self.sandbox.advance(std::time::Duration::from_secs(600)).await;
        self.look();
        self
    }
}

/// Returns the instance's id and the group's ARN.
fn small_world(world: &mut World) -> Result<(String, String), ApiError> {
    let vpc = ec2::create_vpc(world, "10.0.0.0/16");
    let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/24");
    let id = ec2::launch_running(world, Launch::new(&subnet).tag("Name", "web-1"))?;
    elb::create(world, "shop", &vpc, &["us-east-1a"])?;
    elb::register(world, "shop", &id)?;
    let group = elbv2::create_target_group(world, TargetGroupSpec::addresses("edge", &vpc, 443))?;
    let stranger = ec2::create_interface(world, &subnet, NewInterface::default())?;
    for address in [world.ec2.interfaces[&stranger].ipv4[0], own_address(world, &id)] {
        elbv2::register(world, &group, Target::new(address))?;
    }
    Ok((id, group))
}

fn own_address(world: &World, id: &str) -> Ipv4Addr {
    world.ec2.instance(id).and_then(ec2::Instance::primary_ipv4).expect("an instance with an address")
}

/// Asserts that a violation of this promise was found, and that its sentence has these words.
#[track_caller]
fn assert_found(found: Option<Violation>, promise: Promise, words: &str) {
    let found = found.unwrap_or_else(|| panic!("nothing was found, although {promise:?} is broken: {words}"));
    assert!(found.promise == promise && found.what.contains(words), "{found}");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_find_nothing_in_a_world_in_order() {
    let mut planted = Planted::new().settled().await;
    assert_eq!((planted.as_a_call(|_, _, _| ()), planted.at_rest()), (None, None));
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_a_registration_taken_without_being_held() {
    let mut planted = Planted::new().stopped().await;
    let found = planted.as_a_call(|world, id, _| elb::deregister(world, "shop", id).unwrap());
    assert_found(found, Promise::NothingIsLost, "clb:shop was taken");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_a_tag_deleted_too_early() {
    let mut planted = Planted::new().stopped().await;
    let key = "elb-registrar:held.2026-01-05T08:00:00Z.1";
    let taken = planted.as_a_call(|world, id, _| {
        ec2::set_tag(world, id, key, "clb:shop");
        elb::deregister(world, "shop", id).unwrap();
    });
    assert_eq!(taken, None, "written before it was taken");
    let found = planted.as_a_call(|world, id, _| ec2::remove_tag(world, id, key));
    assert_found(found, Promise::NothingIsLost, "neither in place nor in its tags");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_a_stranger_taken_out() {
    let mut planted = Planted::new().settled().await;
    let own = planted.sandbox.with(|world| own_address(world, &planted.id));
    let found = planted.as_a_call(|world, _, group| {
        let all = elbv2::targets(world, group);
        let stranger = all.iter().find(|target| target.id != own.to_string()).unwrap();
        elbv2::deregister(world, group, Target::new(&stranger.id)).unwrap();
    });
    assert_found(found, Promise::NothingForeignIsTouched, "another host's");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_a_running_instance_taken_out() {
    let mut planted = Planted::new().settled().await;
    let found = planted.as_a_call(|world, id, _| elb::deregister(world, "shop", id).unwrap());
    assert_found(found, Promise::NothingForeignIsTouched, "running for long");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_an_ignored_instance_taken_out() {
    let mut planted = Planted::new().stopped().await;
    let id = planted.id.clone();
    planted.ledger.guarded.insert(id, sandbox::Timestamp::UNIX_EPOCH);
    let found = planted.as_a_call(|world, id, _| elb::deregister(world, "shop", id).unwrap());
    assert_found(found, Promise::NothingForeignIsTouched, "to be left alone");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_a_place_given_back_that_a_person_removed() {
    let mut planted = Planted::new().settled().await;
    planted.sandbox.with(|world| elb::deregister(world, "shop", &planted.id)).unwrap();
    let (now, owned) = (planted.sandbox.with(|world| world.now()), planted.owned("clb:shop"));
    planted.reference.removed(&owned, &planted.ledger, now);
    planted.look();
    let found = planted.as_a_call(|world, id, _| elb::register(world, "shop", id).unwrap());
    assert_found(found, Promise::NothingForeignIsTouched, "neither held nor declared");
    assert_found(planted.at_rest(), Promise::NothingIsLost, "where a person removed it");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_a_changed_tag_of_another_owner() {
    let mut planted = Planted::new();
    let found = planted.as_a_call(|world, id, _| ec2::set_tag(world, id, "owner", "another"));
    assert_found(found, Promise::NothingForeignIsTouched, "not ours");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_a_stopped_instance_served_and_a_started_one_not() {
    let mut planted = Planted::new().stopped().await;
    assert_found(planted.at_rest(), Promise::NothingDeadIsServed, "stopped and still at");
    planted.as_a_call(|world, id, group| {
        let own = own_address(world, id);
        let edge = format!("{}:443=eth0", view::group_of_arn(group));
        ec2::set_tag(world, id, "elb-registrar:held", &format!("clb:shop {edge}"));
        elb::deregister(world, "shop", id).unwrap();
        elbv2::deregister(world, group, Target::new(own)).unwrap();
    });
    assert_eq!(planted.at_rest(), None, "held, and nowhere served");
    planted.sandbox.with(|world| ec2::start(world, &planted.id)).unwrap();
    let mut planted = planted.settled().await;
    assert_found(planted.at_rest(), Promise::NothingIsLost, "runs and is not at clb:shop");
    planted.sandbox.with(|world| ec2::remove_tag(world, &planted.id, "elb-registrar:held"));
    assert_found(planted.at_rest(), Promise::NothingIsLost, "has lost clb:shop");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_what_events_told_and_is_left_to_a_sweep() {
    let mut planted = Planted::new();
    assert_eq!(planted.left_to_a_sweep(false), None);
    let mut planted = planted.stopped().await;
    assert_found(planted.left_to_a_sweep(false), Promise::NothingDeadIsServed, "is out and at clb:shop");
    planted.sandbox.with(|world| ec2::start(world, &planted.id)).unwrap();
    let mut planted = planted.settled().await;
    planted.as_a_call(|world, id, _| {
        ec2::set_tag(world, id, "elb-registrar:held", "clb:shop");
        elb::deregister(world, "shop", id).unwrap();
    });
    assert_found(planted.left_to_a_sweep(true), Promise::NothingIsLost, "runs and is not at clb:shop");
    planted.ledger.taken_while_running.insert(planted.owned("clb:shop"));
    assert_found(planted.left_to_a_sweep(false), Promise::NothingIsLost, "runs and is not at clb:shop");
    assert_eq!(planted.left_to_a_sweep(true), None, "the limit of a description that lags");
}

#[tokio::test(start_paused = true)]
async fn the_checkers_see_more_calls_than_a_change_may_cost() {
    let cost = Cost { events: 2, sweeps: 3, balancers: 2, ..Cost::default() };
    let at_most = Cost { calls: cost.bound(), ..cost };
    let sandbox = Sandbox::in_virtual_time();
    assert_eq!(sandbox.with(|world| at_most.violation(world)), None);
    let more = Cost { calls: cost.bound() + 1, ..cost };
    assert_found(sandbox.with(|world| more.violation(world)), Promise::CostFollowsTheChange, "the most");
}

/// Each is drawn for few runs, so a test shows that the simulated AWS does not refuse it.
#[test]
fn what_few_fleets_have_takes_part_in_a_run() {
    let name = || "web-1".to_owned();
    let step = |at, deed| Step { at, deed };
    let mut plan = plan(vec![
        step(120, Deed::Delegate(name())),
        step(120, Deed::Add(name(), "tg:edge:9443=prefix".to_owned())),
        step(120, Deed::AttachFar(name())),
        step(120, Deed::Add(name(), "tg:far:443=eth1".to_owned())),
        step(120, Deed::LeaveRoom(name(), 5)),
        step(120, Deed::Heartbeat(30)),
        step(200, Deed::Stop(name())),
        step(300, Deed::Copy(name(), "copy-1".to_owned())),
        step(400, Deed::Start(name())),
    ]);
    plan.group.has_hooks = true;
    plan.balancers.push(Balancer { name: "far".to_owned(), kind: BalancerKind::Far, ..plan.balancers[1].clone() });
    let outcome = simulation::run(&plan).expect("no promise is broken");
    let calls = |action: &str, id: &str| {
        let lines = outcome.log.lines();
        lines.filter(|line| line.contains(action) && line.contains(&format!(".Id={id}"))).count()
    };
    for address in ["10.0.0.1", "172.16.0."] {
        let (taken, given) = (calls(":DeregisterTargets ", address), calls(":RegisterTargets ", address));
        assert!(taken >= 1 && given >= 1, "{address}: {taken} {given}");
    }
    let described = outcome.log.matches("is older than the instance").count();
    assert!(described >= 1, "the copy's tags are named: {}", outcome.log);
    let (mut untaggable, mut full) = (plan.clone(), plan);
    untaggable.strikes = vec![simulation::plan::Strike::Untaggable(1)];
    full.strikes = vec![simulation::plan::Strike::Full("edge")];
    for plan in [untaggable, full] {
        let outcome = simulation::run(&plan).expect("no promise is broken");
        assert!(outcome.struck.contains_key("lasting"), "{plan}");
    }
}

#[test]
fn each_oddity_is_drawn_in_some_plans() {
    let plans: Vec<Plan> = (0..300).map(draw::plan).collect();
    let has = |is_it: fn(&Deed) -> bool| plans.iter().filter(|plan| plan.steps.iter().any(|s| is_it(&s.deed))).count();
    for (word, count) in [
        ("prefix", has(|deed| matches!(deed, Deed::Delegate(_)))),
        ("far interface", has(|deed| matches!(deed, Deed::AttachFar(_)))),
        ("controller", has(|deed| matches!(deed, Deed::Control(_, false)))),
        ("overruled controller", has(|deed| matches!(deed, Deed::Control(_, true)))),
        ("little room", has(|deed| matches!(deed, Deed::LeaveRoom(..)))),
        ("copy", has(|deed| matches!(deed, Deed::Copy(..)))),
        ("short hooks", has(|deed| matches!(deed, Deed::Heartbeat(_)))),
    ] {
        assert!((5..150).contains(&count), "{word}: {count} of 300");
    }
}
