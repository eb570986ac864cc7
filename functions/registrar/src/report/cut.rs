//! Reports that are larger than the place that they go to: an answer is cut, and the log gets a report in parts.

use serde_json::{Map, Value, json};

/// The most bytes of an answer. Lambda takes 6,291,556 (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>,
/// "Invocation payload"), and makes a failure of an invocation that answers more.
pub const ANSWER_MAX: usize = 6_000_000;

/// The most bytes of a report in a line of the log. CloudWatch takes 1 MB
/// (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>), and took 256 KB until 2025.
///
/// Too small: more lines. Too large: CloudWatch cuts the line, and its JSON is none any more.
pub const LINE_MAX: usize = 200_000;

/// The parts of a report that grow with the account.
const INSTANCES: &str = "instances";
const LISTS: [&str; 2] = ["failed", "orphans"];

/// The parts of an instance's report that name something to mend.
const URGENT: [&str; 4] = ["failed", "needs_a_person", "let_go", "wrong"];

/// Leaves out of a report what an answer of `most` bytes has no room for, and says where that is. Instances of which there
/// is something to mend stay longest.
pub fn fit(report: Value, most: usize) -> Value {
    if bytes(&report) <= most {
        return report;
    }
    let Value::Object(mut head) = report else { return report };
    let Some(Value::Object(instances)) = head.remove(INSTANCES) else { return Value::Object(head) };
    let lists: Vec<(&str, Vec<Value>)> =
        LISTS.into_iter().filter_map(|name| Some((name, list(head.remove(name)?)))).collect();
    // For the sentence, the names of the lists, and what is between their entries.
    let mut room = most.saturating_sub(bytes(&Value::Object(head.clone())) + 1_000);
    let mut take = |entry: usize| {
        let fits = entry <= room;
        room = if fits { room - entry } else { 0 };
        fits
    };
    let (mut left_out, mut kept_instances) = (0, Map::new());
    let is_urgent = |instance: &Value| URGENT.iter().any(|part| !instance[*part].is_null());
    for (name, entries) in lists {
        let all = entries.len();
        let kept: Vec<Value> = entries.into_iter().take_while(|entry| take(bytes(entry) + 1)).collect();
        left_out += all - kept.len();
        head.insert(name.to_owned(), kept.into());
    }
    let (urgent, others): (Vec<_>, Vec<_>) = instances.into_iter().partition(|(_, instance)| is_urgent(instance));
    for (id, instance) in urgent.into_iter().chain(others) {
        match take(id.len() + bytes(&instance) + 4) {
            true => drop(kept_instances.insert(id, instance)),
            false => left_out += 1,
        }
    }
    head.insert(INSTANCES.to_owned(), kept_instances.into());
    let why = format!(
        "{left_out} entries are left out, since an answer has room for {most} bytes: the function's log has the whole report, in \
         the lines with the message `converged`"
    );
    head.insert("cut".to_owned(), why.into());
    Value::Object(head)
}

/// Returns a report in parts of `most` bytes at the most, each a report of some of its entries; an entry that is larger is a
/// part of its own. A report that fits is one part, as it is.
pub fn lines(report: Value, most: usize) -> Vec<Value> {
    if bytes(&report) <= most {
        return vec![report];
    }
    let Value::Object(mut head) = report else { return vec![report] };
    let mut entries: Vec<(&str, Option<String>, Value)> = Vec::new();
    for name in LISTS {
        entries.extend(head.remove(name).map(list).unwrap_or_default().into_iter().map(|entry| (name, None, entry)));
    }
    if let Some(Value::Object(instances)) = head.remove(INSTANCES) {
        entries.extend(instances.into_iter().map(|(id, instance)| (INSTANCES, Some(id), instance)));
    }
    let begin = bytes(&Value::Object(head.clone())) + 200;
    let (mut parts, mut part, mut size) = (Vec::new(), head.clone(), begin);
    for (name, id, entry) in entries {
        let entry_size = bytes(&entry) + id.as_deref().map_or(1, |id| id.len() + 4);
        if size + entry_size > most && size > begin {
            parts.push(std::mem::replace(&mut part, head.clone()));
            size = begin;
        }
        size += entry_size;
        match id {
            Some(id) => part.entry(name).or_insert_with(|| json!({}))[id] = entry,
            None => {
                if let Value::Array(list) = part.entry(name).or_insert_with(|| json!([])) {
                    list.push(entry);
                }
            }
        }
    }
    parts.push(part);
    let all = parts.len();
    let numbered = parts.into_iter().zip(1..).map(|(mut part, number)| {
        part.insert("part".to_owned(), format!("{number} of {all}").into());
        Value::Object(part)
    });
    numbered.collect()
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        value => vec![value],
    }
}

fn bytes(value: &Value) -> usize {
    value.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a report of as many instances, of which every hundredth needs a person, and as many orphans.
    fn report(count: usize) -> Value {
        let instance = |number: usize| match number % 100 {
            99 => json!({ "state": "running", "needs_a_person": [{ "why": "a tag is broken" }] }),
            _ => json!({ "state": "running", "registered": ["clb:shop", "tg:web/0123456789abcdef:80"] }),
        };
        let instances: Map<String, Value> =
            (0..count).map(|number| (format!("i-{number:017}"), instance(number))).collect();
        let orphans: Vec<Value> = (0..count).map(|number| json!({ "why": format!("orphan {number}") })).collect();
        json!({ "mode": "enforce", "instances": instances, "orphans": orphans, "left": { "why": "later" } })
    }

    #[test]
    fn a_report_that_fits_is_answered_as_it_is() {
        assert_eq!(fit(report(10), ANSWER_MAX), report(10));
        assert_eq!(lines(report(10), LINE_MAX), [report(10)]);
    }

    #[test]
    fn a_report_that_does_not_fit_keeps_what_needs_a_person() {
        let (most, whole) = (100_000, report(2_000));
        let cut = fit(whole.clone(), most);
        assert!(bytes(&whole) > most && bytes(&cut) <= most, "{} {}", bytes(&whole), bytes(&cut));
        let instances = cut["instances"].as_object().expect("instances");
        let needy = instances.values().filter(|instance| !instance["needs_a_person"].is_null()).count();
        assert_eq!((needy, &cut["mode"], &cut["left"]), (20, &json!("enforce"), &whole["left"]));
        let kept = instances.len() + cut["orphans"].as_array().expect("a list").len();
        let why = cut["cut"].as_str().expect("a sentence");
        assert!(why.starts_with(&format!("{} entries are left out", 4_000 - kept)), "{why}");
    }

    #[test]
    fn the_log_gets_every_entry_once_in_lines_that_fit() {
        let (most, whole) = (10_000, report(500));
        let parts = lines(whole.clone(), most);
        assert!(parts.len() > 3 && parts.iter().all(|part| bytes(part) <= most));
        assert_eq!(parts[0]["part"], format!("1 of {}", parts.len()));
        let mut instances = Map::new();
        let mut orphans = Vec::new();
        for part in &parts {
            assert_eq!((&part["mode"], &part["left"]), (&whole["mode"], &whole["left"]));
            instances.extend(part["instances"].as_object().cloned().unwrap_or_default());
            orphans.extend(part["orphans"].as_array().cloned().unwrap_or_default());
        }
        assert_eq!(
            (Value::from(instances), Value::from(orphans)),
            (whole["instances"].clone(), whole["orphans"].clone())
        );
    }

    #[test]
    fn an_entry_larger_than_a_line_is_a_part_of_its_own() {
        let large = json!({ "mode": "enforce", "instances": { "i-1": { "state": "running" }, "i-2": { "why": "x".repeat(900) } } });
        let parts = lines(large, 500);
        assert_eq!(parts.len(), 2);
        assert!(parts[1]["instances"]["i-2"].is_object(), "{parts:?}");
    }
}
