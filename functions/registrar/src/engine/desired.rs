//! What instances should have: what their tags hold, and what their tags and launch hooks declare.

use std::collections::BTreeSet;

use protocol::{
    because::Because,
    declaration::Declaration,
    held::{HeldTag, REGISTRATIONS_MAX},
    instance::Instance,
    observed::Unresolved,
    registration::Registration,
    tag,
};

use super::{Look, hints::Hints};
use crate::balancer::Balancers;

/// What an instance should have beside what its tags hold.
pub(super) struct Desired {
    pub(super) declared: BTreeSet<Registration>,
    /// Texts in its tags that do not name a registration that could be made, each with why not.
    pub(super) unnamed: Vec<Because>,
}

impl Look<'_> {
    /// Returns whether a launch hook declares anything for an instance.
    pub(super) fn hooks_declare(&self, instance: &Instance) -> bool {
        self.asked.entering.get(&instance.id).is_some_and(|declared| !declared.is_empty())
    }

    /// Counts the registrations that an instance's tags and launch hooks name.
    pub(super) fn count_named(&self, instance: &Instance) -> usize {
        let of_hooks = self.asked.entering.get(&instance.id).map_or(0, Vec::len);
        instance.held().registrations().len() + instance.declarations().len() + of_hooks
    }

    /// Reads what an instance should have beside what it holds: all that its tag and its launch hooks declare, if it
    /// can be completed.
    pub(super) async fn desired(
        &mut self,
        instance: &Instance,
        balancers: &Balancers,
        hints: &mut Hints<'_>,
    ) -> Desired {
        let mut desired = Desired { declared: BTreeSet::new(), unnamed: broken_tags(instance) };
        desired.unnamed.extend(misspelt_declarations(instance));
        let declared = instance.tags.get(tag::REGISTER).map(String::as_str).unwrap_or_default();
        let (declarations, malformed) = Declaration::all_in(declared);
        let mut misdeclared = Vec::new();
        for (text, why) in malformed {
            let why = format!("`{text}` is not a registration: {why}");
            misdeclared.push(Because::of(&format!("tag {}", tag::REGISTER), why));
        }
        let of_hooks = self.asked.entering.get(&instance.id).cloned().unwrap_or_default();
        let mut declarations: Vec<Declaration> = declarations.into_iter().chain(of_hooks).collect();
        if declarations.len() > REGISTRATIONS_MAX {
            let why = format!(
                "its tag and launch hooks declare {} registrations, and the first {REGISTRATIONS_MAX} count",
                declarations.len()
            );
            misdeclared.push(Because::all(why));
            declarations.truncate(REGISTRATIONS_MAX);
        }
        for declaration in declarations {
            match balancers.resolve(&declaration).await {
                Ok(registration) => {
                    desired.declared.insert(registration);
                }
                Err(Unresolved::Reason(reason)) => {
                    misdeclared.push(Because::of(&declaration, hints.complete(reason).await));
                }
                Err(Unresolved::Unreadable(error)) => {
                    self.notes.call_failed(&instance.id, Some(&declaration), &error);
                }
            }
        }
        for because in &misdeclared {
            self.notes.journal.needs_a_person(&instance.id, because.clone());
        }
        desired.unnamed.extend(misdeclared);
        desired
    }
}

/// Returns the texts in the held tags of an instance that are no registrations, each with what to do about it.
pub(crate) fn broken_tags(instance: &Instance) -> Vec<Because> {
    let broken = |held: HeldTag| {
        held.malformed.into_iter().map(move |(text, why)| {
            let why = format!("`{text}` is not a registration: {why}. Correct or delete it; the tag is left as it is");
            Because::of(&format!("tag {}", held.key), why)
        })
    };
    instance.held().tags.into_iter().flat_map(broken).collect()
}

/// Returns the held tags of an instance that are older than the instance itself, each with what to do about it.
pub(crate) fn copied_tags(instance: &Instance) -> Vec<Because> {
    let name = |held: HeldTag| {
        let why = "the tag is older than the instance, so it was copied from another one, and it gives nothing. Delete it; \
                   what this instance should have, declare in the tag elb-registrar:register";
        Because::of(&format!("tag {}", held.key), why)
    };
    instance.held().copied.into_iter().map(name).collect()
}

/// Returns the tags of an instance that declare something under a key that is nearly one of ours. The value decides: a
/// tag of another tool has no registration in it.
fn misspelt_declarations(instance: &Instance) -> impl Iterator<Item = Because> {
    let odd = instance.tags.iter().filter_map(|(key, value)| Some((key, value, tag::odd(key)?)));
    let declaring = odd.filter(|(_, value, _)| !Declaration::all_in(value).0.is_empty());
    declaring.map(|(key, _, odd)| Because::of(&format!("tag {key}"), odd))
}

/// Returns whether an instance should have anything, by its tags, or seems to.
pub(crate) fn is_wanting(instance: &Instance) -> bool {
    let held = instance.held();
    !held.is_empty()
        || !held.copied.is_empty()
        || instance.tags.contains_key(tag::REGISTER)
        || misspelt_declarations(instance).next().is_some()
}
