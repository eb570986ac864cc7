//! The sweep: everything that no event told, in parts that fit into an invocation's time.
//!
//! It begins with the running instances that hold or declare something. Then it reads the balancers, for registrations of
//! instances that are out, and for orphans. Each sweep takes them in another order: a stranger may have so many that no sweep
//! gets to its end. The two are apart for two reasons. A tag may be deleted only after all of its registrations were looked
//! at together. And an instance that is out gets one tag for all that is deregistered from it at once. Each group is read
//! once: what was read for one half serves the other.
//!
//! If the time is up, the sweep ends at a boundary between two instances or balancers, and says where it goes on
//! ([`Resume`]). It keeps nothing itself: its caller calls it again. If the process dies, the next sweep begins anew,
//! and has nothing to do for what is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use protocol::{
    balancer::TargetGroupId,
    because::Because,
    call_error::CallError,
    decide,
    event::Transition,
    id::InstanceId,
    instance::{Instance, State},
    member::Member,
    observed::{Found, Reason, Standing},
    presence::{Facts, Hooks, Membership},
    registration::Registration,
    timing::{AT_ONCE, SHOWS_WITHIN, SWEEP_RESERVE},
    turn::Turn,
};
use tokio::time::Instant as MonotonicTime;

use crate::{
    aws::ec2::Described,
    balancer::{Balancers, Part, ScannedPart},
    engine::{Asked, Engine, Look, arrival::GivenBack, desired::is_wanting, give_back::look, reading::Age},
    report::Report,
};

/// Running instances that are converged between two looks at the clock.
///
/// Too small: instances of one service share fewer calls. Too large: a boundary comes too late.
pub(super) const INSTANCES_A_LOOK: usize = 100;

/// How [`Place::Balancers`] is written if no group is done yet.
const BALANCERS: &str = "balancers";

/// What stands before the number of the order.
const TURN: &str = ", order ";

/// What a sweep should do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// What it reports.
    pub detail: Detail,
    /// Where it begins; `None` at the beginning.
    pub resume: Option<Resume>,
    /// When the time is up; `None` if there is no limit.
    pub deadline: Option<MonotonicTime>,
}

/// What a sweep reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Instances that are out or hold or declare something, if there is anything to say about them.
    #[default]
    Converged,
    /// Members that wait at lifecycle hooks, too.
    Glance,
    /// The hooks of these by their names, which take a permission that functions need not have. Every registered instance
    /// of the account, too, with its health, and with what a stop would take from it. For that, all instances are read.
    All,
}

/// What a sweep did, and what it leaves to others.
#[derive(Debug)]
pub struct Swept {
    /// The report, for people.
    pub report: Report,
    /// Where to go on, if the time was up.
    pub resume: Option<Resume>,
    /// Instances that have to be looked at once more, each with how soon. No event comes again for a sweep.
    pub look_at: BTreeMap<InstanceId, Duration>,
    /// Whether anything failed that has to be tried again.
    pub has_failed: bool,
}

/// Where a sweep goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The order of its instances and of its target groups.
    pub turn: Turn,
    /// What is done.
    pub after: Place,
}

/// How far a sweep has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To this instance. After the instances come the balancers.
    Instances(InstanceId),
    /// To this target group; `None`: to the first balancer.
    Balancers(Option<TargetGroupId>),
}

impl Order {
    /// Returns the order of this sweep, which its first part draws, and how far it has come.
    fn begin(&self) -> (Turn, Option<&Place>) {
        let drawn = || Turn::of(fastrand::u32(..));
        self.resume.as_ref().map_or_else(|| (drawn(), None), |resume| (resume.turn, Some(&resume.after)))
    }

    pub(super) fn is_time_up(&self) -> bool {
        self.until().is_some_and(|until| MonotonicTime::now() >= until)
    }

    /// Returns whether there is time for work of this length.
    pub(super) fn has_time_for(&self, work: Duration) -> bool {
        self.deadline.is_none_or(|deadline| MonotonicTime::now() + work < deadline)
    }

    /// Returns when nothing more may begin.
    fn until(&self) -> Option<MonotonicTime> {
        self.deadline.map(|deadline| deadline.checked_sub(SWEEP_RESERVE).unwrap_or_else(MonotonicTime::now))
    }
}

impl Engine {
    /// Converges every instance that is out, or that holds or declares something, whether or not an event named it.
    /// Looks for orphans, too.
    ///
    /// # Errors
    /// If the instances cannot be described: nothing was done.
    pub async fn sweep(&self, order: &Order) -> Result<Swept, CallError> {
        let age = Age::new();
        let mut described = match order.detail {
            Detail::Converged | Detail::Glance => self.clients.ec2.read_for_sweep().await?,
            Detail::All => self.clients.ec2.read_all().await?,
        };
        let members = self.members_for_sweep(&mut described, order.detail).await;
        let balancers = Arc::new(self.balancers().remembering());
        let tells_all = order.detail == Detail::All;
        let asked = Asked { scope: self.scope, is_sweep: true, tells_all, ..Asked::default() };
        let mut look = self.look(self.reading_of(age, &mut described), asked);
        look.reading.keep_balancers(balancers.clone());
        match members {
            Ok(Members { kept_out, at_hooks }) => {
                look.reading.set_members(&kept_out.keys().cloned().collect(), kept_out);
                look.tell_of_hooks(at_hooks, &described, order.detail).await;
            }
            Err(error) => look.notes.sweep_call_failed(None, &error),
        }
        look.read_scope(described.instances.values()).await;
        let (turn, after) = order.begin();
        let is_left = |instance: &&Instance| !look.is_done_with(instance, order, turn, after);
        let instances: Vec<&Instance> = described.instances.values().filter(is_left).collect();
        instances.iter().for_each(|instance| look.notes.journal.seen(instance));
        let (out, running) = look.sort_by_state(&instances);
        let mut so_far = SoFar::default();
        let mut done = look.sweep_running(&running, order, (turn, after), &mut so_far).boxed().await;
        if done.is_none() {
            let seen = if order.detail == Detail::All { instances } else { out.clone() };
            let read = match after {
                Some(Place::Balancers(read)) => read.clone(),
                _ => None,
            };
            let part = Part { turn, after: read, until: order.until() };
            done = look.sweep_balancers(&seen, &out, &balancers, order, &part, &mut so_far).boxed().await;
        }
        let resume = done.map(|after| Resume { turn, after });
        if let Some(resume) = &resume {
            let why = "the time of this invocation is up; what comes after this is left";
            look.notes.journal.left(Because::of(resume, why));
        }
        look.notes.journal.looked_at(looked_at(order, out.len(), running.len(), so_far.balancers_read));
        let mut look_at = look.changed_meanwhile(&so_far);
        look_at.extend(so_far.to_be_checked());
        let (report, has_failed) = look.notes.into_report();
        Ok(Swept { report, resume, look_at, has_failed })
    }
}

impl Engine {
    /// Reads the members that their groups keep out of service, and adds those that run to what is described.
    ///
    /// No event of EventBridge tells that a member enters Standby or leaves it
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-event-reference.html>), and the event
    /// of a lifecycle action may be lost. Such a member need not hold or declare anything.
    async fn members_for_sweep(&self, described: &mut Described, detail: Detail) -> Result<Members, CallError> {
        let mut members = self.clients.auto_scaling.all_members().await?;
        let is_at_hook = |member: &Member| detail != Detail::Converged && member.lifecycle_state.is_at_hook();
        let at_hooks: Vec<(InstanceId, Member)> = members
            .iter()
            .filter(|(_, member)| is_at_hook(member))
            .map(|(id, member)| (id.clone(), member.clone()))
            .collect();
        let is_kept_out = |member: &Member| {
            let membership = Membership::of(Some(member));
            Facts { state: State::Running, membership, hooks: Hooks::default() }.presence().is_out()
        };
        members.retain(|_, member| is_kept_out(member));
        let needed = members.keys().chain(at_hooks.iter().map(|(id, _)| id));
        let unknown: BTreeSet<InstanceId> =
            needed.filter(|id| !described.instances.contains_key(*id)).cloned().collect();
        if !unknown.is_empty() {
            described.instances.extend(self.clients.ec2.read(&unknown).await?.instances);
        }
        Ok(Members { kept_out: members, at_hooks })
    }
}

/// What a sweep has read of the members of Auto Scaling groups.
struct Members {
    /// Those that their groups keep out of service.
    kept_out: BTreeMap<InstanceId, Member>,
    /// Those that wait at a lifecycle hook, if that is reported.
    at_hooks: Vec<(InstanceId, Member)>,
}

/// Says what a sweep has looked at. A sweep that found nothing says no more than this.
fn looked_at(order: &Order, out: usize, running: usize, balancers: usize) -> String {
    let running = match order.detail {
        Detail::Converged | Detail::Glance => format!("{running} that run and bear tags of elb-registrar"),
        Detail::All => format!("{running} that run"),
    };
    format!(
        "{out} instances that are out, {running}, and {balancers} balancers that could have any or that list addresses"
    )
}

/// What a sweep did so far. It has to follow this up itself, because no message comes again.
#[derive(Default)]
struct SoFar {
    /// Instances from which anything was deregistered.
    taken: BTreeSet<InstanceId>,
    given_back: GivenBack,
    balancers_read: usize,
}

impl SoFar {
    /// Returns the instances for which the sweep registered something, each with when EC2 must show whether it still
    /// ran then. The instance may have been stopped meanwhile, and the events of that stop may have found nothing.
    fn to_be_checked(&self) -> BTreeMap<InstanceId, Duration> {
        let due = self.given_back.due.iter();
        due.map(|(id, given_at)| (id.clone(), SHOWS_WITHIN.saturating_sub(given_at.elapsed()))).collect()
    }
}

impl Look<'_> {
    /// Notes which members wait at a lifecycle hook, with the hooks that it can be if all is told.
    async fn tell_of_hooks(&mut self, at_hooks: Vec<(InstanceId, Member)>, described: &Described, detail: Detail) {
        let mut hooks = BTreeMap::new();
        for (id, Member { group, lifecycle_state }) in at_hooks {
            let transition = lifecycle_state.transition().map(Transition::name);
            if detail == Detail::All && !hooks.contains_key(&group) {
                match self.engine.clients.auto_scaling.hooks(&group).await {
                    Ok(of_group) => drop(hooks.insert(group.clone(), of_group)),
                    Err(error) => self.notes.sweep_call_failed(Some(&group), &error),
                }
            }
            let of_group = hooks.get(&group).map(Vec::as_slice).unwrap_or_default();
            let is_meant = |of: &str| transition.is_none_or(|transition| of == transition);
            let names: Vec<&str> =
                of_group.iter().filter(|(_, of)| is_meant(of)).map(|(name, _)| name.as_str()).collect();
            let named = if names.is_empty() { String::new() } else { format!("; its hook: {}", names.join(" or ")) };
            let why = format!("at a lifecycle hook of the Auto Scaling group {group}, as {lifecycle_state}{named}");
            if let Some(instance) = described.instances.get(&id) {
                self.notes.journal.seen(instance);
            }
            self.notes.journal.at_hook(&id, &why);
        }
    }

    /// Returns whether an earlier part of the sweep has converged an instance. Instances that are out are part of what
    /// balancers are read for.
    fn is_done_with(&self, instance: &Instance, order: &Order, turn: Turn, after: Option<&Place>) -> bool {
        let is_told = order.detail == Detail::All;
        !self.presence(instance).is_out() && !is_told && is_behind(&instance.id, turn, after)
    }

    /// Converges running instances, a chunk at a time. Returns where to go on, if the time is up.
    async fn sweep_running(
        &mut self,
        running: &[&Instance],
        order: &Order,
        (turn, after): (Turn, Option<&Place>),
        so_far: &mut SoFar,
    ) -> Option<Place> {
        let is_left = |instance: &Instance| is_wanting(instance) && !is_behind(&instance.id, turn, after);
        let mut wanting: Vec<&Instance> = running.iter().copied().filter(|instance| is_left(instance)).collect();
        wanting.sort_by(|a, b| turn.cmp(&a.id, &b.id));
        let mut chunks = wanting.chunks(INSTANCES_A_LOOK).peekable();
        while let Some(chunk) = chunks.next() {
            let current = self.still_running(chunk).await;
            so_far.given_back.add(self.give_back(&current.iter().collect::<Vec<_>>()).await);
            if order.is_time_up() {
                let is_last = chunks.peek().is_none();
                let last = chunk.last().filter(|_| !is_last);
                return Some(last.map_or(Place::Balancers(None), |last| Place::Instances(last.id.clone())));
            }
        }
        None
    }

    /// Returns instances that changed while the sweep worked on them. The events of that change may have found nothing
    /// to do.
    ///
    /// Some were deregistered and run again, perhaps with an address that is still draining. Of others, EC2's
    /// description is known to be stale.
    fn changed_meanwhile(&self, so_far: &SoFar) -> BTreeMap<InstanceId, Duration> {
        let waits = self.notes.again().waits();
        waits
            .filter(|(id, wait)| so_far.taken.contains(*id) || *wait <= AT_ONCE)
            .map(|(id, wait)| (id.clone(), wait))
            .collect()
    }

    /// Reads instances again if their reading has become old, and leaves out those that do not run any more: they would
    /// be registered dead.
    ///
    /// Settling is still counted from the time of the first reading, because the balancers may have been read at any
    /// time since.
    pub(super) async fn still_running(&mut self, chunk: &[&Instance]) -> Vec<Instance> {
        if !self.reading.age.is_to_be_renewed() {
            return chunk.iter().copied().cloned().collect();
        }
        self.reading.running = Age::new();
        let ids = chunk.iter().map(|instance| instance.id.clone()).collect();
        let Some(described) = self.read_again(&ids).await else { return Vec::new() };
        described.instances.into_values().filter(|now| self.presence(now).is_in() && !now.is_ignored()).collect()
    }

    /// Reads balancers, as far as the time suffices. Deregisters instances that are out, reports what the other `seen`
    /// ones have, and looks for orphans. Returns where to go on.
    async fn sweep_balancers(
        &mut self,
        seen: &[&Instance],
        out: &[&Instance],
        balancers: &Balancers,
        order: &Order,
        part: &Part,
        so_far: &mut SoFar,
    ) -> Option<Place> {
        let ScannedPart { scan, addresses, stopped_after, .. } = balancers.scan_part(seen, part).await;
        so_far.balancers_read += scan.read;
        let found = self.found_by(scan, seen).await;
        let taken_out = self.take(balancers, &found, out).await;
        if taken_out.is_any {
            so_far.given_back.add(self.look_after_taking(out).await.given_back);
        }
        so_far.taken.extend(taken_out.taken.into_keys());
        if order.detail == Detail::All {
            self.tell_of_others(balancers, &found, seen).await;
        }
        self.report_orphans(&addresses, order).await;
        stopped_after.map(|group| Place::Balancers(Some(group)))
    }

    /// Adds to the report how healthy the registrations of running instances are, and which balancers have another
    /// owner.
    async fn tell_of_others(&mut self, balancers: &Balancers, found: &[Found], seen: &[&Instance]) {
        let mut by_instance: BTreeMap<&InstanceId, Vec<&Found>> = BTreeMap::new();
        for found in found {
            by_instance.entry(&found.instance).or_default().push(found);
        }
        let others: Vec<&Instance> =
            seen.iter().copied().filter(|i| !self.presence(i).is_out() && by_instance.contains_key(&i.id)).collect();
        let mut wanted: Vec<(&Instance, BTreeSet<Registration>)> = Vec::new();
        let concerned = found.iter().map(|found| found.registration.balancer.clone()).collect();
        for (instance, attached) in self.attached(balancers, &others, &concerned).await {
            for found in &by_instance[&instance.id] {
                let reason = found.owner.map(Reason::from).or_else(|| attached.reason(&found.registration));
                let reason = reason.or_else(|| decide::controller_of(instance, &found.registration));
                if let Some(reason) = reason {
                    self.notes.journal.left_alone(&instance.id, Because::of(&found.registration, reason));
                }
            }
            let own: Vec<Found> = by_instance[&instance.id].iter().map(|found| (*found).clone()).collect();
            if self.is_in_scope(instance) && !instance.is_ignored() {
                let at_a_stop = decide::take_out(instance, self.reading.at, &own, &attached);
                self.notes.journal.at_a_stop(&instance.id, &at_a_stop);
            }
            let registered = by_instance[&instance.id].iter().map(|found| found.registration.clone());
            wanted.push((instance, registered.collect()));
        }
        for (id, standings) in look(balancers, &wanted, None).await {
            for (registration, standing) in standings {
                if let Standing::InPlace(health) = standing {
                    self.notes.journal.health(&id, &registration, health);
                }
            }
        }
    }
}

/// Returns whether an instance that runs lies behind the place to which a sweep has come.
fn is_behind(id: &InstanceId, turn: Turn, after: Option<&Place>) -> bool {
    match after {
        None => false,
        Some(Place::Instances(after)) => turn.cmp(id, after).is_le(),
        Some(Place::Balancers(_)) => true,
    }
}

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.after {
            Place::Instances(after) => after.fmt(f),
            Place::Balancers(None) => f.write_str(BALANCERS),
            Place::Balancers(Some(after)) => write!(f, "tg:{after}"),
        }?;
        write!(f, "{TURN}{}", self.turn)
    }
}

impl FromStr for Resume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is neither an instance's id, nor `{BALANCERS}`, nor `tg:NAME/ID`, each with the number of its order, \
                 such as `{BALANCERS}{TURN}17`"
            )
        };
        let (place, turn) = text.split_once(TURN).ok_or_else(wrong)?;
        let after = match place.strip_prefix("tg:") {
            _ if place == BALANCERS => Place::Balancers(None),
            Some(group) => Place::Balancers(Some(group.parse().map_err(|_| wrong())?)),
            None => {
                Place::Instances(Some(InstanceId::from(place)).filter(InstanceId::is_well_formed).ok_or_else(wrong)?)
            }
        };
        Ok(Self { turn: turn.parse().map_err(|_| wrong())?, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_sweep_goes_on_is_read_as_it_was_written() {
        for text in ["i-0123456789abcdef0, order 17", "balancers, order 0", "tg:web/0123456789abcdef, order 4294967295"]
        {
            assert_eq!(text.parse::<Resume>().map(|resume| resume.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "i-1, order 1",
            "tg:, order 1",
            "tg:web, order 1",
            "clb:shop, order 1",
            "balancers",
            "balancers, order -1",
        ] {
            assert!(text.parse::<Resume>().is_err_and(|why| why.contains(text)), "{text}");
        }
    }
}
