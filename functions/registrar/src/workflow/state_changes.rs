//! State changes of instances: what a batch of events named is converged.

use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt;
use protocol::{
    because::Because,
    call_error::CallError,
    decide::{self, Weight},
    event::Notice,
    id::InstanceId,
    instance::Instance,
};
use tokio::time::Instant as MonotonicTime;

use super::{Converged, Outcome, storm::Storms};
use crate::{
    aws::ec2::Reading,
    engine::{Registrar, Run},
};

/// Why the second event of a stop has nothing to do.
const SEEN_THROUGH: &str = "another event of the same stop was seen through a moment ago";

impl Registrar {
    /// Converges the instances that some events named.
    ///
    /// # Errors
    /// Where the instances cannot be described: nothing was done. Everything else that fails is in the outcomes.
    pub async fn converge(&self, notices: &[Notice]) -> Result<Converged, CallError> {
        let read_at = MonotonicTime::now();
        let named = notices.iter().map(|notice| notice.instance.clone()).collect();
        let reading = self.clients.ec2.read(&named).await?;
        let mut run = self.run(read_at, &reading);
        let storms = run.storms(notices, &reading).await;
        let weights = run.weigh(notices, &reading, &storms);
        let convergent = weights.iter().filter(|(_, weight)| *weight == Weight::Converge);
        let named: BTreeSet<&InstanceId> = convergent.map(|(notice, _)| &notice.instance).collect();
        let mut instances: Vec<&Instance> = named.iter().filter_map(|id| reading.instances.get(*id)).collect();
        instances.extend(storms.joined.iter().filter(|joined| !named.contains(&joined.id)));
        // Boxed, or the future is too deep for the compiler's default limits in whoever awaits it.
        run.converge(&instances).boxed().await;
        let outcomes = weights.iter().map(|(notice, weight)| run.outcome(notice, weight)).collect();
        Ok(Converged { report: run.recorder.into_report(), outcomes })
    }
}

impl Run<'_> {
    fn weigh<'n>(&mut self, notices: &'n [Notice], reading: &Reading, storms: &Storms) -> Vec<(&'n Notice, Weight)> {
        let mut weights = Vec::new();
        for notice in notices {
            let instance = reading.instances.get(&notice.instance);
            self.recorder.instance(&notice.instance).state = instance.map(|instance| instance.state);
            let weight = self.weigh_one(notice, instance, storms);
            match &weight {
                Weight::Converge => {}
                Weight::TooEarly(wait) => {
                    let why = "what EC2 says of the instance may be older than the event";
                    self.recorder.waiting(&notice.instance, Because::all(why));
                    self.recorder.look_again(&notice.instance, *wait);
                }
                Weight::Gather(wait) => {
                    let why = "many instances do the same: all of them are worked on together";
                    self.recorder.waiting(&notice.instance, Because::all(why));
                    self.recorder.look_again(&notice.instance, *wait);
                }
                Weight::Nothing(why) => self.recorder.nothing_to_do(&notice.instance, why),
            }
            weights.push((notice, weight));
        }
        weights
    }

    /// Weighs an event by itself, and as one of a storm.
    fn weigh_one(&self, notice: &Notice, instance: Option<&Instance>, storms: &Storms) -> Weight {
        let weight = decide::weigh(notice, instance, self.read_at_ec2);
        if weight != Weight::Converge {
            return weight;
        }
        if self.is_seen_through(notice, instance) {
            return Weight::Nothing(SEEN_THROUGH);
        }
        storms.wait_of(notice, instance, self.read_at_ec2).map_or(Weight::Converge, Weight::Gather)
    }

    /// Whether an event tells once more what another one told of the same stop.
    pub(super) fn is_seen_through(&self, notice: &Notice, instance: Option<&Instance>) -> bool {
        let tells_of_a_stop = notice.announced.is_some_and(|(state, _)| state.is_out());
        let is_known = |instance: &Instance| instance.state.is_out() && self.registrar.stops.knows(instance);
        tells_of_a_stop && instance.is_some_and(is_known)
    }

    /// Remembers the stops of which nothing is left to do.
    fn remember_stops(&self, out: &[&Instance]) {
        let parts = &self.recorder.report().instances;
        for instance in out {
            let is_over = parts.get(&instance.id).is_some_and(|part| {
                let is_open = part.look_again_in_seconds.is_some() || !part.waiting.is_empty();
                part.state.is_some_and(|state| state.is_out()) && part.failed.is_empty() && !is_open
            });
            if is_over {
                self.registrar.stops.remember(instance);
            }
        }
    }

    fn outcome(&self, notice: &Notice, weight: &Weight) -> Outcome {
        if let Weight::TooEarly(wait) | Weight::Gather(wait) = weight {
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
        let (out, running) = self.sort_by_state(instances);
        self.give_back(&running).await;
        if self.take_out(&out).await {
            self.look_after_taking(&out).await;
        }
        self.remember_stops(&out);
    }
}
