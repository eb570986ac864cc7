//! Events that come again, because something drains or failed: a new message of their queue replaces each.
//!
//! SQS counts how often it has delivered a message, whatever the reason was. A new message says itself how often the
//! work has failed. So a wait makes neither the next retry later, nor a dead letter sooner.

use std::time::Duration;

use protocol::event::Notice;

use super::back_off;
use crate::aws::queue::Queue;

/// The longest wait before work that failed is tried again. Too small: the failures that are allowed are used up before
/// a person is there. Too large: a person who has corrected something waits for it.
const FAILED_RETRY_MAX: Duration = Duration::from_secs(600);

/// How often the work on an instance may fail. It is tried for about eight hours.
const FAILURES_MAX: u32 = 50;

/// An event that comes again.
pub(super) struct Again {
    notice: Notice,
    /// `None` if the work failed: then the wait follows from the failures.
    wait: Option<Duration>,
}

impl Again {
    /// Creates the event as it comes after a wait that is no failure; without a wait, after one more failure.
    pub(super) fn after(notice: Notice, wait: Option<Duration>) -> Self {
        let failures = notice.failures.saturating_add(u32::from(wait.is_none()));
        Self { notice: Notice { failures, ..notice }, wait }
    }

    /// Returns the message and its delay; `None` if the event is a dead letter now.
    pub(super) async fn into_message(self, queue: &Queue) -> Option<(String, Duration)> {
        let failures = self.notice.failures;
        let wait = self.wait.unwrap_or_else(|| back_off(failures, FAILED_RETRY_MAX));
        if self.wait.is_none() && failures >= FAILURES_MAX {
            // If it is redriven, it begins anew.
            let plain = Notice { announced: None, failures: 0, ..self.notice.clone() };
            let why =
                format!("the work on it has failed {failures} times: put right what the log names, then redrive it");
            if queue.bury(&plain.to_order(), &why).await {
                return None;
            }
        }
        Some((self.notice.to_order(), wait))
    }
}
