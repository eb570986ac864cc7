//! Everything that will happen by itself: a queue of deeds in the order of their time. Of two deeds with one time, the one that
//! was entered first comes first.

use std::collections::BTreeMap;

use crate::{clock::Timestamp, world::World};

type Deed = Box<dyn FnOnce(&mut World) + Send>;

/// The deeds that lie ahead.
#[derive(Default)]
pub struct Agenda {
    deeds: BTreeMap<(Timestamp, u64), Deed>,
    entered: u64,
}

impl Agenda {
    /// Enters a deed.
    pub fn enter(&mut self, at: Timestamp, deed: impl FnOnce(&mut World) + Send + 'static) {
        self.entered += 1;
        self.deeds.insert((at, self.entered), Box::new(deed));
    }

    /// Returns when the next deed is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.deeds.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, Deed)> {
        let entry = self.deeds.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let ((at, _), deed) = entry.remove_entry();
        Some((at, deed))
    }
}

impl std::fmt::Debug for Agenda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} deeds, next at {:?}", self.deeds.len(), self.next())
    }
}
