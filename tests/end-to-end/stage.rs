//! See the crate's documentation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_types::SdkConfig;
use futures::{FutureExt, future::BoxFuture};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use registrar::{
    aws::clients,
    config::Config,
    handler::{InstanceState, Lifecycle, Reconcile},
};
use sandbox::{
    ACCOUNT, Call, Options, REGION, Sandbox, Span, World,
    auto_scaling::{self, EndedAction, GroupSpec, LifecycleState},
    clock::Clock,
    connector,
    deployment::{DEAD_LETTERS, INSTANCE_STATE, LIFECYCLE, LIFECYCLE_QUEUE, ORDERS, QUEUE, RECONCILE, Stack, Template},
    ec2::{self, Launch},
    elb,
    elbv2::{self, Kind, Standing, Target, TargetGroupSpec},
    events::Delivery,
    lambda::{self, Invocation},
    traffic::{self, Client, Loss, Outcome, Tally},
};
use serde_json::{Value, json};

/// How long a scenario may take until everything has happened: more than it takes a message that always fails to become a dead
/// letter.
const PATIENCE: Duration = Duration::from_secs(12 * 3600);

/// How long nothing must have happened for the stage to be at rest: longer than any event is under way by default.
const QUIET: u32 = 5;

/// The answer of a function to one invocation.
type Answer = BoxFuture<'static, Result<Value, Value>>;

/// A process of a function: takes one event after another.
type Process = Box<dyn Fn(LambdaEvent<Value>) -> Answer + Send>;

/// The settings that differ from the template: the functions act, and no scheduled sweep hides what the events alone do. A
/// scenario that needs a sweep asks for it.
const PARAMETERS: [Setting; 2] = [("Mode", "enforce"), ("ReconcileSchedule", "rate(365 days)")];

/// A setting of the deployment: a parameter of the template and its value.
pub type Setting = (&'static str, &'static str);

/// A simulated AWS with one network, the project's template deployed, and names for its instances.
pub struct Stage {
    /// The simulated AWS.
    pub sandbox: Sandbox,
    /// The network: 10.0.0.0/16, with IPv6.
    pub vpc: String,
    /// Its subnet in zone `us-east-1a`: 10.0.0.0/24.
    pub subnet: String,
    /// The project as it is deployed.
    pub stack: Stack,
}

impl Stage {
    /// Returns an empty stage, whose functions enforce.
    pub fn new() -> Self {
        Self::with(Options::default(), &[])
    }

    /// Returns the same with other parameters of the template.
    pub fn with_settings(settings: &[Setting]) -> Self {
        Self::with(Options::default(), settings)
    }

    /// Returns the same with other choices of the simulated AWS.
    pub fn with(options: Options, settings: &[Setting]) -> Self {
        Self::of_template(&Template::of_project(), options, settings)
    }

    /// Returns the same with another template.
    pub fn of_template(template: &Template, options: Options, settings: &[Setting]) -> Self {
        // The SDK draws its back-off from the thread's generator, and the library its nonces: both follow the seed.
        fastrand::seed(options.seed);
        let sandbox = Sandbox::new(Clock::virtual_time(), options);
        let is_set = |name: &str| settings.iter().any(|(set, _)| *set == name);
        let mut parameters: Vec<Setting> = PARAMETERS.into_iter().filter(|(name, _)| !is_set(name)).collect();
        parameters.extend(settings);
        let (vpc, subnet, stack) = sandbox.with(|world| {
            let vpc = ec2::create_dual_stack_vpc(world, "10.0.0.0/16");
            let subnet = ec2::create_subnet(world, &vpc, "us-east-1a", "10.0.0.0/24");
            (vpc, subnet, template.deploy(world, &parameters).expect("a template that can be deployed"))
        });
        let stage = Self { sandbox, vpc, subnet, stack };
        stage.run(INSTANCE_STATE, |sdk, config| {
            let function = Arc::new(InstanceState::new(sdk, config));
            Box::new(move |event| {
                let function = function.clone();
                async move { function.invoke(event).await.map_err(|failure| failed(failure.into())) }.boxed()
            })
        });
        stage.run(LIFECYCLE, |sdk, config| {
            let function = Arc::new(Lifecycle::new(sdk, config));
            Box::new(move |event| {
                let function = function.clone();
                async move { function.invoke(event).await.map_err(|failure| failed(failure.into())) }.boxed()
            })
        });
        stage.run(RECONCILE, |sdk, config| {
            let function = Arc::new(Reconcile::new(sdk, config));
            Box::new(move |event| {
                let function = function.clone();
                async move { function.invoke(event).await.map_err(|failure| failed(failure.into())) }.boxed()
            })
        });
        stage
    }

    /// Lets a function run in the test's process, with the environment that the template gives it. As in Lambda, a process makes
    /// its lasting values once for each execution environment.
    fn run(&self, function: &str, start: fn(&SdkConfig, &Config) -> Process) {
        let environment = self
            .world(|world| world.lambda.function(function).map(|spec| spec.environment.clone()))
            .unwrap_or_default();
        let config = Config::of(&environment).expect("settings that the function accepts");
        let config = Config { has_metrics: false, ..config };
        let sandbox = self.sandbox.clone();
        let processes: Mutex<BTreeMap<String, Process>> = Mutex::default();
        lambda::run_in_process(&self.sandbox, function, move |invocation| {
            let left = (invocation.deadline - sandbox.with(|world| world.now())).to_std().unwrap_or_default();
            let mut processes = processes.lock().unwrap_or_else(PoisonError::into_inner);
            let key = invocation.access_key.clone();
            let process = processes.entry(key).or_insert_with_key(|key| start(&sdk(&sandbox, key), &config));
            process(event(invocation, left))
        });
    }

    /// Returns the SDK of an operator, who may do everything.
    pub fn operator_sdk(&self) -> SdkConfig {
        sdk(&self.sandbox, "AKIAOPERATOR")
    }

    /// Looks at the simulated AWS or changes it.
    pub fn world<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        self.sandbox.with(look)
    }
}

/// Sets the stage.
impl Stage {
    /// Launches an instance with one interface, whose address stays with it as in every VPC. It has been running all along.
    pub fn instance(&self, name: &str) -> &Self {
        self.launch(name, Launch::new(&self.subnet))
    }

    /// Launches an instance as described. It has been running all along.
    #[track_caller]
    pub fn launch(&self, name: &str, launch: Launch) -> &Self {
        self.world(|world| ec2::launch_running(world, launch.tag("Name", name))).expect("a launch that EC2 accepts");
        self
    }

    /// Creates a Classic load balancer.
    #[track_caller]
    pub fn classic(&self, name: &str) -> &Self {
        self.world(|world| elb::create(world, name, &self.vpc, &["us-east-1a"])).expect("a new name");
        self
    }

    /// Creates a target group for instances on port 80, behind an Application Load Balancer of its own.
    #[track_caller]
    pub fn instances_group(&self, name: &str) -> &Self {
        self.group(TargetGroupSpec::instances(name, &self.vpc, 80))
    }

    /// Creates a target group for addresses on port 443, behind an Application Load Balancer of its own.
    #[track_caller]
    pub fn addresses_group(&self, name: &str) -> &Self {
        self.group(TargetGroupSpec::addresses(name, &self.vpc, 443))
    }

    /// Creates a target group as described, behind an Application Load Balancer of its own.
    #[track_caller]
    pub fn group(&self, spec: TargetGroupSpec) -> &Self {
        self.group_behind(Kind::Application, "alb", spec)
    }

    /// Creates a target group for addresses on port 443, behind a Network Load Balancer of its own.
    #[track_caller]
    pub fn network_group(&self, name: &str) -> &Self {
        self.group_behind(Kind::Network, "nlb", TargetGroupSpec::addresses(name, &self.vpc, 443).protocol("TCP"))
    }

    #[track_caller]
    fn group_behind(&self, kind: Kind, suffix: &str, spec: TargetGroupSpec) -> &Self {
        let (name, vpc) = (spec.name.clone(), spec.vpc_id.clone().expect("a network"));
        self.world(|world| {
            let group = elbv2::create_target_group(world, spec)?;
            let balancer = elbv2::create_load_balancer(world, kind, &format!("{name}-{suffix}"), &vpc)?;
            elbv2::attach(world, &group, &balancer, 80)
        })
        .expect("a group that Elastic Load Balancing accepts");
        self
    }

    /// Registers an instance as an operator would: `clb:NAME`, `tg:NAME`, `tg:NAME:PORT`, and for addresses
    /// `tg:NAME:PORT=ADDRESS`, with `eth0` for the primary address. `@all` and `+QUICID` may follow.
    #[track_caller]
    pub fn registered(&self, instance: &str, place: &str) -> &Self {
        let id = self.id(instance);
        self.world(|world| match place.split_once(':') {
            Some(("clb", name)) => elb::register(world, name, &id),
            Some(("tg", rest)) => {
                let (name, target) = target(world, &id, rest);
                let arn = elbv2::arn_of(world, &name).expect("a group of that name");
                elbv2::register(world, &arn, target)
            }
            _ => panic!("{place} is no place to be registered"),
        })
        .unwrap_or_else(|error| panic!("{instance} at {place}: {error}"));
        self
    }

    /// Registers an instance at several places.
    #[track_caller]
    pub fn registered_at(&self, instance: &str, places: &[&str]) -> &Self {
        for place in places {
            self.registered(instance, place);
        }
        self
    }

    /// Creates an Auto Scaling group, which begins to launch its members.
    #[track_caller]
    pub fn fleet(&self, spec: GroupSpec) -> &Self {
        self.world(|world| auto_scaling::create_group(world, spec)).expect("a group that Auto Scaling accepts");
        self
    }

    /// Tags an instance, a target group (`tg:NAME`) or a load balancer (`clb:NAME`, `lb:NAME`).
    #[track_caller]
    pub fn tagged(&self, what: &str, key: &str, value: &str) -> &Self {
        if what.contains(':') {
            return self.with_tags(what, |tags| drop(tags.insert(key.to_owned(), value.to_owned())));
        }
        let id = self.id(what);
        self.world(|world| ec2::set_tag(world, &id, key, value));
        self
    }

    /// Takes such a tag away.
    #[track_caller]
    pub fn untagged(&self, what: &str, key: &str) -> &Self {
        if what.contains(':') {
            return self.with_tags(what, |tags| drop(tags.remove(key)));
        }
        let id = self.id(what);
        self.world(|world| ec2::remove_tag(world, &id, key));
        self
    }

    /// Changes the tags of a target group or a load balancer.
    #[track_caller]
    fn with_tags(&self, what: &str, change: impl FnOnce(&mut BTreeMap<String, String>)) -> &Self {
        let (kind, name) = what.split_once(':').expect("a kind and a name");
        self.world(|world| {
            let tags = match kind {
                "clb" => world.elb.load_balancers.get_mut(name).map(|balancer| &mut balancer.spec.tags),
                _ => {
                    let arn = elbv2::arn_of(world, name).expect("something of that name");
                    match kind {
                        "tg" => world.elbv2.target_groups.get_mut(&arn).map(|group| &mut group.tags),
                        _ => world.elbv2.load_balancers.get_mut(&arn).map(|found| &mut found.spec.tags),
                    }
                }
            };
            change(tags.expect("something of that name"));
        });
        self
    }

    /// Sets how long a target group drains.
    #[track_caller]
    pub fn drains(&self, group: &str, seconds: u64) -> &Self {
        let delay = Duration::from_secs(seconds);
        self.world(|world| {
            let arn = elbv2::arn_of(world, group).expect("a group of that name");
            elbv2::set_deregistration_delay(world, &arn, delay).expect("a delay that is allowed");
        });
        self
    }
}

/// Lets things happen on the stage.
impl Stage {
    /// Stops an instance, as an operator does.
    #[track_caller]
    pub fn stop(&self, instance: &str) -> &Self {
        let id = self.id(instance);
        self.world(|world| ec2::stop(world, &id)).expect("an instance that can be stopped");
        self
    }

    /// Starts an instance, as an operator does.
    #[track_caller]
    pub fn start(&self, instance: &str) -> &Self {
        let id = self.id(instance);
        self.world(|world| ec2::start(world, &id)).expect("an instance that can be started");
        self
    }

    /// Terminates an instance, as an operator does.
    #[track_caller]
    pub fn terminate(&self, instance: &str) -> &Self {
        let id = self.id(instance);
        self.world(|world| ec2::terminate(world, &id)).expect("an instance that can be terminated");
        self
    }

    /// Lets a client send requests from now on: short ones to `clb:NAME` or `tg:NAME`, or as described.
    #[track_caller]
    pub fn sends_requests(&self, client: impl Into<Client>) -> &Self {
        self.world(|world| traffic::send(world, client.into())).expect("a balancer whose routing is modelled");
        self
    }

    /// Sets how many members an Auto Scaling group wants.
    #[track_caller]
    pub fn wants(&self, group: &str, members: usize) -> &Self {
        self.world(|world| auto_scaling::set_desired(world, group, members)).expect("a size that the group allows");
        self
    }

    /// Lets time pass until no work is left.
    pub async fn rest(&self) {
        let mut quiet = 0;
        for _ in 0..PATIENCE.as_secs() {
            self.sandbox.advance(Duration::from_secs(1)).await;
            quiet = if self.is_busy() { 0 } else { quiet + 1 };
            if quiet > QUIET {
                return;
            }
        }
        panic!("not at rest after {PATIENCE:?}\n{}", self.describe());
    }

    /// Lets time pass until something is true.
    pub async fn until(&self, what: &str, is_true: impl Fn(&World) -> bool) {
        for _ in 0..PATIENCE.as_secs() {
            if self.world(|world| is_true(world)) {
                return;
            }
            self.sandbox.advance(Duration::from_secs(1)).await;
        }
        panic!("never: {what}\n{}", self.describe());
    }

    /// Stops an instance, and lets time pass until no work is left.
    pub async fn stop_and_rest(&self, instance: &str) -> &Self {
        self.stop(instance).rest().await;
        self
    }

    /// Starts an instance, and lets time pass until no work is left.
    pub async fn start_and_rest(&self, instance: &str) -> &Self {
        self.start(instance).rest().await;
        self
    }

    /// Hands one bare event to the function, and waits for its answer.
    pub async fn invoke(&self, event: Value) -> Result<Value, Value> {
        self.sandbox.invoke(INSTANCE_STATE, event).await
    }

    /// Delivers only the state changes to some states; none of them, if the list is empty.
    pub fn deliver_only(&self, states: &'static [&'static str]) -> &Self {
        self.deliver(move |state| if states.contains(&state) { Delivery::Normal } else { Delivery::Lost })
    }

    /// Decides over the delivery of state changes by the state that they announce.
    pub fn deliver(&self, decide: impl Fn(&str) -> Delivery + Send + 'static) -> &Self {
        self.world(|world| {
            world.events.set_delivery(move |event| decide(event.detail["state"].as_str().unwrap_or_default()));
        });
        self
    }

    /// Lets time pass until an instance has reached a state.
    pub async fn until_it_is(&self, instance: &str, state: ec2::InstanceState) {
        let id = self.id(instance);
        self.until(state.name(), |world| world.ec2.instance(&id).is_some_and(|found| found.state == state)).await;
    }

    /// Gives a function another time limit than the template does.
    #[track_caller]
    pub fn time_limit(&self, function: &str, limit: Duration) -> &Self {
        self.world(|world| {
            let mut spec = world.lambda.function(function).expect("a function").clone();
            spec.timeout = limit;
            lambda::create_function(world, spec);
        });
        self
    }

    /// Runs a sweep as an order says, and waits for its report.
    pub async fn sweep_with(&self, order: Value) -> Result<Value, Value> {
        self.sandbox.invoke(RECONCILE, order).await
    }

    /// Runs a sweep, and waits for its report.
    pub async fn sweep(&self) -> Result<Value, Value> {
        self.sandbox.invoke(RECONCILE, json!({})).await
    }

    /// Looks at every call of the function right after its work was done, and keeps the faults that `find` finds.
    pub fn watch(&self, find: impl FnMut(&World, &Call) -> Option<String> + Send + 'static) -> Findings {
        let findings = Findings::default();
        let (kept, mut find) = (findings.0.clone(), find);
        self.world(|world| {
            world.watchers.push(Box::new(move |world, call| {
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend(find(world, call));
            }));
        });
        findings
    }

    /// Looks after every call for a registration of the instance that is neither in place nor held: that must never be.
    pub fn watch_losses(&self, instance: &str, registrations: &'static [&'static str]) -> Findings {
        self.watch_losses_of(self.id(instance), registrations)
    }

    /// Does the same for an instance by its id.
    pub fn watch_losses_of(&self, id: String, registrations: &'static [&'static str]) -> Findings {
        self.watch(move |world, call| {
            let (places, held) = (places(world, &id), held(world, &id));
            let lost = registrations.iter().find(|place| !places.iter().chain(&held).any(|known| known == *place))?;
            Some(format!("{lost} is neither in place nor held after call {} ({})", call.number, call.action))
        })
    }

    /// Returns whether anything is under way that will lead to more.
    pub fn is_busy(&self) -> bool {
        self.world(|world| {
            let is_changing = |state: ec2::InstanceState| {
                matches!(
                    state,
                    ec2::InstanceState::Pending | ec2::InstanceState::Stopping | ec2::InstanceState::ShuttingDown
                )
            };
            let is_waiting = |name| world.sqs.queue(name).is_some_and(|queue| queue.messages().count() > 0);
            let queued = [QUEUE, LIFECYCLE_QUEUE, ORDERS].into_iter().any(is_waiting);
            let changing = world.ec2.instances.values().any(|history| is_changing(history.current().state));
            queued || changing || auto_scaling::is_moving(world) || world.lambda.open_invocations() > 0
        })
    }
}

/// Looks at the stage.
impl Stage {
    /// Returns the id of a named instance.
    #[track_caller]
    pub fn id(&self, instance: &str) -> String {
        let is_it = |found: &ec2::Instance| found.tags.get("Name").is_some_and(|name| name == instance);
        let id = self.world(|world| {
            let mut all = world.ec2.instances.values();
            all.find(|history| is_it(history.current())).map(|history| history.current().id.clone())
        });
        id.unwrap_or_else(|| panic!("there is no instance {instance}"))
    }

    /// Returns the members of a balancer, draining ones left out: names for instances, addresses as they are, each with its port
    /// (none at Classic load balancers), and `@all` and `+QUICID` if it has these.
    #[track_caller]
    pub fn members(&self, balancer: &str) -> Vec<String> {
        self.world(|world| members(world, balancer))
    }

    /// Returns the places of an instance, in the form of [`Stage::registered`], with `eth0` for its primary IPv4 address.
    #[track_caller]
    pub fn places(&self, instance: &str) -> Vec<String> {
        let id = self.id(instance);
        self.world(|world| places(world, &id))
    }

    /// Returns the registrations in an instance's tags: each once, sorted.
    #[track_caller]
    pub fn held(&self, instance: &str) -> Vec<String> {
        self.held_by(&self.id(instance))
    }

    /// Returns the same of an instance by its id.
    pub fn held_by(&self, id: &str) -> Vec<String> {
        self.world(|world| held(world, id))
    }

    /// Returns all tags of an instance.
    #[track_caller]
    pub fn tags(&self, instance: &str) -> BTreeMap<String, String> {
        let id = self.id(instance);
        self.world(|world| world.ec2.instance(&id).map(|found| found.tags.clone()).unwrap_or_default())
    }

    /// Returns the members of an Auto Scaling group and of its warm pool by their ids, with their lifecycle states.
    pub fn member_states(&self, group: &str) -> Vec<(String, LifecycleState)> {
        self.world(|world| {
            let members = world.auto_scaling.groups.get(group).into_iter().flat_map(|group| group.members.values());
            members.map(|member| (member.instance_id.clone(), member.lifecycle_state)).collect()
        })
    }

    /// Returns the lifecycle actions that are over, in the order of their end.
    pub fn ended_actions(&self) -> Vec<EndedAction> {
        self.world(|world| world.auto_scaling.ended_actions.clone())
    }

    /// Returns the calls that the function `instance-state` made, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.calls_of(INSTANCE_STATE)
    }

    /// Returns the calls that a function made, in order.
    pub fn calls_of(&self, function: &str) -> Vec<Call> {
        self.world(|world| world.calls.iter().filter(|call| is_by(call, function)).cloned().collect())
    }

    /// Returns the calls that all functions made, in order.
    pub fn all_calls(&self) -> Vec<Call> {
        let functions = [INSTANCE_STATE, LIFECYCLE, RECONCILE];
        let is_ours = |call: &&Call| functions.iter().any(|function| is_by(call, function));
        self.world(|world| world.calls.iter().filter(is_ours).cloned().collect())
    }

    /// Returns the calls that the sweep made, in order.
    pub fn sweep_calls(&self) -> Vec<Call> {
        let is_sweep = |call: &&Call| call.access_key.starts_with("AKIARECONCILE");
        self.world(|world| world.calls.iter().filter(is_sweep).cloned().collect())
    }

    /// Returns how often the function made a call.
    pub fn count(&self, action: &str) -> usize {
        self.calls().iter().filter(|call| call.action == action).count()
    }

    /// Forgets the calls made so far.
    pub fn forget_calls(&self) {
        self.world(|world| world.calls.clear());
    }

    /// Returns the reports of the function's answers and errors, latest last, as text.
    pub fn answers(&self) -> Vec<String> {
        self.world(|world| world.lambda.log.iter().map(|ended| format!("{:?}", ended.result)).collect())
    }

    /// Returns the dead letters of `instance-state`: body, and the reason if it has one.
    pub fn dead_letters(&self) -> Vec<(String, Option<String>)> {
        self.dead_letters_in(DEAD_LETTERS)
    }

    /// Returns the same of another queue.
    pub fn dead_letters_in(&self, queue: &str) -> Vec<(String, Option<String>)> {
        self.world(|world| {
            let messages = world.sqs.queue(queue).into_iter().flat_map(|queue| queue.messages());
            messages
                .map(|message| {
                    (message.body.clone(), message.attributes.get("reason").map(|reason| reason.value.clone()))
                })
                .collect()
        })
    }

    /// Returns the counts of all requests so far, by outcome.
    pub fn requests(&self) -> Tally {
        self.world(|world| traffic::tally(world))
    }

    /// Returns the requests that were not served.
    pub fn lost_requests(&self) -> Vec<Loss> {
        self.requests().losses
    }

    /// Returns the requests that were lost in one way.
    pub fn requests_lost_as(&self, outcome: Outcome) -> Vec<Loss> {
        self.lost_requests().into_iter().filter(|loss| loss.outcome == outcome).collect()
    }

    /// Returns the whole world in words, for the message of a failed assertion.
    pub fn describe(&self) -> String {
        self.world(|world| {
            let mut text = format!("at {}\n", world.now());
            for history in world.ec2.instances.values() {
                let found = history.current();
                let _ =
                    writeln!(text, "{} {} {:?} {:?}", found.id, found.state.name(), found.primary_ipv4(), found.tags);
            }
            for balancer in balancers(world) {
                let _ = writeln!(text, "{balancer}: {}", members(world, &balancer).join(" "));
            }
            for call in world.calls.iter().rev().take(12).rev() {
                let _ = writeln!(text, "{} {} {:?}", call.at, call.iam_action(), call.outcome);
            }
            text
        })
    }
}

/// The faults that a watcher has found.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Mutex<Vec<String>>>);

impl Findings {
    /// Returns all of them, in order.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns whether a function made a call: the sandbox makes a function's access keys of its name.
pub fn is_by(call: &Call, function: &str) -> bool {
    call.access_key.starts_with(&format!("AKIA{}", function.replace('-', "").to_uppercase()))
}

/// Returns options under which instances that start together run at the same moment, so that one batch has their events.
pub fn same_moment() -> Options {
    let milliseconds = |exactly| Span::milliseconds(exactly, exactly);
    Options { starting: milliseconds(10_000), event_delay: milliseconds(500), ..Options::default() }
}

/// Returns a state change of an instance as EventBridge delivers it, at the present time of the stage.
pub fn state_change(stage: &Stage, instance: &str, state: &str) -> Value {
    let (id, time) = (stage.id(instance), stage.world(|world| world.now()));
    json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "account": ACCOUNT,
        "time": time.format("%Y-%m-%dT%H:%M:%SZ").to_string(), "region": REGION,
        "resources": [format!("arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{id}")],
        "detail": { "instance-id": id, "state": state }
    })
}

/// Returns an event of `events/` as EventBridge delivers it here: with the account, Region and resources, which the files leave
/// out. An order for a sweep is not an event, and stays as it is.
pub fn delivered(event: &Value) -> Value {
    let mut event = event.clone();
    let Some(source) = event.get("source").and_then(Value::as_str) else { return event };
    let named = |field: &str| event["detail"][field].as_str().unwrap_or_default().to_owned();
    let resource = match source {
        "aws.ec2" => format!("arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{}", named("instance-id")),
        "aws.autoscaling" => {
            let group = "1a2b3c4d-1111-2222-3333-444455556666:autoScalingGroupName";
            let name = named("AutoScalingGroupName");
            format!("arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:{group}/{name}")
        }
        _ => format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/my-scheduled-rule"),
    };
    for (field, value) in [("account", json!(ACCOUNT)), ("region", json!(REGION)), ("resources", json!([resource]))] {
        event[field] = value;
    }
    event
}

fn balancers(world: &World) -> Vec<String> {
    let classic = world.elb.load_balancers.keys().map(|name| format!("clb:{name}"));
    let groups = world.elbv2.target_groups.values().map(|group| format!("tg:{}", group.spec.name));
    let mut all: Vec<String> = classic.chain(groups).collect();
    all.sort();
    all
}

/// See [`Stage::places`].
pub fn places(world: &World, id: &str) -> Vec<String> {
    let Some(instance) = world.ec2.instance(id) else { return Vec::new() };
    let name = instance.tags.get("Name").map_or(id, String::as_str);
    let primary = instance.primary_ipv4().map(|ip| ip.to_string());
    let mut places = Vec::new();
    for balancer in balancers(world) {
        for member in members(world, &balancer) {
            let (who, port) = member.split_once(':').unwrap_or((&member, ""));
            if who == name && port.is_empty() {
                places.push(balancer.clone());
            } else if who == name {
                places.push(format!("{balancer}:{port}"));
            } else if Some(who) == primary.as_deref() {
                places.push(format!("{balancer}:{port}=eth0"));
            }
        }
    }
    places
}

/// See [`Stage::held`].
fn held(world: &World, id: &str) -> Vec<String> {
    let Some(instance) = world.ec2.instance(id) else { return Vec::new() };
    let ours = instance.tags.iter().filter(|(key, _)| key.starts_with("elb-registrar:held"));
    // The sandbox invented the group's id, so it says nothing in a test.
    let without_id = |text: &str| match text.split_once('/') {
        Some((name, rest)) => format!("{name}{}", rest.find(':').map_or("", |colon| &rest[colon..])),
        None => text.to_owned(),
    };
    // Nor does the interface's.
    let without_ids = |text: &str| {
        let text = without_id(text);
        match text.split_once(".eni-") {
            Some((before, after)) => format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_hexdigit())),
            None => text,
        }
    };
    let texts: BTreeSet<String> = ours.flat_map(|(_, value)| value.split(' ').map(without_ids)).collect();
    texts.into_iter().collect()
}

fn members(world: &World, balancer: &str) -> Vec<String> {
    let name_of = |id: &str| {
        let named = world.ec2.instance(id).and_then(|found| found.tags.get("Name")).cloned();
        named.unwrap_or_else(|| id.to_owned())
    };
    let mut members: Vec<String> = match balancer.split_once(':') {
        Some(("clb", name)) => elb::members(world, name).iter().map(|id| name_of(id)).collect(),
        Some(("tg", name)) => {
            let arn = elbv2::arn_of(world, name).unwrap_or_else(|| panic!("there is no group {name}"));
            let targets = elbv2::targets(world, &arn).into_iter().filter(|target| target.state == Standing::Registered);
            targets
                .map(|target| {
                    let zone = if target.zone.as_deref() == Some("all") { "@all" } else { "" };
                    let quic = target.quic.map(|id| format!("+{id}")).unwrap_or_default();
                    format!("{}:{}{zone}{quic}", name_of(&target.id), target.port.unwrap_or_default())
                })
                .collect()
        }
        _ => panic!("{balancer} is no balancer"),
    };
    members.sort();
    members
}

/// Returns the group and the target in `NAME`, `NAME:PORT`, `NAME:PORT=ADDRESS@all+QUICID`.
fn target(world: &World, id: &str, text: &str) -> (String, Target) {
    let (text, quic) = text.split_once('+').map_or((text, None), |(text, quic)| (text, Some(quic)));
    let (text, zone) = text.split_once('@').map_or((text, None), |(text, zone)| (text, Some(zone)));
    let (text, address) = text.split_once('=').map_or((text, None), |(text, address)| (text, Some(address)));
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let primary = || world.ec2.instance(id).and_then(ec2::Instance::primary_ipv4).map(|ip| ip.to_string());
    let target = match address {
        None => Target::new(id),
        Some("eth0") => Target::new(primary().expect("an instance with an address")),
        Some(address) => Target::new(address),
    };
    let port = port.map(|port| port.parse().expect("a port"));
    (name.to_owned(), Target { port, zone: zone.map(str::to_owned), quic: quic.map(str::to_owned), ..target })
}

/// Returns the SDK as the function configures it, with the sandbox as its HTTP client.
fn sdk(sandbox: &Sandbox, access_key: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key, "sandbox", None, None, "sandbox");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(clients::timeouts())
        .retry_config(clients::retries())
        .http_client(connector::http_client(sandbox))
        .build()
}

/// The wall's time is as far from the deadline as the simulated time is: a function compares the deadline with the wall's clock.
#[expect(clippy::disallowed_methods, reason = "the function compares its deadline with the wall's clock")]
fn event(invocation: Invocation, left: Duration) -> LambdaEvent<Value> {
    let mut context = Context::default();
    let deadline = SystemTime::now() + left;
    let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    context.deadline = u64::try_from(deadline).unwrap_or(u64::MAX);
    context.request_id = invocation.request_id;
    context.invoked_function_arn = invocation.function_arn;
    LambdaEvent::new(invocation.payload, context)
}

fn failed(diagnostic: Diagnostic) -> Value {
    json!({ "errorType": diagnostic.error_type, "errorMessage": diagnostic.error_message })
}
