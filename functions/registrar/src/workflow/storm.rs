//! Storms: many instances that stop or start together are worked on together, with one scan and one call for each balancer.
//!
//! A storm comes in several batches, of which Lambda gives one process some and another one others. So each batch asks EC2 who else
//! there is, and all come to the same: who waits, and which of them works on all. Nothing depends on it but time, since whoever waits
//! has its event still.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use protocol::{
    call_error::CallError,
    decide::{self, Course, FEW_OF_A_STORM, MANY_BALANCERS, PART_OF_A_STORM, Storm},
    event::Notice,
    id::InstanceId,
    instance::{Instance, State},
    registration::BalancerId,
    time::Timestamp,
};

use crate::{aws::ec2::Reading, config::Mode, engine::Run};

/// The storms of a batch. Where nothing is done, nobody waits.
#[derive(Debug, Default)]
pub(super) struct Storms {
    stops: Storm,
    starts: Storm,
    /// Instances of other batches that this one works on, too, since it leads.
    pub(super) joined: Vec<Instance>,
}

/// What a batch has of a storm.
struct Part<'b> {
    /// Instances whose state is such.
    instances: Vec<&'b Instance>,
    /// What its first events are about, and when that happened.
    events: BTreeMap<&'b InstanceId, Timestamp>,
}

impl Run<'_> {
    /// Looks whether a batch is a part of a storm, and what shall become of it.
    pub(super) async fn storms(&self, notices: &[Notice], reading: &Reading) -> Storms {
        if self.registrar.mode == Mode::Observe {
            return Storms::default();
        }
        let part = |is_such: fn(&Instance) -> bool, is_told: fn(State) -> bool| Part {
            instances: reading.instances.values().filter(|instance| is_such(instance)).collect(),
            events: notices
                .iter()
                .filter_map(|notice| Some((&notice.instance, notice.announced?)))
                .filter(|(_, (state, _))| is_told(*state))
                .map(|(id, (_, event_time))| (id, event_time))
                .collect(),
        };
        // What tells of a stop after its first event, and nobody has seen through.
        let has_later_ones = notices.iter().any(|notice| {
            let is_later = notice.announced.is_some_and(|(state, _)| state.is_out() && !is_first_of_a_stop(state));
            is_later && !self.is_seen_through(notice, reading.instances.get(&notice.instance))
        });
        let mut storms = Storms::default();
        let stops = part(|instance| instance.state.is_out(), is_first_of_a_stop);
        storms.stops.instances = stops.instances.len();
        storms.stops.course = self.course_of_stops(&stops, has_later_ones, &mut storms.joined).await;
        let starts = part(is_back, |state| state == State::Running);
        storms.starts.instances = starts.instances.len();
        storms.starts.course = self.course_of_starts(&starts, &mut storms.joined).await;
        storms
    }

    /// How a storm of stops goes on. Those whose events are in another batch, or still on their way, are seen at EC2: each batch has a
    /// part of the storm only, and all have to come to the same.
    async fn course_of_stops(&self, part: &Part<'_>, has_later_ones: bool, joined: &mut Vec<Instance>) -> Course {
        let (now, event_times) = (self.read_at_ec2, part.event_times());
        let is_part = event_times.len() >= PART_OF_A_STORM;
        let is_late = part.instances.len() >= FEW_OF_A_STORM
            && (has_later_ones || event_times.iter().any(|event_time| decide::has_waited(*event_time, now)));
        if !(is_part || is_late) || !self.are_there_many_groups(&part.instances).await {
            return Course::Small;
        }
        let mut others = part.others(self.registrar.clients.ec2.read_out().await);
        // A fleet that stops has nothing to do with builders of software that are terminated all the time, nor with who was seen
        // to be registered nowhere.
        others.retain(|other| {
            let is_alike = part.instances.iter().any(|own| own.state.is_dying() == other.state.is_dying());
            is_alike && !self.registrar.stops.knows(other)
        });
        let stop_times: Vec<Timestamp> = others.iter().filter_map(|other| other.stop_time).collect();
        others.retain(|other| other.stop_time.is_some_and(|time| decide::is_of_present_storm(time, now)));
        let of_others = others.iter().filter_map(|other| other.stop_time);
        if !decide::is_dense(event_times.iter().copied().chain(of_others).collect()) {
            return Course::Small;
        }
        let own_holders = part.instances.iter().filter(|own| holds_since_its_stop(own)).count();
        if !is_part {
            // A few that come late: somebody is at work on their storm, or there is none.
            let holders = own_holders + others.iter().filter(|other| holds_since_its_stop(other)).count();
            return if holders >= PART_OF_A_STORM { Course::Following } else { Course::Small };
        }
        let mut course = part.course(decide::count_young(&stop_times, now), &others, now);
        if course == Course::Following {
            course = decide::follow(&event_times, own_holders, now);
        }
        if course == Course::Leading {
            // On whom something is held, somebody works already.
            joined.extend(others.into_iter().filter(|other| !holds_since_its_stop(other)));
        }
        course
    }

    /// The same for starts. Who is starting has its event still to come.
    async fn course_of_starts(&self, part: &Part<'_>, joined: &mut Vec<Instance>) -> Course {
        if part.events.len() < PART_OF_A_STORM || !do_hold_many(&part.instances) {
            return Course::Small;
        }
        let now = self.read_at_ec2;
        let others = part.others(self.registrar.clients.ec2.read_holders_up().await);
        let (running, starting): (Vec<Instance>, Vec<Instance>) = others.into_iter().partition(is_back);
        let is_of_storm =
            |other: &Instance| other.launch_time.is_some_and(|time| decide::is_of_present_storm(time, now));
        let others: Vec<Instance> = running.into_iter().filter(is_of_storm).collect();
        let course = part.course(starting.len(), &others, now);
        if course == Course::Leading {
            joined.extend(others);
        }
        course
    }

    /// Whether so many target groups may have the instances that going through them takes long.
    async fn are_there_many_groups(&self, instances: &[&Instance]) -> bool {
        let Some(first) = instances.first() else { return false };
        // Where they cannot be listed, the scan says so.
        self.registrar.target_groups(&first.account).count(instances).await.is_ok_and(|count| count >= MANY_BALANCERS)
    }
}

impl Part<'_> {
    /// The instances of a reading that the batch has no first events of. Where they cannot be read, each batch is worked on for itself.
    fn others(&self, reading: Result<Reading, CallError>) -> Vec<Instance> {
        match reading {
            Ok(reading) => {
                reading.instances.into_values().filter(|other| !self.events.contains_key(&other.id)).collect()
            }
            Err(error) => {
                tracing::info!(why = error.to_sentence(), "nobody knows who else is a part of the storm");
                Vec::new()
            }
        }
    }

    fn event_times(&self) -> Vec<Timestamp> {
        self.events.values().copied().collect()
    }

    /// How the storm goes on, of which so many others are about to come, and of which others are in other batches.
    fn course(&self, coming: usize, others: &[Instance], now: Timestamp) -> Course {
        if decide::is_growing(&self.event_times(), coming, now) {
            return Course::Growing;
        }
        let own = self.events.iter().filter(|(_, event_time)| decide::is_of_present_storm(**event_time, now));
        match decide::leads(own.map(|(id, _)| *id), others.iter().map(|other| &other.id)) {
            true => Course::Leading,
            false => Course::Following,
        }
    }
}

impl Storms {
    /// How long an event waits for the others of its storm.
    pub(super) fn wait_of(&self, notice: &Notice, instance: Option<&Instance>, now: Timestamp) -> Option<Duration> {
        let (announced, instance) = notice.announced.zip(instance)?;
        match announced.0 {
            state if state.is_out() && instance.state.is_out() => decide::gather(self.stops, announced, now),
            State::Running if is_back(instance) => decide::gather(self.starts, announced, now),
            _ => None,
        }
    }
}

fn is_first_of_a_stop(state: State) -> bool {
    matches!(state, State::Stopping | State::ShuttingDown)
}

fn is_back(instance: &Instance) -> bool {
    instance.state == State::Running && !instance.held().is_empty()
}

/// Whether somebody has held something of an instance for its present stop.
fn holds_since_its_stop(instance: &Instance) -> bool {
    let tags = instance.held().tags;
    instance.stop_time.is_some_and(|stop| tags.iter().any(|tag| tag.taken_at.is_some_and(|taken_at| taken_at >= stop)))
}

/// Whether so many balancers are given something that more of their instances are waited for. A batch shows a part of them only.
fn do_hold_many(instances: &[&Instance]) -> bool {
    let held = instances.iter().flat_map(|instance| instance.held().registrations());
    held.map(|registration| registration.balancer()).collect::<BTreeSet<BalancerId>>().len() >= MANY_BALANCERS / 4
}
