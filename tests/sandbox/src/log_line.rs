//! A function's log line, as a person reads it: the JSON that it writes for CloudWatch, turned into a sentence.
//!
//! A line that is not such JSON (a panic, a word of the runtime) is passed on as it is.

use std::fmt;

use serde_json::Value;

/// One sentence of a function, about one or more registrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The instance that it is about.
    pub instance: Option<String>,
    /// The action or the observation, such as `deregistered`.
    pub message: String,
    /// The registrations, or another thing that was named.
    pub subjects: Vec<String>,
    /// The reason.
    pub why: Option<String>,
    /// Whether it is a warning or an error.
    pub is_alarming: bool,
}

impl LogLine {
    /// Reads a line. A metric (CloudWatch's embedded metric format) says nothing to a person.
    pub fn of(line: &str) -> Option<Self> {
        match serde_json::from_str::<Value>(line) {
            Ok(fields) if fields.get("_aws").is_some() => None,
            Ok(fields) if fields.is_object() => Some(Self::of_fields(&fields)),
            _ => Some(Self {
                instance: None,
                message: line.trim_end().to_owned(),
                subjects: Vec::new(),
                why: None,
                is_alarming: true,
            }),
        }
    }

    fn of_fields(fields: &Value) -> Self {
        let text = |name: &str| fields[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let level = text("level").unwrap_or_default();
        let report = Some(&fields["report"]).filter(|report| report.is_object());
        Self {
            instance: text("instance"),
            message: [text("message"), text("result").filter(|result| result != "none")]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
            subjects: text("registration").or_else(|| text("what")).map(|what| short(&what)).into_iter().collect(),
            why: text("why")
                .map(|why| short_in(&why))
                .or_else(|| text("health"))
                .or_else(|| report.and_then(looks_again)),
            is_alarming: matches!(level.as_str(), "WARN" | "ERROR"),
        }
    }

    /// Returns whether it only says that a run is over, with no work left.
    pub fn is_mere_end(&self) -> bool {
        self.message == "converged" && self.why.is_none()
    }

    /// Takes in the next line, if it differs only in the registration. Returns whether it did.
    pub fn absorb(&mut self, next: &Self) -> bool {
        let is_like = self.is_like(next);
        if is_like {
            self.subjects.extend(next.subjects.iter().cloned());
        }
        is_like
    }

    fn is_like(&self, other: &Self) -> bool {
        let parts = |line: &Self| (line.instance.clone(), line.message.clone(), line.why.clone(), line.is_alarming);
        !self.subjects.is_empty() && !other.subjects.is_empty() && parts(self) == parts(other)
    }
}

/// Writes it without the instance, which the reader may know by another name.
impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.subjects.is_empty() {
            write!(f, " {}", self.subjects.join(", "))?;
        }
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// Returns a registration without the parts that only a machine needs: `tg:web/00000000000000aa:8080` becomes `web:8080`. Of a
/// target group, its name is left.
fn short(registration: &str) -> String {
    if let Some(name) = registration.strip_prefix("clb:") {
        return name.to_owned();
    }
    let group = || {
        let (name, rest) = registration.strip_prefix("tg:")?.split_once('/')?;
        let target = rest.split_once(':').map(|(_id, target)| format!(":{target}")).unwrap_or_default();
        Some(format!("{name}{target}"))
    };
    group().unwrap_or_else(|| registration.to_owned())
}

/// Returns a sentence with its registrations made short.
fn short_in(sentence: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([':', ';', ',']);
        format!("{}{}", short(bare), &word[bare.len()..])
    };
    sentence.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Returns the time of the next look, if a report has one.
fn looks_again(report: &Value) -> Option<String> {
    let instances = report["instances"].as_object()?.values();
    let soonest = instances.filter_map(|instance| instance["look_again_in_seconds"].as_u64()).min()?;
    Some(format!("the event is parked, to look again in {soonest} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> LogLine {
        LogLine::of(line).expect("a line for people")
    }

    fn said(line: &str) -> String {
        read(line).to_string()
    }

    #[test]
    fn an_action_is_told_with_its_registration_and_its_reason() {
        let line = read(
            r#"{"timestamp":"2026-01-05T08:00:00Z","level":"INFO","message":"deregistered","instance":"i-1",
                "registration":"tg:edge/00000000000000aa:443=eth0","why":"the instance is stopping"}"#,
        );
        assert_eq!(line.to_string(), "deregistered edge:443=eth0: the instance is stopping");
        assert_eq!((line.instance.as_deref(), line.is_alarming), (Some("i-1"), false));
    }

    #[test]
    fn a_registration_in_place_is_told_with_its_health() {
        let line = r#"{"level":"INFO","message":"in place","registration":"clb:shop","health":"healthy"}"#;
        assert_eq!(said(line), "in place shop: healthy");
    }

    #[test]
    fn the_end_of_a_lifecycle_action_is_told_with_its_result() {
        let line = |result| format!(r#"{{"message":"lifecycle action","hook":"h","result":"{result}","why":"w"}}"#);
        assert_eq!(said(&line("CONTINUE")), "lifecycle action CONTINUE: w");
        assert_eq!(said(&line("none")), "lifecycle action: w");
    }

    #[test]
    fn registrations_in_a_sentence_are_named_without_ids() {
        let line = |why| format!(r#"{{"message":"lifecycle action","result":"none","why":"{why}"}}"#);
        let said = |why| said(&line(why));
        assert_eq!(
            said("tg:app/00000000000000b8:80=eth0: just registered"),
            "lifecycle action: app:80=eth0: just registered"
        );
        assert_eq!(
            said("tg:app/00000000000000b8: it drains; clb:shop: held"),
            "lifecycle action: app: it drains; shop: held"
        );
    }

    #[test]
    fn a_remark_on_the_whole_instance_names_no_registration() {
        let line = r#"{"level":"INFO","message":"left alone","instance":"i-1","what":"","why":"it is starting"}"#;
        assert_eq!(said(line), "left alone: it is starting");
    }

    #[test]
    fn an_end_tells_the_time_of_the_next_look() {
        let again = r#"{"message":"converged","report":{"instances":{"i-1":{"look_again_in_seconds":105},"i-2":{}}}}"#;
        assert_eq!(said(again), "converged: the event is parked, to look again in 105 s");
        assert!(!read(again).is_mere_end());
        assert!(read(r#"{"message":"converged","report":{"instances":{"i-1":{}}}}"#).is_mere_end());
    }

    #[test]
    fn a_line_that_is_no_json_is_passed_on_and_alarms() {
        let line = read("thread 'main' panicked\n");
        assert_eq!((line.to_string().as_str(), line.is_alarming), ("thread 'main' panicked", true));
    }

    #[test]
    fn a_line_absorbs_the_next_one_that_differs_in_the_registration_alone() {
        let line = |message: &str, registration: &str, why: &str| {
            read(&format!(r#"{{"message":"{message}","registration":"{registration}","why":"{why}"}}"#))
        };
        let mut held = line("held", "clb:a", "w");
        assert!(held.absorb(&line("held", "clb:b", "w")));
        assert!(!held.absorb(&line("held", "clb:c", "another reason")));
        assert!(!held.absorb(&line("registered", "clb:c", "w")));
        assert_eq!(held.to_string(), "held a, b: w");
    }

    #[test]
    fn ends_of_two_runs_stay_two_lines() {
        let end = || read(r#"{"message":"converged","report":{"instances":{}}}"#);
        assert!(!end().absorb(&end()));
    }

    #[test]
    fn a_metric_is_nothing_for_people() {
        assert_eq!(LogLine::of(r#"{"_aws":{"Timestamp":1},"TakenOut":3}"#), None);
    }
}
