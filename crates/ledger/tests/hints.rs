//! The ledger makes the hints that the agent's tests run in a real shell: both read `tests/agent/hints.json`.

use ledger::{CellEnd, Facts, Session, Status, Thresholds};
use serde_json::Value;

fn run(session: &mut Session, facts: &Value) -> ledger::CellRecord {
    let mut facts = facts.clone();
    facts["complete"] = true.into();
    let (facts, notice) = Facts::parse(facts.to_string().as_bytes());
    assert_eq!(notice, None);
    let mut reading = meter::Reading::default();
    reading.host.delta = Some(facts.variables.iter().map(ledger::Variable::delta).sum());
    session.close_cell(CellEnd {
        execution_count: Some(2),
        source: "the cell",
        status: Status::Ok,
        wall_s: None,
        cpu_s: None,
        overhead_s: None,
        reading,
        tier0: Facts::default(),
        tier1: Some(facts),
        notices: vec![],
    })
}

#[test]
fn the_hints_are_those_that_are_proved_in_a_real_shell() {
    let cases: Value =
        serde_json::from_str(include_str!("../../../tests/agent/hints.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let mut session = Session::new(Thresholds::default());
        for facts in case["runs"].as_array().unwrap() {
            run(&mut session, facts);
        }
        let findings = session.findings();
        assert_eq!(findings.len(), 1, "{}", case["case"]);
        assert_eq!(findings[0].cause.name(), case["cause"], "{}", case["case"]);
        assert_eq!(
            findings[0].hint,
            case["hint"].as_str().unwrap(),
            "{}",
            case["case"]
        );
    }
}
