//! State changes of instances: the instances that a batch of events names are converged.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use protocol::{
    because::Because,
    call_error::CallError,
    decide::{
        self, Weight,
        storm::{Storm, Sweep},
    },
    event::Notice,
    id::InstanceId,
    instance::Instance,
};

use super::{Converged, Outcome, storm::Together};
use crate::{
    aws::ec2::Described,
    engine::{Asked, Engine, Look, notes::Notes, reading::Age},
    report::Journal,
};

/// Why the second event of a stop has nothing to do.
const SEEN_THROUGH: &str = "another event of the same stop was seen through a moment ago";

/// Why an event waits for a sweep of many instances.
const SENT_ON: &str = "many instances do the same: one sweep works on all of them together";

/// Why an event waits for a sweep of single instances.
const TAKES_LONG: &str = "there are so many target groups to read that one sweep after the other works on all instances that have stopped by then";

impl Engine {
    /// Converges the instances that some events name, or says that a sweep should be ordered for them.
    ///
    /// # Errors
    /// If the instances cannot be described: nothing was done. Everything else that fails is in the outcomes.
    pub async fn converge(&self, notices: &[Notice], together: Together) -> Result<Converged, CallError> {
        let known = |notice: &Notice| self.storms.of(notice).filter(|_| together == Together::Ordered);
        let known: Vec<Option<Storm>> = notices.iter().map(known).collect();
        let looked_at = || notices.iter().zip(&known).filter(|(_, storm)| storm.is_none()).map(|(notice, _)| notice);
        let looked_at: Vec<Notice> = looked_at().cloned().collect();
        let (mut notes, looked) = match looked_at.is_empty() {
            true => (Notes::new(Journal::new(self.mode)), Vec::new()),
            false => self.look_at(&looked_at, together).await?,
        };
        let mut looked = looked.into_iter();
        let mut outcomes = Vec::new();
        for (notice, storm) in notices.iter().zip(known) {
            outcomes.push(match storm {
                None => looked.next().unwrap_or(Outcome::Failed),
                Some(storm) => {
                    notes.waiting(&notice.instance, Because::all(SENT_ON));
                    Outcome::Together(Sweep::Storm(storm))
                }
            });
        }
        let (report, has_failed) = notes.into_report();
        Ok(Converged { report, outcomes, has_failed })
    }

    /// Looks at the instances of some events, and converges those that do not belong to a storm.
    async fn look_at(&self, notices: &[Notice], together: Together) -> Result<(Notes, Vec<Outcome>), CallError> {
        let age = Age::new();
        let named = notices.iter().map(|notice| notice.instance.clone()).collect();
        let mut described = self.clients.ec2.read(&named).await?;
        let asked = Asked { scope: self.scope, leaves_many: together == Together::Ordered, ..Asked::default() };
        let mut look = self.look(self.reading_of(age, &mut described), asked);
        look.read_scope(described.instances.values()).await;
        let weights = look.weigh(notices, &described);
        let sweeps = match together {
            Together::Here => BTreeMap::new(),
            Together::Ordered => look.sweeps(&weights, &described).await,
        };
        let storms = sweeps.iter().filter(|(storm, sweep)| **sweep == Sweep::Storm(**storm));
        storms.for_each(|(storm, _)| self.storms.remember(*storm));
        let sent_on = |notice: &Notice| {
            let state = described.instances.get(&notice.instance)?.state;
            sweeps.get(&Storm::of(state)?).copied()
        };
        let convergent = weights.iter().filter(|(_, weight)| *weight == Weight::Converge);
        let own: BTreeSet<&InstanceId> =
            convergent.filter(|(notice, _)| sent_on(notice).is_none()).map(|(notice, _)| &notice.instance).collect();
        let instances: Vec<&Instance> = own.into_iter().filter_map(|id| described.instances.get(id)).collect();
        // Boxed, or the future is too deep for the compiler's default limits in the callers that await it.
        look.converge(&instances).boxed().await;
        let mut outcomes = Vec::new();
        for (notice, weight) in &weights {
            outcomes.push(match sent_on(notice).filter(|_| *weight == Weight::Converge) {
                None => look.outcome(notice, weight),
                Some(sweep) => {
                    let why = if sweep == Sweep::Named { TAKES_LONG } else { SENT_ON };
                    look.notes.waiting(&notice.instance, Because::all(why));
                    Outcome::Together(sweep)
                }
            });
        }
        Ok((look.notes, outcomes))
    }
}

impl Look<'_> {
    pub(super) fn weigh<'n>(&mut self, notices: &'n [Notice], described: &Described) -> Vec<(&'n Notice, Weight)> {
        let mut weights = Vec::new();
        for notice in notices {
            let instance = described.instances.get(&notice.instance);
            self.notes.journal.state(&notice.instance, instance.map(|instance| instance.state));
            let weight = match decide::weigh(notice, instance, self.reading.at) {
                Weight::Converge if self.is_seen_through(notice, instance) => Weight::Nothing(SEEN_THROUGH.to_owned()),
                weight => weight,
            };
            match &weight {
                Weight::Converge => {}
                Weight::TooEarly(wait) => {
                    let why = "what EC2 says of the instance may be older than the event";
                    self.notes.waiting(&notice.instance, Because::all(why));
                    self.notes.look_again(&notice.instance, *wait);
                }
                Weight::Nothing(why) => self.notes.journal.nothing_to_do(&notice.instance, why),
            }
            weights.push((notice, weight));
        }
        weights
    }

    /// Returns whether an event tells again of a stop on which another event was worked already.
    fn is_seen_through(&self, notice: &Notice, instance: Option<&Instance>) -> bool {
        let is_known =
            |instance: &Instance| self.presence(instance).is_out() && self.engine.served.has_seen(notice, instance);
        notice.tells_of_a_stop() && instance.is_some_and(is_known)
    }

    /// Remembers the stops and starts for which nothing is left to do. What was remembered of the other instances is of an earlier one.
    fn remember_served<'i>(&self, instances: impl Iterator<Item = &'i Instance>) {
        for instance in instances {
            match self.notes.again().of(&instance.id).is_nothing() {
                true => self.engine.served.remember(instance),
                false => self.engine.served.forget_one(&instance.id),
            }
        }
    }

    pub(super) fn outcome(&self, notice: &Notice, weight: &Weight) -> Outcome {
        if let Weight::TooEarly(wait) = weight {
            return Outcome::Later(*wait);
        }
        let left = self.notes.again().of(&notice.instance);
        match left.wait.filter(|_| *weight == Weight::Converge) {
            _ if !left.failed.is_empty() => Outcome::Failed,
            _ if left.is_of_many => Outcome::Together(Sweep::Many),
            Some(wait) => Outcome::Later(wait),
            None => Outcome::Done,
        }
    }

    pub(super) async fn converge(&mut self, instances: &[&Instance]) {
        let (out, running) = self.sort_by_state(instances);
        let (many, few) = self.split_by_count(&running);
        self.give_back_together(&few).await;
        self.converge_out(&out).await;
        self.give_back_many(&many).await;
        self.remember_served(running.into_iter());
    }

    /// Takes out instances that are out, and gives back to those that run by then.
    pub(super) async fn converge_out(&mut self, out: &[&Instance]) {
        let still_out = match self.take_out(out).await.is_any {
            true => {
                // An address may move once its host is down. So the second event of the stop is not left alone.
                let looked = self.look_after_taking(out).await;
                looked.still_out.difference(&looked.may_move).cloned().collect()
            }
            false => out.iter().map(|instance| instance.id.clone()).collect::<BTreeSet<_>>(),
        };
        self.remember_served(out.iter().copied().filter(|instance| still_out.contains(&instance.id)));
    }
}
