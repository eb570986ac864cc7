//! State changes of instances: what a batch of events named is converged.

use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt;
use protocol::{
    because::Because,
    call_error::CallError,
    decide::{self, Weight, storm::Storm},
    event::Notice,
    id::InstanceId,
    instance::Instance,
};
use tokio::time::Instant as MonotonicTime;

use super::{Converged, Outcome, storm::Together};
use crate::{
    aws::ec2::Reading,
    engine::{Registrar, Run},
    report::Recorder,
};

/// Why the second event of a stop has nothing to do.
const SEEN_THROUGH: &str = "another event of the same stop was seen through a moment ago";

/// Why an event is sent on.
const SENT_ON: &str = "many instances do the same: one sweep works on all of them together";

impl Registrar {
    /// Converges the instances that some events named, or says that a sweep should be ordered for them.
    ///
    /// # Errors
    /// Where the instances cannot be described: nothing was done. Everything else that fails is in the outcomes.
    pub async fn converge(&self, notices: &[Notice], together: Together) -> Result<Converged, CallError> {
        let known = |notice: &Notice| self.storms.of(notice).filter(|_| together == Together::Ordered);
        let known: Vec<Option<Storm>> = notices.iter().map(known).collect();
        let looked_at = || notices.iter().zip(&known).filter(|(_, storm)| storm.is_none()).map(|(notice, _)| notice);
        let looked_at: Vec<Notice> = looked_at().cloned().collect();
        let (mut recorder, looked) = match looked_at.is_empty() {
            true => (Recorder::new(self.mode), Vec::new()),
            false => self.look(&looked_at, together).await?,
        };
        let mut looked = looked.into_iter();
        let mut outcomes = Vec::new();
        for (notice, storm) in notices.iter().zip(known) {
            outcomes.push(match storm {
                None => looked.next().unwrap_or(Outcome::Failed),
                Some(storm) => {
                    recorder.waiting(&notice.instance, Because::all(SENT_ON));
                    Outcome::Together(storm)
                }
            });
        }
        Ok(Converged { report: recorder.into_report(), outcomes })
    }

    /// Looks at the instances of some events, and converges those that do not belong to a storm.
    async fn look(&self, notices: &[Notice], together: Together) -> Result<(Recorder, Vec<Outcome>), CallError> {
        let read_at = MonotonicTime::now();
        let named = notices.iter().map(|notice| notice.instance.clone()).collect();
        let reading = self.clients.ec2.read(&named).await?;
        let mut run = self.run(read_at, &reading);
        let weights = run.weigh(notices, &reading);
        let storms = match together {
            Together::Here => BTreeSet::new(),
            Together::Ordered => run.storms(&weights, &reading).await,
        };
        storms.iter().for_each(|storm| self.storms.remember(*storm));
        let sent_on = |notice: &Notice| {
            let state = reading.instances.get(&notice.instance)?.state;
            Storm::of(state).filter(|storm| storms.contains(storm))
        };
        let convergent = weights.iter().filter(|(_, weight)| *weight == Weight::Converge);
        let own: BTreeSet<&InstanceId> =
            convergent.filter(|(notice, _)| sent_on(notice).is_none()).map(|(notice, _)| &notice.instance).collect();
        let instances: Vec<&Instance> = own.into_iter().filter_map(|id| reading.instances.get(id)).collect();
        // Boxed, or the future is too deep for the compiler's default limits in whoever awaits it.
        run.converge(&instances).boxed().await;
        let mut outcomes = Vec::new();
        for (notice, weight) in &weights {
            outcomes.push(match sent_on(notice).filter(|_| *weight == Weight::Converge) {
                None => run.outcome(notice, weight),
                Some(storm) => {
                    run.recorder.waiting(&notice.instance, Because::all(SENT_ON));
                    Outcome::Together(storm)
                }
            });
        }
        Ok((run.recorder, outcomes))
    }
}

impl Run<'_> {
    pub(super) fn weigh<'n>(&mut self, notices: &'n [Notice], reading: &Reading) -> Vec<(&'n Notice, Weight)> {
        let mut weights = Vec::new();
        for notice in notices {
            let instance = reading.instances.get(&notice.instance);
            self.recorder.instance(&notice.instance).state = instance.map(|instance| instance.state);
            let weight = match decide::weigh(notice, instance, self.read_at_ec2) {
                Weight::Converge if self.is_seen_through(notice, instance) => Weight::Nothing(SEEN_THROUGH),
                weight => weight,
            };
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

    /// Whether an event tells once more what another one told of the same stop.
    fn is_seen_through(&self, notice: &Notice, instance: Option<&Instance>) -> bool {
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

    pub(super) fn outcome(&self, notice: &Notice, weight: &Weight) -> Outcome {
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

    pub(super) async fn converge(&mut self, instances: &[&Instance]) {
        let (out, running) = self.sort_by_state(instances);
        self.give_back(&running).await;
        if self.take_out(&out).await {
            self.look_after_taking(&out).await;
        }
        self.remember_stops(&out);
    }
}
