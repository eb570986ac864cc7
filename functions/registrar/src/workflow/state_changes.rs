//! State changes of instances: what a batch of events named is converged.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use protocol::{
    because::Because,
    call_error::CallError,
    decide::{self, Weight},
    event::Notice,
    id::InstanceId,
    instance::{Instance, State},
};

use super::{Converged, Outcome, storm::Storms};
use crate::{
    aws::ec2::Described,
    engine::{
        Asked, Engine, Look,
        reading::{Age, Reading},
    },
};

/// Why the second event of a stop has nothing to do.
const SEEN_THROUGH: &str = "another event of the same stop was seen through a moment ago";

impl Engine {
    /// Converges the instances that some events named.
    ///
    /// # Errors
    /// Where the instances cannot be described: nothing was done. Everything else that fails is in the outcomes.
    pub async fn converge(&self, notices: &[Notice]) -> Result<Converged, CallError> {
        let age = Age::new();
        let named = notices.iter().map(|notice| notice.instance.clone()).collect();
        let described = self.clients.ec2.read(&named).await?;
        let asked = Asked { scope: self.scope, ..Asked::default() };
        let mut look = self.look(Reading::new(age, &described), asked);
        let storms = look.storms(notices, &described).await;
        let weights = look.weigh(notices, &described, &storms);
        let convergent = weights.iter().filter(|(_, weight)| *weight == Weight::Converge);
        let named: BTreeSet<&InstanceId> = convergent.map(|(notice, _)| &notice.instance).collect();
        let mut instances: Vec<&Instance> = named.iter().filter_map(|id| described.instances.get(*id)).collect();
        instances.extend(storms.joined.iter().filter(|joined| !named.contains(&joined.id)));
        // Boxed, or the future is too deep for the compiler's default limits in whoever awaits it.
        look.converge(&instances, &described).boxed().await;
        let outcomes = weights.iter().map(|(notice, weight)| look.outcome(notice, weight)).collect();
        let (report, has_failed) = look.notes.into_report();
        Ok(Converged { report, outcomes, has_failed })
    }
}

impl Look<'_> {
    fn weigh<'n>(
        &mut self,
        notices: &'n [Notice],
        described: &Described,
        storms: &Storms,
    ) -> Vec<(&'n Notice, Weight)> {
        let mut weights = Vec::new();
        for notice in notices {
            let instance = described.instances.get(&notice.instance);
            self.notes.journal.state(&notice.instance, instance.map(|instance| instance.state));
            let weight = self.weigh_one(notice, instance, storms);
            match &weight {
                Weight::Converge => {}
                Weight::TooEarly(wait) => {
                    let why = "what EC2 says of the instance may be older than the event";
                    self.notes.waiting(&notice.instance, Because::all(why));
                    self.notes.look_again(&notice.instance, *wait);
                }
                Weight::Gather(wait) => {
                    let why = "many instances do the same: all of them are worked on together";
                    self.notes.waiting(&notice.instance, Because::all(why));
                    self.notes.look_again(&notice.instance, *wait);
                }
                Weight::Nothing(why) => self.notes.journal.nothing_to_do(&notice.instance, why),
            }
            weights.push((notice, weight));
        }
        weights
    }

    /// Weighs an event by itself, and as one of a storm.
    fn weigh_one(&self, notice: &Notice, instance: Option<&Instance>, storms: &Storms) -> Weight {
        let weight = decide::weigh(notice, instance, self.reading.at);
        if weight != Weight::Converge {
            return weight;
        }
        if self.is_seen_through(notice, instance) {
            return Weight::Nothing(SEEN_THROUGH);
        }
        storms.wait_of(notice, instance, self.reading.at).map_or(Weight::Converge, Weight::Gather)
    }

    /// Whether an event tells once more what another one told of the same stop.
    pub(super) fn is_seen_through(&self, notice: &Notice, instance: Option<&Instance>) -> bool {
        let tells_of_a_stop = notice.announced.is_some_and(|(state, _)| state.is_out());
        let is_known = |instance: &Instance| instance.state.is_out() && self.engine.stops.knows(instance);
        tells_of_a_stop && instance.is_some_and(is_known)
    }

    /// Remembers the stops of which nothing is left to do, by the states that EC2 told last.
    fn remember_stops(&self, out: &[&Instance], states: &BTreeMap<InstanceId, State>) {
        for instance in out {
            let is_out = states.get(&instance.id).is_some_and(|state| state.is_out());
            if is_out && self.notes.again().of(&instance.id).is_nothing() {
                self.engine.stops.remember(instance);
            }
        }
    }

    fn outcome(&self, notice: &Notice, weight: &Weight) -> Outcome {
        if let Weight::TooEarly(wait) | Weight::Gather(wait) = weight {
            return Outcome::Later(*wait);
        }
        let left = self.notes.again().of(&notice.instance);
        match left.wait.filter(|_| *weight == Weight::Converge) {
            _ if !left.failed.is_empty() => Outcome::Failed,
            Some(wait) => Outcome::Later(wait),
            None => Outcome::Done,
        }
    }

    async fn converge(&mut self, instances: &[&Instance], named: &Described) {
        let (out, running) = self.sort_by_state(instances);
        self.give_back(&running).await;
        let mut states: BTreeMap<InstanceId, State> =
            named.instances.values().map(|instance| (instance.id.clone(), instance.state)).collect();
        if self.take_out(&out).await.is_any {
            states.extend(self.look_after_taking(&out).await.states);
        }
        self.remember_stops(&out, &states);
    }
}
