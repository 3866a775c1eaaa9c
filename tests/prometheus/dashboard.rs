//! The dashboard's shape: its rows, a data source that can be chosen, panels that neither overlap nor ask for nonsense. How it looks,
//! only a Grafana could tell.

use crate::stage::{self, DASHBOARD};
use serde_json::Value;
use std::collections::BTreeSet;

const ROWS: [&str; 6] = ["Verdict", "Routes", "Cache", "IAM", "Rejections", "Process, configuration age, certificates"];

fn dashboard() -> Value {
    serde_json::from_str(&stage::text(DASHBOARD)).unwrap()
}

#[test]
fn six_rows_in_the_order_in_which_one_looks() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<&str> = panels.iter().filter(|p| p["type"] == "row").map(|p| p["title"].as_str().unwrap()).collect();
    assert_eq!(rows, ROWS);
    assert_eq!(panels[0]["type"], "row");
    assert!(panels.windows(2).all(|two| two[0]["type"] != "row" || two[1]["type"] != "row"), "no row is empty");
}

#[test]
fn every_panel_asks_the_data_source_that_was_chosen() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&Value::from("datasource"), &Value::from("datasource")));
    let chosen = serde_json::json!({ "type": "prometheus", "uid": "${datasource}" });
    for variable in &variables[1..] {
        assert_eq!(variable["datasource"], chosen, "{}", variable["name"]);
    }
    let names: BTreeSet<&str> = variables.iter().map(|v| v["name"].as_str().unwrap()).collect();
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|p| p["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(panel["datasource"] == chosen && !targets.is_empty(), "{}", panel["title"]);
        assert!(targets.iter().all(|t| t["datasource"] == chosen), "{}", panel["title"]);
    }
    for (title, expr) in stage::dashboard_asks() {
        let asked = expr.split('$').skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap());
        for variable in asked.filter(|v| *v != "__rate_interval") {
            assert!(names.contains(variable), "{title}: there is no variable {variable}");
        }
        assert_eq!(expr.matches("job=~\"$job\"").count(), expr.matches("namespace=~\"$namespace\"").count(), "{title}");
    }
}

#[test]
fn panels_have_numbers_of_their_own_and_do_not_overlap() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(!title.is_empty() && ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies over another panel");
        }
    }
}

/// promtool reads expressions in rules only: each becomes one.
#[test]
fn promtool_can_read_every_expression() {
    let record =
        |(n, (_, expr)): (usize, (String, String))| serde_json::json!({ "record": format!("a:b{n}"), "expr": stage::filled(&expr) });
    let rules: Vec<Value> = stage::dashboard_asks().into_iter().enumerate().map(record).collect();
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    // JSON is YAML.
    std::fs::write(file.path(), serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string()).unwrap();
    if let Some(said) = stage::tool("promtool", &["check", "rules", file.path().to_str().unwrap()]) {
        stage::good(&said);
    }
}
