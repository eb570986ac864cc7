//! Converging a batch of instances: read, decide, act, read again. Every function ends here.
//!
//! *Actual* is what the balancers list; *wanted* is nothing for an instance that is out, and what its tags hold and declare
//! for one that runs. An event, its redelivery and a sweep all come this way, so that the rare path is walked every day; an
//! event that never came is replaced by the next one of the instance, or by the sweep.
//!
//! # Why nothing is lost
//!
//! A registration is written into the instance's tags before it is taken, and its tag is deleted only after it was seen in
//! place at a time when nobody can take it any more. What is true if the process dies:
//!
//! | after | state | repaired by |
//! |---|---|---|
//! | reading | nothing has changed | the event's redelivery |
//! | holding | in the tag, and in place | the redelivery, which takes it; or the restart, which finds it in place |
//! | deregistering | in the tag | the restart |
//! | registering | in place, and in the tag | the restart's later check, which forgets it |
//! | forgetting | in place | nothing to repair |
//!
//! Two functions may work on one instance at once. *Both hold*: each writes keys of its own (see [`crate::held`]). *One
//! takes while another gives back*, because a function that saw the instance stopped acts after it has been started: it
//! acts only while its reading is fresh, looks again when it has acted, and gives back what it took if the instance runs by
//! now; should it die before that, its redelivery or the restart's check comes later than it can have acted
//! ([`crate::decide::SETTLE`]), finds the registration missing, and still has the tag. *One takes while another forgets*:
//! forgetting deletes the tags that it has read, and who takes has written a younger one.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
    ops::Range,
    time::Duration,
};

use aws_config::SdkConfig;
use futures::{FutureExt, StreamExt, future::join_all, stream};
use tokio::time::Instant as MonotonicTime;

use crate::{
    auto_scaling::{self, AutoScalingGroup},
    balancer::{ClassicLoadBalancers, Found, Kind, Scan, Standing, Target, TargetGroups, Unresolved, Wanted},
    config::{Mode, Scope},
    decide::{self, Attached, GiveBack, READING_GOOD_FOR, TakeOut, Weight},
    declaration::Declaration,
    ec2::{Ec2, RESOURCES_PER_CALL_MAX, Reading},
    error::CallError,
    held::{HeldTag, Stamp, has_room_for, tags_to_hold},
    id::{AutoScalingGroupName, InstanceId},
    instance::{Instance, State, Timestamp},
    notice::Notice,
    registration::{BalancerId, Registration},
    report::{Action, Because, Recorder, Report},
    tag,
};

/// Targets in one call. No maximum is documented; the AWS Load Balancer Controller sends 200 on the service team's advice.
/// Larger, one bad target spoils more of the work; smaller, the 4 writes a second that an account gets run out.
const TARGETS_PER_CALL_MAX: usize = 200;

/// Writing calls under way at once. The bucket has 20 and refills 4 a second: more only waits in throttling.
const WRITES_IN_FLIGHT_MAX: usize = 4;

/// Converges instances of one account and Region.
pub struct Registrar {
    ec2: Ec2,
    auto_scaling: aws_sdk_autoscaling::Client,
    classic: aws_sdk_elasticloadbalancing::Client,
    target_groups: aws_sdk_elasticloadbalancingv2::Client,
    region: String,
    mode: Mode,
    scope: Scope,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Converged {
    /// For a person.
    pub report: Report,
    /// For the queue: one for each notice, in their order.
    pub outcomes: Vec<Outcome>,
}

/// What shall become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has served its purpose.
    Done,
    /// It shall come back so much later.
    Later(Duration),
    /// Something failed: it shall come back when its queue sees fit, and in the end go to the dead letters.
    Failed,
}

/// A registration that was, or is to be, taken or given.
type Item = (InstanceId, Registration, Target);

impl Registrar {
    /// A registrar that calls AWS as configured.
    pub fn new(sdk: &SdkConfig, mode: Mode, scope: Scope) -> Self {
        Self {
            ec2: Ec2::new(sdk),
            auto_scaling: aws_sdk_autoscaling::Client::new(sdk),
            classic: aws_sdk_elasticloadbalancing::Client::new(sdk),
            target_groups: aws_sdk_elasticloadbalancingv2::Client::new(sdk),
            region: sdk.region().map(ToString::to_string).unwrap_or_default(),
            mode,
            scope,
        }
    }

    /// The Region that it works in.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Converges the instances that some events named.
    ///
    /// # Errors
    /// Where the instances cannot be described: nothing was done. Everything else that fails is in the outcomes.
    pub async fn converge(&self, notices: &[Notice]) -> Result<Converged, CallError> {
        let read_at = MonotonicTime::now();
        let reading = self.ec2.read(&notices.iter().map(|notice| notice.instance.clone()).collect()).await?;
        let mut run = Run { registrar: self, recorder: Recorder::new(self.mode), read_at, read_at_ec2: reading.at };
        let weights = run.weigh(notices, &reading);
        let named =
            weights.iter().filter(|(_, weight)| *weight == Weight::Converge).map(|(notice, _)| &notice.instance);
        let named: BTreeSet<&InstanceId> = named.collect();
        let instances: Vec<&Instance> = named.into_iter().filter_map(|id| reading.instances.get(id)).collect();
        // Boxed, or the future is too deep for the compiler's default limits in whoever awaits it.
        run.converge(&instances).boxed().await;
        let outcomes = weights.iter().map(|(notice, weight)| run.outcome(notice, weight)).collect();
        Ok(Converged { report: run.recorder.into_report(), outcomes })
    }

    /// The kinds of balancers there are. One reading's worth: they remember what they described.
    fn kinds(&self, account: &str) -> Vec<Box<dyn Kind>> {
        vec![
            Box::new(ClassicLoadBalancers::new(self.classic.clone())),
            Box::new(TargetGroups::new(self.target_groups.clone(), &self.region, account)),
        ]
    }
}

/// One batch under way.
struct Run<'r> {
    registrar: &'r Registrar,
    recorder: Recorder,
    /// When the reading was asked for that entitles to take, by our own clock.
    read_at: MonotonicTime,
    /// The same by EC2's clock, when it answered.
    read_at_ec2: Timestamp,
}

impl Run<'_> {
    fn weigh<'n>(&mut self, notices: &'n [Notice], reading: &Reading) -> Vec<(&'n Notice, Weight)> {
        let mut weights = Vec::new();
        for notice in notices {
            let instance = reading.instances.get(&notice.instance);
            self.recorder.instance(&notice.instance).state = instance.map(|instance| instance.state);
            let weight = decide::weigh(notice, instance, reading.at);
            match &weight {
                Weight::Converge => {}
                Weight::TooEarly(wait) => {
                    let why = "what EC2 says of the instance may be older than the event";
                    self.recorder.waiting(&notice.instance, Because::all(why));
                    self.recorder.look_again(&notice.instance, *wait);
                }
                Weight::Nothing(why) => self.recorder.nothing_to_do(&notice.instance, why),
            }
            weights.push((notice, weight));
        }
        weights
    }

    fn outcome(&self, notice: &Notice, weight: &Weight) -> Outcome {
        if let Weight::TooEarly(wait) = weight {
            return Outcome::Later(*wait);
        }
        match self.recorder.report().instances.get(&notice.instance) {
            Some(part) if !part.failed.is_empty() => Outcome::Failed,
            Some(part) if *weight == Weight::Converge => {
                part.look_again_in_seconds.map_or(Outcome::Done, |seconds| Outcome::Later(Duration::from_secs(seconds)))
            }
            _ => Outcome::Done,
        }
    }

    async fn converge(&mut self, instances: &[&Instance]) {
        for instance in instances {
            self.recorder.instance(&instance.id).held = instance.held().registrations();
            self.name_broken_tags(instance);
        }
        let (out, running): (Vec<&Instance>, Vec<&Instance>) =
            instances.iter().filter(|instance| self.is_ours(instance)).partition(|instance| instance.state.is_out());
        self.give_back(&running).await;
        if self.take_out(&out).await {
            self.look_after_taking(&out).await;
        }
    }

    /// Whether an instance is ours to converge, by its own tags.
    fn is_ours(&mut self, instance: &Instance) -> bool {
        if instance.is_ignored() {
            let held = instance.held().registrations().len();
            let why = match held {
                0 => format!("it bears the tag {}", tag::IGNORE),
                _ => {
                    format!("it bears the tag {}; its tags hold {held} registration(s), which stay there", tag::IGNORE)
                }
            };
            self.recorder.left_alone(&instance.id, Because::all(why));
            return false;
        }
        // What is held was ours when it was taken, whatever the scope is by now.
        let in_scope = match self.registrar.scope {
            Scope::All => true,
            Scope::Tagged => instance.tags.contains_key(tag::REGISTER) || !instance.held().is_empty(),
        };
        if !in_scope {
            let why = format!("the scope is `tagged`, and it does not bear the tag {}", tag::REGISTER);
            self.recorder.left_alone(&instance.id, Because::all(why));
        }
        in_scope
    }

    fn name_broken_tags(&mut self, instance: &Instance) {
        for held in instance.held().tags {
            for (text, why) in &held.malformed {
                let why =
                    format!("`{text}` is not a registration: {why}. Correct or delete it; the tag is left as it is");
                self.recorder.needs_a_person(&instance.id, Because::of(&format!("tag {}", held.key), why));
            }
        }
    }

    /// Reads which balancers Auto Scaling looks after, for the instances that are in a group.
    ///
    /// An instance whose group could not be read is left out and marked as failed: nobody knows what is foreign there.
    async fn attached<'i>(&mut self, instances: &[&'i Instance]) -> Vec<(&'i Instance, Attached, Option<String>)> {
        let names: BTreeSet<AutoScalingGroupName> = instances.iter().filter_map(|i| i.auto_scaling_group()).collect();
        let groups = match names.is_empty() {
            true => Ok(BTreeMap::new()),
            false => auto_scaling::read(&self.registrar.auto_scaling, &names).await,
        };
        let mut known = Vec::new();
        for instance in instances {
            let Some(name) = instance.auto_scaling_group() else {
                known.push((*instance, Attached::default(), None));
                continue;
            };
            match &groups {
                Ok(groups) => {
                    let AutoScalingGroup { attached, out_of_service } = groups.get(&name).cloned().unwrap_or_default();
                    let state = out_of_service.get(&instance.id).cloned();
                    known.push((*instance, Attached { group: Some(name), balancers: attached }, state));
                }
                Err(error) => self.recorder.failed(&instance.id, Because::of(&name, error.to_sentence())),
            }
        }
        known
    }
}

/// Taking out.
impl Run<'_> {
    /// Holds and takes what instances have that are out. Says whether anything was taken.
    async fn take_out(&mut self, instances: &[&Instance]) -> bool {
        let Some(first) = instances.first() else { return false };
        let kinds = self.registrar.kinds(&first.account);
        let scans = join_all(kinds.iter().map(|kind| kind.scan(instances))).await;
        let found = self.found_by(scans, instances);
        let (with_any, without): (Vec<&Instance>, Vec<&Instance>) =
            instances.iter().partition(|i| found.iter().any(|found| found.instance == i.id));
        for instance in without {
            self.recorder.nothing_to_do(&instance.id, "it is registered nowhere");
        }
        let shared = self.addresses_of_several(&found).await;
        let mut decisions = Vec::new();
        for (instance, attached, _) in self.attached(&with_any).await {
            let own: Vec<Found> = found.iter().filter(|found| found.instance == instance.id).cloned().collect();
            let ambiguous = |target: &Target| target.id.parse().is_ok_and(|address: IpAddr| shared.contains(&address));
            let decision = decide::take_out(instance, &own, &attached, ambiguous);
            for (registration, reason) in &decision.left_alone {
                self.recorder.left_alone(&instance.id, Because::of(registration, reason));
            }
            decisions.push((instance, decision));
        }
        if self.registrar.mode == Mode::Observe {
            self.rehearse(&decisions);
            return false;
        }
        let entitled = self.renew(decisions).await;
        let held = self.hold(entitled).await;
        self.deregister(&kinds, held).await
    }

    fn found_by(&mut self, scans: Vec<Scan>, instances: &[&Instance]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for scan in scans {
            found.extend(scan.found);
            // What could not be read may have any of them: all are to be looked at again.
            for error in &scan.failures {
                for instance in instances {
                    self.recorder.failed(&instance.id, Because::all(error.to_sentence()));
                }
            }
        }
        found.sort_by(|a, b| (&a.instance, &a.registration).cmp(&(&b.instance, &b.registration)));
        for found in &found {
            self.recorder.instance(&found.instance).registered.insert(found.registration.clone());
        }
        found
    }

    /// Addresses outside their group's VPC that more than one interface has: networks may overlap, and such a target may
    /// just as well be another host's.
    async fn addresses_of_several(&mut self, found: &[Found]) -> BTreeSet<IpAddr> {
        let far: Vec<&Found> = found.iter().filter(|found| found.is_far).collect();
        let addresses: BTreeSet<IpAddr> = far.iter().filter_map(|found| found.target.id.parse().ok()).collect();
        if addresses.is_empty() {
            return addresses;
        }
        match self.registrar.ec2.count_interfaces(&addresses).await {
            Ok(counts) => addresses.into_iter().filter(|a| counts.get(a).is_some_and(|count| *count > 1)).collect(),
            Err(error) => {
                // Nobody knows, so they are treated as another's, and looked at again.
                for found in far {
                    self.recorder.failed(&found.instance, Because::of(&found.registration, error.to_sentence()));
                }
                addresses
            }
        }
    }

    fn rehearse(&mut self, decisions: &[(&Instance, TakeOut)]) {
        for (instance, decision) in decisions {
            let why = format!("the instance is {}", instance.state.name());
            for registration in &decision.hold {
                self.recorder.deed(&instance.id, Action::Hold, registration, &why);
            }
            for (registration, _) in &decision.take {
                self.recorder.deed(&instance.id, Action::Deregister, registration, &why);
            }
        }
    }

    /// Writes what is to be taken into the instances' tags: one call for all that hold the same. Gives back what is safe
    /// to take now.
    ///
    /// If the process dies here, tags hold what is still in place: the redelivery takes it, or the restart finds it there.
    async fn hold<'i>(&mut self, decisions: Vec<(&'i Instance, TakeOut)>) -> Vec<(&'i Instance, TakeOut)> {
        let stamp = Stamp { taken_at: self.read_at_ec2, nonce: fastrand::u32(..) };
        let mut safe = Vec::new();
        let mut by_content: BTreeMap<BTreeSet<Registration>, Vec<(&Instance, TakeOut)>> = BTreeMap::new();
        for (instance, decision) in decisions {
            match decision.hold.is_empty() {
                true => safe.push((instance, decision)),
                false => by_content.entry(decision.hold.clone()).or_default().push((instance, decision)),
            }
        }
        for (registrations, members) in by_content {
            let tags = tags_to_hold(&registrations, stamp);
            let (fitting, full): (Vec<_>, Vec<_>) =
                members.into_iter().partition(|(instance, _)| has_room_for(&instance.tags, tags.len()));
            for (instance, _) in full {
                let why = format!(
                    "{} more tag(s) are needed to hold {} registration(s), and an instance can have 50: nothing was deregistered. \
                     Remove tags, then send the event again",
                    tags.len(),
                    registrations.len()
                );
                self.recorder.failed(&instance.id, Because::all(why));
            }
            let ids: Vec<InstanceId> = fitting.iter().map(|(instance, _)| instance.id.clone()).collect();
            let ec2 = &self.registrar.ec2;
            let results = in_parts(ids.len(), RESOURCES_PER_CALL_MAX, |part| ec2.tag(&ids[part], &tags)).await;
            for ((instance, decision), result) in fitting.into_iter().zip(results) {
                match result {
                    Ok(()) => {
                        let why = format!("the instance is {}", instance.state.name());
                        for registration in &registrations {
                            self.recorder.deed(&instance.id, Action::Hold, registration, &why);
                        }
                        safe.push((instance, decision));
                    }
                    Err(error) => {
                        let why = format!("cannot hold, so nothing was deregistered: {}", error.to_sentence());
                        self.recorder.failed(&instance.id, Because::all(why));
                    }
                }
            }
        }
        self.drop_superseded(&safe).await;
        safe
    }

    /// Deletes older tags of which the new ones have everything. Dying before it leaves tags that say the same twice.
    async fn drop_superseded(&mut self, safe: &[(&Instance, TakeOut)]) {
        let tags = safe.iter().map(|(instance, decision)| (instance.id.clone(), decision.superseded.clone())).collect();
        for (id, _, result) in self.untag(tags).await {
            if let Err(error) = result {
                self.recorder.failed(&id, Because::all(error.to_sentence()));
            }
        }
    }

    /// Reads again where the scan took so long that the reading is about to expire, and drops who is not out any more.
    async fn renew<'i>(&mut self, decisions: Vec<(&'i Instance, TakeOut)>) -> Vec<(&'i Instance, TakeOut)> {
        if decisions.is_empty() || self.read_at.elapsed() < READING_GOOD_FOR / 3 {
            return decisions;
        }
        let read_at = MonotonicTime::now();
        match self.registrar.ec2.read(&decisions.iter().map(|(instance, _)| instance.id.clone()).collect()).await {
            Ok(reading) => {
                (self.read_at, self.read_at_ec2) = (read_at, reading.at);
                let is_out = |id| reading.instances.get(id).is_some_and(|now: &Instance| now.state.is_out());
                decisions.into_iter().filter(|(instance, _)| is_out(&instance.id)).collect()
            }
            Err(error) => {
                for (instance, _) in decisions {
                    self.recorder.failed(&instance.id, Because::all(error.to_sentence()));
                }
                Vec::new()
            }
        }
    }

    /// Takes what is held. Says whether anything was taken, or may have been.
    ///
    /// If the process dies here, a part is taken and all of it is held: the redelivery takes the rest.
    async fn deregister(&mut self, kinds: &[Box<dyn Kind>], decisions: Vec<(&Instance, TakeOut)>) -> bool {
        let items = decisions.into_iter().flat_map(|(instance, decision)| {
            let (id, why) = (&instance.id, format!("the instance is {}", instance.state.name()));
            decision
                .take
                .into_iter()
                .map(move |(registration, target)| ((id.clone(), registration, target), why.clone()))
        });
        let (items, whys): (Vec<Item>, Vec<String>) = items.unzip();
        let whys: BTreeMap<InstanceId, String> = items.iter().map(|(id, ..)| id.clone()).zip(whys).collect();
        let is_any = !items.is_empty();
        let read_at = self.read_at;
        let results = in_chunks(kinds, items, |kind, balancer, targets| {
            Box::pin(async move {
                // Later, the instance may have been started and given everything back: the reading does not tell.
                if read_at.elapsed() > READING_GOOD_FOR {
                    return Ok(false);
                }
                kind.deregister(balancer, targets).await.map(|()| true)
            })
        })
        .await;
        for ((id, registration, _), result) in results {
            match result {
                Ok(true) => self.recorder.deed(&id, Action::Deregister, &registration, &whys[&id]),
                Ok(false) => {
                    let why = "there was no time left to deregister it before the instance has to be looked at again";
                    self.recorder.waiting(&id, Because::of(&registration, why));
                    self.recorder.look_again(&id, Duration::from_secs(1));
                }
                // Gone with its balancer.
                Err(error) if error.is_gone() => {}
                Err(error) => self.recorder.failed(&id, Because::of(&registration, error.to_sentence())),
            }
        }
        is_any
    }

    /// Reads again after having taken: an instance that runs by now gets back what was taken a moment ago.
    async fn look_after_taking(&mut self, instances: &[&Instance]) {
        let ids: BTreeSet<InstanceId> = instances.iter().map(|instance| instance.id.clone()).collect();
        match self.registrar.ec2.read(&ids).await {
            Ok(reading) => {
                self.read_at_ec2 = reading.at;
                for (id, instance) in &reading.instances {
                    self.recorder.instance(id).state = Some(instance.state);
                }
                let running = reading.instances.values().filter(|instance| instance.state == State::Running);
                self.give_back(&running.collect::<Vec<_>>()).await;
            }
            Err(error) => {
                for id in &ids {
                    self.recorder.failed(id, Because::all(error.to_sentence()));
                }
            }
        }
    }
}

/// Giving back.
impl Run<'_> {
    /// Registers what instances that run shall have, and forgets what is settled.
    async fn give_back(&mut self, instances: &[&Instance]) {
        let is_wanting = |i: &&Instance| !i.held().is_empty() || i.tags.contains_key(tag::REGISTER);
        let (wanting, others): (Vec<&Instance>, Vec<&Instance>) = instances.iter().copied().partition(is_wanting);
        for instance in others {
            self.recorder.nothing_to_do(&instance.id, "it holds and declares nothing");
        }
        let Some(first) = wanting.first() else { return };
        let kinds = self.registrar.kinds(&first.account);
        let mut wanted: Vec<(usize, Registration)> = Vec::new();
        let mut receivers = Vec::new();
        for (instance, attached, out_of_service) in self.attached(&wanting).await {
            if let Some(state) = out_of_service {
                let why =
                    format!("its Auto Scaling group keeps it out of service ({state}); the sweep gives back later");
                self.recorder.waiting(&instance.id, Because::all(why));
                continue;
            }
            let registrations = self.wanted_by(instance, &kinds).await;
            wanted.extend(registrations.into_iter().map(|registration| (receivers.len(), registration)));
            receivers.push((instance, attached));
        }
        let standings = look(&kinds, &receivers, wanted).await;
        let mut decisions = Vec::new();
        for ((instance, attached), standings) in receivers.into_iter().zip(standings) {
            let decision = decide::give_back(instance, self.read_at_ec2, standings, &attached);
            self.note(instance, &decision);
            decisions.push((instance, decision));
        }
        if self.registrar.mode == Mode::Observe {
            self.rehearse_giving_back(&decisions);
            return;
        }
        self.register(&kinds, &mut decisions).await;
        self.forget(&decisions).await;
    }

    /// What an instance shall have: all that is held, and all that is declared and can be completed.
    async fn wanted_by(&mut self, instance: &Instance, kinds: &[Box<dyn Kind>]) -> BTreeSet<Registration> {
        let mut wanted = instance.held().registrations();
        let declared = instance.tags.get(tag::REGISTER).map(String::as_str).unwrap_or_default();
        let (declarations, malformed) = Declaration::all_in(declared);
        for (text, why) in malformed {
            let why = format!("`{text}` is not a registration: {why}");
            self.recorder.needs_a_person(&instance.id, Because::of(&format!("tag {}", tag::REGISTER), why));
        }
        for declaration in declarations {
            for kind in kinds {
                match kind.resolve(&declaration).await {
                    None => continue,
                    Some(Ok(registration)) => {
                        wanted.insert(registration);
                    }
                    Some(Err(Unresolved::Reason(reason))) => {
                        self.recorder.needs_a_person(&instance.id, Because::of(&declaration, reason));
                    }
                    Some(Err(Unresolved::Unreadable(error))) => {
                        self.recorder.failed(&instance.id, Because::of(&declaration, error.to_sentence()));
                    }
                }
            }
        }
        wanted
    }

    /// Writes down what needs no deed.
    fn note(&mut self, instance: &Instance, decision: &GiveBack) {
        let id = &instance.id;
        for (registration, health) in &decision.in_place {
            tracing::info!(instance = %id, %registration, %health, "in place");
            let part = self.recorder.instance(id);
            part.registered.insert(registration.clone());
            part.health.insert(registration.clone(), health.clone());
        }
        for (registration, left) in &decision.draining {
            let why = format!("the same address is still being drained, for about {} s", left.as_secs());
            self.recorder.waiting(id, Because::of(registration, why));
        }
        for (registration, reason) in &decision.let_go {
            self.recorder.let_go(id, Because::of(registration, reason));
        }
        for (registration, reason) in &decision.stuck {
            self.recorder.needs_a_person(id, Because::of(registration, reason));
        }
        for (registration, error) in &decision.unreadable {
            self.recorder.failed(id, Because::of(registration, error.to_sentence()));
        }
        if let Some(wait) = decision.look_again {
            self.recorder.look_again(id, wait);
        }
    }

    fn rehearse_giving_back(&mut self, decisions: &[(&Instance, GiveBack)]) {
        for (instance, decision) in decisions {
            for (registration, _) in &decision.register {
                self.recorder.deed(&instance.id, Action::Register, registration, REGISTER_WHY);
            }
            for registration in decision.forget.iter().flat_map(|tag| &tag.registrations) {
                self.recorder.deed(&instance.id, Action::Forget, registration, forget_why(decision, registration));
            }
        }
    }

    /// If the process dies here, a part is registered and all of it still held: the redelivery registers the rest.
    async fn register(&mut self, kinds: &[Box<dyn Kind>], decisions: &mut [(&Instance, GiveBack)]) {
        let items = decisions.iter_mut().flat_map(|(instance, decision)| {
            let id = &instance.id;
            decision.register.drain(..).map(|(registration, target)| (id.clone(), registration, target))
        });
        let results = in_chunks(kinds, items.collect(), |kind, balancer, targets| {
            Box::pin(async move { kind.register(balancer, targets).await.map(|()| true) })
        })
        .await;
        for ((id, registration, _), result) in results {
            match result {
                Ok(_) => self.recorder.deed(&id, Action::Register, &registration, REGISTER_WHY),
                Err(error) if error.is_gone() => {
                    self.recorder.waiting(&id, Because::of(&registration, "its balancer was deleted just now"));
                }
                Err(error) => self.recorder.failed(&id, Because::of(&registration, error.to_sentence())),
            }
        }
    }

    /// Deletes tags whose registrations are settled, where they still have the value that was read.
    async fn forget(&mut self, decisions: &[(&Instance, GiveBack)]) {
        let tags =
            decisions.iter().map(|(instance, decision)| (instance.id.clone(), decision.forget.clone())).collect();
        let decisions: BTreeMap<&InstanceId, &GiveBack> =
            decisions.iter().map(|(i, decision)| (&i.id, decision)).collect();
        for (id, registrations, result) in self.untag(tags).await {
            match result {
                Ok(()) => {
                    for registration in registrations {
                        let why = forget_why(decisions[&id], &registration);
                        self.recorder.deed(&id, Action::Forget, &registration, why);
                    }
                }
                Err(error) => self.recorder.failed(&id, Because::all(error.to_sentence())),
            }
        }
    }

    /// Deletes held tags: one call for all instances that have the same.
    async fn untag(
        &self,
        tags: BTreeMap<InstanceId, Vec<HeldTag>>,
    ) -> Vec<(InstanceId, Vec<Registration>, Result<(), CallError>)> {
        let mut by_content: BTreeMap<Vec<(String, String)>, Vec<InstanceId>> = BTreeMap::new();
        for (id, tags) in tags.iter().filter(|(_, tags)| !tags.is_empty()) {
            let content = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
            by_content.entry(content).or_default().push(id.clone());
        }
        let mut results = Vec::new();
        for (content, ids) in by_content {
            let ec2 = &self.registrar.ec2;
            let outcomes = in_parts(ids.len(), RESOURCES_PER_CALL_MAX, |part| ec2.untag(&ids[part], &content)).await;
            for (id, outcome) in ids.iter().zip(outcomes) {
                let registrations = tags[id].iter().flat_map(|tag| tag.registrations.iter().cloned()).collect();
                results.push((id.clone(), registrations, outcome));
            }
        }
        results
    }
}

const REGISTER_WHY: &str = "the instance runs";

fn forget_why(decision: &GiveBack, registration: &Registration) -> &'static str {
    match decision.in_place.iter().any(|(in_place, _)| in_place == registration) {
        true => "it is back in place",
        false => "it is let go",
    }
}

/// Reads how everything wanted stands: for each receiver its own.
async fn look(
    kinds: &[Box<dyn Kind>],
    receivers: &[(&Instance, Attached)],
    wanted: Vec<(usize, Registration)>,
) -> Vec<Vec<(Registration, Standing)>> {
    let of_kind = kinds.iter().map(|kind| async {
        let own: Vec<&(usize, Registration)> =
            wanted.iter().filter(|(_, registration)| kind.serves(&registration.balancer())).collect();
        let asked: Vec<Wanted<'_>> =
            own.iter().map(|(index, registration)| Wanted { instance: receivers[*index].0, registration }).collect();
        let standings = if asked.is_empty() { Vec::new() } else { kind.look(&asked).await };
        own.into_iter().cloned().zip(standings).collect::<Vec<_>>()
    });
    let mut standings: Vec<Vec<(Registration, Standing)>> = receivers.iter().map(|_| Vec::new()).collect();
    for ((index, registration), standing) in join_all(of_kind).await.into_iter().flatten() {
        standings[index].push((registration, standing));
    }
    standings
}

type BoxFuture<'f, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// Calls once for each balancer and chunk of its targets, several at once; answers for each item.
async fn in_chunks<T: Clone + Send>(
    kinds: &[Box<dyn Kind>],
    items: Vec<Item>,
    call: impl for<'c> Fn(&'c dyn Kind, &'c BalancerId, &'c [Target]) -> BoxFuture<'c, Result<T, CallError>> + Sync,
) -> Vec<(Item, Result<T, CallError>)> {
    let mut by_balancer: BTreeMap<BalancerId, Vec<Item>> = BTreeMap::new();
    for item in items {
        by_balancer.entry(item.1.balancer()).or_default().push(item);
    }
    let work = by_balancer.into_iter().filter_map(|(balancer, items)| {
        let kind = kinds.iter().find(|kind| kind.serves(&balancer))?;
        let call = &call;
        Some(async move {
            let targets: Vec<Target> = items.iter().map(|(_, _, target)| target.clone()).collect();
            let one_call = |part: Range<usize>| call(kind.as_ref(), &balancer, &targets[part]);
            let results = in_parts(targets.len(), TARGETS_PER_CALL_MAX, one_call).await;
            items.into_iter().zip(results).collect::<Vec<_>>()
        })
    });
    stream::iter(work).buffer_unordered(WRITES_IN_FLIGHT_MAX).concat().await
}

/// Calls for parts of `0..length`, each of which is done or refused as a whole. A refusal that one member may have caused
/// is tried again in halves, so that it spoils only itself.
async fn in_parts<T: Clone, F>(
    length: usize,
    part_max: usize,
    call: impl Fn(Range<usize>) -> F,
) -> Vec<Result<T, CallError>>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut results = Vec::with_capacity(length);
    // The next part on top, so that the results come in order.
    let mut parts: Vec<Range<usize>> =
        (0..length).step_by(part_max).map(|start| start..length.min(start + part_max)).rev().collect();
    while let Some(part) = parts.pop() {
        match call(part.clone()).await {
            Err(error) if error.is_spoilt() && part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
            result => results.extend(part.map(|_| result.clone())),
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn one_bad_member_spoils_only_itself() {
        let calls = Mutex::new(Vec::new());
        let call = |part: Range<usize>| {
            calls.lock().unwrap().push(part.clone());
            let refusal =
                CallError::Refused { operation: "X", code: "InvalidTarget".into(), message: "not running".into() };
            let result = if part.contains(&5) { Err(refusal) } else { Ok(()) };
            async move { result }
        };
        let results = in_parts(12, 8, call).await;
        let failed: Vec<usize> = (0..12).filter(|index| results[*index].is_err()).collect();
        assert_eq!((results.len(), failed), (12, vec![5]));
        assert_eq!(*calls.lock().unwrap(), [0..8, 0..4, 4..8, 4..6, 4..5, 5..6, 6..8, 8..12]);
    }
}
