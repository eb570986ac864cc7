//! The files in `events/`, usable as they are.

use std::{fs, path::Path};

use end_to_end::Stage;
use sandbox::events::Pattern;
use serde_json::Value;

fn files() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let mut files: Vec<(String, Value)> = fs::read_dir(folder)
        .expect("the folder events/")
        .map(|entry| entry.expect("a file").path())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a text");
            (
                path.file_stem().expect("a name").to_string_lossy().into_owned(),
                serde_json::from_str(&text).expect("JSON"),
            )
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

fn state_changes() -> Vec<(String, Value)> {
    files().into_iter().filter(|(name, _)| name.starts_with("instance-")).collect()
}

#[test]
fn there_is_one_file_for_each_documented_state_named_after_it() {
    let names: Vec<String> = state_changes().into_iter().map(|(name, _)| name).collect();
    let states = ["pending", "running", "shutting-down", "stopped", "stopping", "terminated"];
    assert_eq!(names, states.map(|state| format!("instance-{state}")));
    for (name, event) in state_changes() {
        assert_eq!(name, format!("instance-{}", event["detail"]["state"].as_str().expect("a state")));
    }
}

#[test]
fn each_file_matches_the_rule_that_is_deployed() {
    let pattern = Pattern::parse(sandbox::deployment::PATTERN).expect("a pattern");
    for (name, event) in files() {
        assert_eq!(pattern.matches(&event), name.starts_with("instance-"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_file_is_understood_by_the_function() {
    let stage = Stage::new();
    for (name, event) in files() {
        let function = if name.starts_with("instance-") { "instance-state" } else { "reconcile" };
        let report = stage.sandbox.invoke(function, event).await;
        assert!(report.is_ok(), "{name}: {report:?}");
    }
}
