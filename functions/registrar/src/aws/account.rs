//! The account in which the functions work.

use std::sync::{Arc, OnceLock};

/// The id of an account. It is learned from the first answer that names it: a reservation of EC2, or the ARN of a
/// target group. No call asks for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account(Arc<OnceLock<String>>);

impl Account {
    /// Notes the account that an answer names. The first one counts.
    pub(crate) fn learn(&self, id: Option<&str>) {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            self.0.get_or_init(|| id.to_owned());
        }
    }

    /// Returns the account's id; empty until an answer has named it.
    pub(crate) fn id(&self) -> &str {
        self.0.get().map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_that_names_the_account_counts() {
        let account = Account::default();
        let shared = account.clone();
        account.learn(None);
        account.learn(Some(""));
        assert_eq!(shared.id(), "");
        account.learn(Some("123456789012"));
        account.learn(Some("210987654321"));
        assert_eq!(shared.id(), "123456789012");
    }
}
