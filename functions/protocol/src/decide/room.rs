//! Room for what is held: an instance can have 50 tags, and its operator may have used most of them.
//!
//! If there is twice the room that all of it needs, all is held at once. Should it have to be held again, that fits, too.
//! If there is less, each wave holds its own registrations just before they are deregistered. Then nothing is held
//! twice unless the process dies. What does not fit stays registered.
//!
//! An operator who may register at one target group can register an instance there on a hundred ports. So if there is no room
//! for all, what the instance's tags declare comes first, and then the balancers with the fewest registrations of the
//! instance. Others cannot crowd these out with a balancer of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::{TakeOut, take_out::Written};
use crate::{
    balancer::BalancerId,
    held::{HeldTag, REGISTRATIONS_MAX, tags_needed},
    registration::{Registration, count_by_balancer},
    time::Timestamp,
    timing::SETTLE,
};

impl TakeOut {
    /// Returns what should be written into tags before a wave is deregistered. It is empty if nothing has to be
    /// written, or if nothing fits. Tags are filled up with registrations of the `following` waves.
    pub fn next_to_hold<'w>(
        &self,
        wave: &BTreeSet<BalancerId>,
        following: impl IntoIterator<Item = &'w BTreeSet<BalancerId>>,
    ) -> BTreeSet<Registration> {
        let mut next = self.unheld_of(wave);
        if next.is_empty() {
            return next;
        }
        if self.fits_twice() {
            return self.hold.clone();
        }
        let touched: Vec<&HeldTag> = self.superseded_with_any(&next).collect();
        next = self.with_touched(next);
        if self.fits(&next) {
            return self.filled_up(next, following);
        }
        // A tag that is written anew makes room for the next one.
        let moved = touched.iter().map(|tag| tag.registrations.iter().cloned().collect::<BTreeSet<_>>());
        if let Some(moved) = moved.into_iter().find(|registrations| self.fits(registrations)) {
            return moved;
        }
        let (mut some, ranks) = (BTreeSet::new(), self.ranks());
        let mut ranked: Vec<Registration> = self.unheld_of(wave).into_iter().collect();
        ranked.sort_by_key(|registration| ranks.get(&registration.balancer).copied());
        for registration in ranked {
            some.insert(registration.clone());
            if !self.fits(&some) {
                some.remove(&registration);
            }
        }
        some
    }

    /// Returns whether there is room for all that has to be held.
    pub fn has_room(&self) -> bool {
        self.fits(&self.hold)
    }

    /// Returns a rank for each balancer: how many registrations of the instance have to be deregistered from it, or 0 if the
    /// instance's tag declares it. The smaller ranks come first if there is no room for all.
    pub fn ranks(&self) -> BTreeMap<BalancerId, usize> {
        let counts = count_by_balancer(self.take.iter().map(|(registration, _)| registration));
        let mut ranks: BTreeMap<BalancerId, usize> =
            counts.into_iter().map(|(balancer, count)| (balancer.clone(), count)).collect();
        ranks.extend(self.declared.iter().map(|balancer| (balancer.clone(), 0)));
        ranks
    }

    fn fits(&self, registrations: &BTreeSet<Registration>) -> bool {
        tags_needed(registrations) <= self.room && self.held + registrations.len() <= REGISTRATIONS_MAX
    }

    /// Returns older tags that can be deleted before a wave's tags are written, because there is no room for both.
    ///
    /// All that they hold is still registered, or is held by another tag that stays: two invocations have held it. They
    /// are so old that no invocation deregisters anything because of them. So if the process dies after their deletion,
    /// nothing is lost.
    pub fn in_the_way(&self, wave: &BTreeSet<BalancerId>, now: Timestamp) -> Vec<HeldTag> {
        let next = self.unheld_of(wave);
        if next.is_empty() || self.fits_twice() || self.fits(&self.with_touched(next)) {
            return Vec::new();
        }
        let has_settled = |tag: &HeldTag| tag.taken_at(now).is_none_or(|taken_at| taken_at + SETTLE <= now);
        let is_in_place = |tag: &HeldTag| tag.registrations.iter().all(|registration| self.takes(registration));
        let (mut in_the_way, mut others): (Vec<&HeldTag>, Vec<&HeldTag>) =
            self.superseded.iter().partition(|tag| has_settled(tag) && is_in_place(tag));
        let mut index = 0;
        while index < others.len() {
            let rest = others.iter().enumerate().filter(|(other, _)| *other != index);
            let rest: BTreeSet<&Registration> = rest.flat_map(|(_, tag)| &tag.registrations).collect();
            let is_doubled = others[index].registrations.iter().all(|registration| rest.contains(registration));
            match is_doubled && has_settled(others[index]) {
                true => in_the_way.push(others.remove(index)),
                false => index += 1,
            }
        }
        in_the_way.into_iter().cloned().collect()
    }

    /// Notes that some older tags are deleted.
    pub fn note_deleted(&mut self, deleted: &[HeldTag]) {
        self.superseded.retain(|tag| !deleted.iter().any(|other| other.key == tag.key));
        self.room += deleted.len();
    }

    /// Notes that registrations were written into new tags with some keys, as decided at `taken_at`. Returns the older
    /// tags that say nothing more.
    pub fn note_held(&mut self, held: &BTreeSet<Registration>, keys: Vec<String>, taken_at: Timestamp) -> Vec<HeldTag> {
        self.room = self.room.saturating_sub(keys.len());
        self.held += held.len();
        self.written.push(Written { keys, taken_at, registrations: held.clone() });
        self.hold.retain(|registration| !held.contains(registration));
        let is_covered = |tag: &HeldTag| !tag.registrations.iter().any(|registration| self.hold.contains(registration));
        let (covered, left) = std::mem::take(&mut self.superseded).into_iter().partition(is_covered);
        self.superseded = left;
        covered
    }

    /// Returns the registrations of a wave that have to be held before they are deregistered.
    pub fn unheld_of(&self, wave: &BTreeSet<BalancerId>) -> BTreeSet<Registration> {
        let taken = self.take.iter().map(|(registration, _)| registration);
        let own = taken.filter(|taken| wave.contains(&taken.balancer) && self.hold.contains(*taken));
        own.cloned().collect()
    }

    /// Adds everything that older tags hold which have any of some registrations.
    fn with_touched(&self, mut next: BTreeSet<Registration>) -> BTreeSet<Registration> {
        let touched = self.superseded_with_any(&next).flat_map(|tag| tag.registrations.iter().cloned());
        let touched: Vec<Registration> = touched.collect();
        next.extend(touched);
        next
    }

    fn fits_twice(&self) -> bool {
        tags_needed(&self.hold) * 2 <= self.room && self.has_room()
    }

    fn superseded_with_any(&self, of: &BTreeSet<Registration>) -> impl Iterator<Item = &HeldTag> {
        self.superseded.iter().filter(|tag| tag.registrations.iter().any(|registration| of.contains(registration)))
    }

    /// Adds registrations of the waves that follow, as many as need no further tag. Those of a wave that comes much later
    /// would have to be held again by then.
    fn filled_up<'w>(
        &self,
        mut next: BTreeSet<Registration>,
        following: impl IntoIterator<Item = &'w BTreeSet<BalancerId>>,
    ) -> BTreeSet<Registration> {
        let tags = tags_needed(&next);
        for other in following.into_iter().flat_map(|wave| self.unheld_of(wave)) {
            let is_new = next.insert(other.clone());
            if is_new && (tags_needed(&next) > tags || !self.fits(&next)) {
                next.remove(&other);
                break;
            }
        }
        next
    }
}
