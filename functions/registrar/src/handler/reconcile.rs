//! The function `reconcile`: a sweep over every instance that is out, or that holds or declares something.
//!
//! It repairs what no event told: EventBridge delivers the events of EC2 and Auto Scaling best effort, and rarely one is
//! never delivered. A sweep waits for nothing: what is not settled yet, the next one finds again.

use aws_config::SdkConfig;
use lambda_runtime::LambdaEvent;
use serde_json::Value;

use super::{Base, Failure};
use crate::{config::Config, metrics::Metrics, notice::NotUnderstood};

/// What EventBridge's schedules send.
const SCHEDULED: &str = "Scheduled Event";

/// The function, with everything of it that outlives an invocation.
pub struct Reconcile {
    base: Base,
}

impl Reconcile {
    /// The function with its clients, which are built once and kept.
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        Self { base: Base::new("reconcile", sdk, config) }
    }

    /// Sweeps, for a scheduled event as for `{}`, and answers with the report.
    ///
    /// # Errors
    /// Where the event is another one, or not everything could be done.
    pub async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, Failure> {
        let mut metrics = Metrics::default();
        let answer = self.sweep(&event.payload, &mut metrics).await;
        self.base.write(metrics);
        answer
    }

    async fn sweep(&self, event: &Value, metrics: &mut Metrics) -> Result<Value, Failure> {
        check(event).inspect_err(|_| metrics.add_not_understood(1))?;
        let report = self.base.registrar.sweep().await.inspect_err(|error| metrics.add_failure(error.reason()))?;
        metrics.add_report(&report);
        Base::answer(report)
    }
}

/// Whether a sweep is what the sender wants: an event of another kind comes from a rule that was meant for something else.
fn check(event: &Value) -> Result<(), NotUnderstood> {
    let field = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let detail_type = field("detail-type");
    match detail_type.as_str() {
        "" | SCHEDULED => Ok(()),
        _ => Err(NotUnderstood::NotScheduled { source_name: field("source"), detail_type }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scheduled_event_and_an_empty_one_start_a_sweep_and_others_do_not() {
        assert_eq!(check(&json!({})), Ok(()));
        assert_eq!(check(&Value::Null), Ok(()));
        assert_eq!(check(&json!({ "detail-type": "Scheduled Event", "source": "aws.events" })), Ok(()));
        let other = check(&json!({ "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2" }));
        assert!(other.is_err_and(|error| error.to_string().contains("`Scheduled Event`")));
    }
}
