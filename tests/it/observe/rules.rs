//! What is shipped for Prometheus and Grafana: checked by Prometheus' own tool, and against what a server tells.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::numbers::{Samples, measured};
use crate::harness::{Fixture as _, database::Kind, tool};

/// Names that Prometheus makes itself.
const ITS_OWN: [&str; 1] = ["up"];
const FUNCTIONS: &str =
    "sum by min max rate increase histogram_quantile count on or unless offset label_values";

#[test]
fn the_alerts_are_well_formed_and_do_what_they_say() {
    let folder = tool::path("deploy/prometheus");
    let promtool = || {
        let mut promtool = tool::bound("promtool");
        promtool.current_dir(&folder);
        promtool
    };
    tool::run(promtool().args(["check", "config", "prometheus.yaml"]));
    tool::run(promtool().args(["check", "rules", "alerts.yaml"]));
    tool::run(promtool().args(["test", "rules", "alerts_test.yaml"]));
    let alerts = std::fs::read_to_string(folder.join("alerts.yaml")).unwrap();
    let tests = std::fs::read_to_string(folder.join("alerts_test.yaml")).unwrap();
    for alert in alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let tested = format!("alertname: {alert}");
        assert!(tests.contains(&tested), "{alert} is not tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_as_promtool_wants_them_and_all_that_is_asked_for_is_there() {
    let (server, port) = measured(Kind::Sqlite, &[]).await;
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    ann.send(&ben, "something to count").await;
    let samples = Samples::read(port).await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: ./test installs what the tests need");
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(samples.text.as_bytes()).unwrap();
    drop(input);
    let checked = promtool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && told.is_empty(), "{told}");

    let given: BTreeSet<&str> = samples
        .text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect();
    for expression in expressions() {
        let names = names(&expression);
        assert!(!names.is_empty(), "{expression} asks for nothing");
        for name in names {
            assert!(
                given.contains(name.as_str()) || ITS_OWN.contains(&name.as_str()),
                "{name}, of {expression}, is none of {given:?}"
            );
        }
    }
    let manual = std::fs::read_to_string(tool::path("docs/observe.md")).unwrap();
    for line in samples.text.lines() {
        let Some(named) = line.strip_prefix("# TYPE ") else {
            continue;
        };
        let name = named.split(' ').next().unwrap();
        assert!(
            manual.contains(&format!("`{name}`")),
            "docs/observe.md does not tell of {name}"
        );
    }
    server.finish().await;
}

/// Every expression of the alerts and of the dashboard.
fn expressions() -> Vec<String> {
    let alerts = std::fs::read_to_string(tool::path("deploy/prometheus/alerts.yaml")).unwrap();
    let alerts = alerts.replace(">-\n", "");
    let mut found: Vec<String> = alerts
        .split("expr:")
        .skip(1)
        .map(|rest| {
            let end = ["\n        for:", "\n        labels:"];
            let end = end.iter().filter_map(|end| rest.find(end)).min();
            rest[..end.unwrap()].trim().to_owned()
        })
        .collect();
    assert!(found.len() > 5, "{found:?}");
    let dashboard = tool::path("deploy/grafana/directmessages.json");
    let dashboard = std::fs::read_to_string(dashboard).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        found.extend(
            targets
                .iter()
                .map(|target| target["expr"].as_str().unwrap().to_owned()),
        );
    }
    found
}

/// The metrics that an expression names: its words outside of labels, times and groupings.
fn names(expression: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let mut depth = 0;
    let mut previous = String::new();
    let mut grouping = false;
    for c in expression.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            '(' if ["by", "on"].contains(&previous.as_str()) => grouping = true,
            ')' if grouping => grouping = false,
            _ if depth == 0 && !grouping => plain.push(c),
            _ => {}
        }
        match c {
            c if c.is_alphanumeric() || c == '_' => previous.push(c),
            ' ' if ["by", "on"].contains(&previous.as_str()) => {}
            _ => previous.clear(),
        }
        if depth == 0 && !plain.ends_with(c) {
            plain.push(' ');
        }
    }
    let words = plain.split(|c: char| !c.is_alphanumeric() && c != '_');
    words
        .filter(|word| word.chars().next().is_some_and(char::is_alphabetic))
        .filter(|word| !FUNCTIONS.split(' ').any(|function| function == *word))
        .map(str::to_owned)
        .collect()
}
