//! Storms: many instances that stop or start together are worked on together, with one scan and one call for each balancer.

use std::{collections::BTreeSet, time::Duration};

use super::Run;
use crate::{
    config::Mode,
    decide::{self, MANY_BALANCERS, Storm},
    ec2::Reading,
    instance::{Instance, State, Timestamp},
    notice::Notice,
    registration::BalancerId,
};

/// The storms of a batch. Where nothing is done, nobody waits.
#[derive(Debug, Default)]
pub(super) struct Storms {
    stops: Storm,
    starts: Storm,
}

impl Run<'_> {
    /// Looks whether a batch is a part of a storm, and of one that is worth waiting for.
    pub(super) async fn storms(&self, notices: &[Notice], reading: &Reading) -> Storms {
        if self.registrar.mode == Mode::Observe {
            return Storms::default();
        }
        let out: Vec<&Instance> = reading.instances.values().filter(|instance| instance.state.is_out()).collect();
        let back: Vec<&Instance> = reading.instances.values().filter(|instance| is_back(instance)).collect();
        let is_growing = |is_such: fn(State) -> bool| {
            let announced = notices.iter().filter_map(|notice| notice.announced);
            let times = announced.filter(|(state, _)| is_such(*state)).map(|(_, event_time)| event_time);
            decide::is_growing(times, self.read_at_ec2)
        };
        let are_stops_worth_it = is_growing(is_first_of_a_stop) && self.are_there_many_groups(&out).await;
        let are_starts_worth_it = is_growing(|state| state == State::Running) && do_hold_many(&back);
        Storms {
            stops: Storm { instances: out.len(), is_worth_waiting_for: are_stops_worth_it },
            starts: Storm { instances: back.len(), is_worth_waiting_for: are_starts_worth_it },
        }
    }

    /// Whether so many target groups may have the instances that going through them takes long.
    async fn are_there_many_groups(&self, instances: &[&Instance]) -> bool {
        let Some(first) = instances.first() else { return false };
        // Where they cannot be listed, the scan says so.
        self.registrar.target_groups(&first.account).count(instances).await.is_ok_and(|count| count >= MANY_BALANCERS)
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

/// Whether so many balancers are given something that more of their instances are waited for. A batch shows a part of them only.
fn do_hold_many(instances: &[&Instance]) -> bool {
    let held = instances.iter().flat_map(|instance| instance.held().registrations());
    held.map(|registration| registration.balancer()).collect::<BTreeSet<BalancerId>>().len() >= MANY_BALANCERS / 4
}
