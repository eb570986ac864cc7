//! What an operator may have meant by a balancer that does not exist.

use protocol::{
    names::{Name, hint},
    observed::Reason,
};

use crate::balancer::Balancers;

/// Hints for one look. Each compares a name with all others, and an operator of another team can make up thousands.
const HINTS_MAX: usize = 20;

/// The names that exist, listed once, and only if a name is looked up.
pub(crate) struct Hints<'k> {
    balancers: &'k Balancers,
    names: Option<Vec<Name>>,
    given: usize,
}

impl<'k> Hints<'k> {
    pub(crate) fn new(balancers: &'k Balancers) -> Self {
        Self { balancers, names: None, given: 0 }
    }

    /// Adds what the operator may have meant to a reason that names a missing balancer. Other reasons stay as they are.
    pub(crate) async fn complete(&mut self, reason: Reason) -> Reason {
        match reason {
            Reason::NoSuchBalancer { sought, name, .. } if self.given < HINTS_MAX => {
                self.given += 1;
                let hint = hint(sought, &name, self.names().await);
                Reason::NoSuchBalancer { sought, name, hint }
            }
            reason => reason,
        }
    }

    async fn names(&mut self) -> &[Name] {
        if self.names.is_none() {
            let mut names = Vec::new();
            for listed in self.balancers.names().await {
                match listed {
                    Ok(listed) => names.extend(listed),
                    // The name is wrong all the same. It is only not known to which name it is near.
                    Err(error) => tracing::warn!(why = error.to_sentence(), "names unknown"),
                }
            }
            self.names = Some(names);
        }
        self.names.as_deref().unwrap_or_default()
    }
}
