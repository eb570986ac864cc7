//! Metrics in CloudWatch's embedded metric format: log lines from which CloudWatch makes metrics, without a call.
//!
//! Source: CloudWatch user guide, "Specification: Embedded metric format"
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>). A metric
//! that is 0 is left out: each costs money while it has values. So the template's alarms that look at more than one period fill in
//! the 0 themselves.

use std::collections::BTreeMap;

use protocol::{decide::orphan::Fate, member::ActionResult, time::Timestamp};
use serde_json::{Map, Value, json};

use crate::{
    aws::call_watch::Counted,
    report::{Action, ActionReport, Deed, FailureReason, InstanceReport, Report},
};

/// The namespace of the metrics in CloudWatch.
const NAMESPACE: &str = "elb-registrar";

/// Values of one metric in a document, a limit of the format. More of them need more documents.
const VALUES_MAX: usize = 100;

/// The stack and function that write the metrics.
#[derive(Clone, Debug)]
pub struct Source {
    /// The stack, which tells two of them in one account apart.
    pub stack: String,
    /// The function, such as `instance-state`.
    pub function: &'static str,
}

/// What is measured of one invocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    counts: BTreeMap<&'static str, u64>,
    failed: BTreeMap<FailureReason, u64>,
    seconds_to_out: Vec<u64>,
    seconds_to_back: Vec<u64>,
    seconds_to_healthy: Vec<u64>,
    seconds_to_drained: Vec<u64>,
}

impl Metrics {
    /// Adds what became of some instances.
    pub fn add_report(&mut self, report: &Report) {
        for instance in report.instances.values() {
            self.add_instance(instance);
        }
        let pruned = report.orphans.iter().filter(|orphan| orphan.fate == Fate::Pruned).count();
        self.add("Orphans", report.orphans.iter().filter(|orphan| orphan.fate.is_orphaned()).count() as u64);
        self.add("Pruned", pruned as u64);
        let would_prune = report.orphans.iter().filter(|orphan| orphan.fate == Fate::WouldPrune).count();
        self.add("WouldPrune", would_prune as u64);
        report.failed.iter().for_each(|failed| self.add_failure(failed.reason));
    }

    fn add_instance(&mut self, instance: &InstanceReport) {
        let of = |deeds: &[Deed], action| deeds.iter().filter(|deed| deed.action == action).count();
        let actions =
            |is_it: &dyn Fn(&ActionReport) -> bool| instance.lifecycle_actions.iter().filter(|a| is_it(a)).count();
        let unhealthy = match instance.done.iter().any(|deed| deed.action == Action::Forget) {
            true => instance.health.values().filter(|health| !health.is_healthy()).count(),
            false => 0,
        };
        for (name, count) in [
            ("TakenOut", of(&instance.done, Action::Deregister)),
            ("GivenBack", of(&instance.done, Action::Register)),
            ("WouldTakeOut", of(&instance.would_do, Action::Deregister)),
            ("WouldGiveBack", of(&instance.would_do, Action::Register)),
            ("HeldWhileRunning", instance.held_while_running),
            ("Unhealthy", unhealthy),
            ("Waiting", instance.waiting.len()),
            ("LetGo", instance.let_go.len()),
            ("NeedsAPerson", instance.needs_a_person.len()),
            ("Failed", instance.failed.len()),
            ("ActionsContinued", actions(&|action| action.result == Some(ActionResult::Continue))),
            ("ActionsAbandoned", actions(&|action| action.result == Some(ActionResult::Abandon))),
            ("ActionsGivenUp", actions(&|action| action.is_given_up)),
        ] {
            self.add(name, count as u64);
        }
        for failed in &instance.failed {
            *self.failed.entry(failed.reason).or_default() += 1;
        }
        self.seconds_to_out.extend(instance.seconds_to_out);
        self.seconds_to_back.extend(instance.seconds_to_back);
        self.seconds_to_healthy.extend(instance.seconds_to_healthy);
        self.seconds_to_drained.extend(instance.seconds_to_drained);
    }

    /// Adds calls that were made.
    ///
    /// It counts denied calls, and not the failures in reports. Some work goes on without a permission, only less well,
    /// and the operator should hear of that, too.
    pub fn add_calls(&mut self, counted: Counted) {
        self.add("Calls", counted.calls);
        self.add("CallsThrottled", counted.throttled);
        if counted.denied > 0 {
            self.failed.insert(FailureReason::Denied, counted.denied);
        }
    }

    /// Adds a sweep that came to its end, or to the end of its time.
    pub fn add_sweep(&mut self) {
        self.add("Sweeps", 1);
    }

    /// Adds events that were not understood.
    pub fn add_not_understood(&mut self, events: usize) {
        self.add("NotUnderstood", events as u64);
    }

    /// Adds a failure that is no instance's own: nothing at all could be read.
    pub fn add_failure(&mut self, reason: FailureReason) {
        self.add("Failed", 1);
        *self.failed.entry(reason).or_default() += 1;
    }

    fn add(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            *self.counts.entry(name).or_default() += count;
        }
    }

    /// Returns what is counted, by its name.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Returns the documents, each of them a line of the log.
    pub fn documents(&self, source: &Source, at: Timestamp) -> Vec<Value> {
        let counts = self.counts.iter().map(|(name, count)| (*name, "Count", json!(count)));
        let seconds = [
            ("SecondsToOut", &self.seconds_to_out),
            ("SecondsToBack", &self.seconds_to_back),
            ("SecondsToHealthy", &self.seconds_to_healthy),
            ("SecondsToDrained", &self.seconds_to_drained),
        ];
        let most = seconds.iter().map(|(_, values)| values.len().div_ceil(VALUES_MAX)).max().unwrap_or_default();
        let part = |number: usize| {
            let parts =
                seconds.iter().filter_map(move |(name, values)| Some((*name, values.chunks(VALUES_MAX).nth(number)?)));
            parts.map(|(name, values)| (name, "Seconds", json!(values)))
        };
        // The first hundred values come with the counts, and each further hundred in a document of its own.
        let main: Vec<_> = counts.chain(part(0)).collect();
        // CloudWatch refuses a document without a metric.
        let main = (!main.is_empty()).then(|| document(source, at, None, main));
        let more = (1..most).map(|number| document(source, at, None, part(number).collect()));
        let failed = self
            .failed
            .iter()
            .map(|(reason, count)| document(source, at, Some(*reason), vec![("Failed", "Count", json!(count))]));
        main.into_iter().chain(more).chain(failed).collect()
    }

    /// Writes the documents to the standard output, where Lambda's log is.
    #[expect(clippy::print_stdout, reason = "a metric is a bare line of the log, without what a subscriber adds")]
    pub fn write(&self, source: &Source, at: Timestamp) {
        for document in self.documents(source, at) {
            println!("{document}");
        }
    }
}

fn document(source: &Source, at: Timestamp, reason: Option<FailureReason>, metrics: Vec<(&str, &str, Value)>) -> Value {
    let mut dimensions = vec!["Stack", "Function"];
    let mut fields = Map::new();
    fields.insert("Stack".into(), json!(source.stack));
    fields.insert("Function".into(), json!(source.function));
    if let Some(reason) = reason {
        dimensions.push("Reason");
        fields.insert("Reason".into(), json!(reason));
    }
    let named: Vec<Value> = metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    fields.extend(metrics.into_iter().map(|(name, _, value)| (name.to_owned(), value)));
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": named });
    fields.insert("_aws".into(), json!({ "Timestamp": at.timestamp_millis(), "CloudWatchMetrics": [directive] }));
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use protocol::{because::Because, call_error::CallError, registration::Registration};

    use super::*;
    use crate::{config::Mode, report::Journal, testing::at};

    #[test]
    fn deeds_and_failures_become_metrics_by_stack_function_and_reason() {
        let mut journal = Journal::new(Mode::Enforce);
        let (id, registration) = ("i-1".into(), Registration::classic("shop"));
        journal.deed(&id, Action::Deregister, &registration, "");
        journal.seconds_to_out(&id, Some(7));
        let code = "AccessDenied".to_owned();
        journal.call_failed(&id, None, &CallError::Refused { action: "X", code, message: String::new() });
        journal.waiting(&id, Because::all("later"));
        let mut metrics = Metrics::default();
        metrics.add_report(&journal.into_report());
        metrics.add_calls(Counted { calls: 9, throttled: 0, denied: 2 });

        let documents = metrics.documents(&Source { stack: "prod".into(), function: "instance-state" }, at(0));
        assert_eq!(documents.len(), 2);
        let (main, denied) = (&documents[0], &documents[1]);
        for (name, value) in [("TakenOut", json!(1)), ("Failed", json!(1)), ("Waiting", json!(1)), ("Calls", json!(9))]
        {
            assert_eq!(main[name], value, "{name}");
        }
        assert_eq!((&main["SecondsToOut"], &main["CallsThrottled"]), (&json!([7]), &Value::Null));
        assert_eq!((&denied["Reason"], &denied["Failed"]), (&json!("Denied"), &json!(2)));
        let directive = &denied["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["Stack", "Function", "Reason"]]));
        assert_eq!(directive["Namespace"], "elb-registrar");
        assert_eq!(main["_aws"]["Timestamp"], at(0).timestamp_millis());
    }

    #[test]
    fn every_instance_counts_and_a_document_has_a_hundred_values() {
        let mut journal = Journal::new(Mode::Enforce);
        for number in 0..250 {
            journal.seconds_to_out(&format!("i-{number}").as_str().into(), Some(number));
        }
        journal.seconds_to_back(&"i-1".into(), Some(7));
        let mut metrics = Metrics::default();
        metrics.add_report(&journal.into_report());
        let documents = metrics.documents(&Source { stack: "s".into(), function: "reconcile" }, at(0));
        let of = |name: &str| -> Vec<u64> {
            let lists = documents.iter().filter_map(|document| document[name].as_array());
            assert!(lists.clone().all(|list| !list.is_empty() && list.len() <= 100));
            lists.flatten().filter_map(Value::as_u64).collect()
        };
        let mut seconds = of("SecondsToOut");
        seconds.sort_unstable();
        assert_eq!((seconds, of("SecondsToBack")), ((0..250).collect(), vec![7]));
        let named = |document: &Value| document["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().map(Vec::len);
        assert_eq!(documents.iter().map(named).collect::<Vec<_>>(), [Some(2), Some(1), Some(1)]);
    }

    #[test]
    fn in_observe_what_would_be_done_is_counted_apart() {
        let mut journal = Journal::new(Mode::Observe);
        let (id, registration) = ("i-1".into(), Registration::classic("shop"));
        for action in [Action::Hold, Action::Deregister, Action::Deregister, Action::Register] {
            journal.deed(&id, action, &registration, "");
        }
        journal.held_while_running(&id, 3);
        let mut metrics = Metrics::default();
        metrics.add_report(&journal.into_report());
        let main = metrics.documents(&Source { stack: "s".into(), function: "reconcile" }, at(0)).remove(0);
        for (name, value) in [("WouldTakeOut", 2), ("WouldGiveBack", 1), ("HeldWhileRunning", 3)] {
            assert_eq!(main[name], json!(value), "{name}");
        }
        assert_eq!((&main["TakenOut"], &main["GivenBack"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn nothing_to_measure_is_nothing_to_write() {
        let source = Source { stack: "s".into(), function: "reconcile" };
        assert_eq!(Metrics::default().documents(&source, at(0)), Vec::<Value>::new());
    }

    #[test]
    fn every_metric_that_a_document_names_has_a_value_in_it() {
        let mut metrics = Metrics::default();
        metrics.add_calls(Counted { calls: 3, throttled: 1, denied: 0 });
        metrics.add_not_understood(2);
        metrics.add_failure(FailureReason::Unanswered);
        for document in metrics.documents(&Source { stack: "s".into(), function: "reconcile" }, at(0)) {
            let directive = &document["_aws"]["CloudWatchMetrics"][0];
            let named = directive["Metrics"].as_array().unwrap();
            assert!(
                !named.is_empty() && named.iter().all(|metric| document[metric["Name"].as_str().unwrap()].is_number())
            );
        }
    }
}
