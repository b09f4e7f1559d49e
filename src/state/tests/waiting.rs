//! An output that waits for another one's work.

use super::*;
use crate::event::{Applied, ApplyError, ApplyErrorKind, ApplyReport, Output};
use crate::policy::decide;

fn report(output: Output, result: Result<Applied, ApplyErrorKind>) -> Event {
    let result = result.map_err(|kind| ApplyError { kind, message: "a reason".to_owned() });
    Event::Applied(ApplyReport { output, result })
}

#[test]
fn routes_that_wait_for_the_address_of_a_port_are_tried_again_when_it_is_set_and_nothing_is_said() {
    let mut evening = Evening::at_a_venue();
    evening.tell(report(Output::Routing, Ok(Applied::Done)));
    let before = evening.state.revisions().routing;
    assert_eq!(evening.tell(report(Output::Routing, Err(ApplyErrorKind::Waiting))), []);
    assert!(!evening.state.outputs().is_well(Output::Routing), "READY has to wait too");
    assert!(
        !decide(evening.state.settings(), &evening.state).alerts.iter().any(|alert| alert.code == "gateway-routing")
    );
    evening.tell(report(Output::Link, Err(ApplyErrorKind::Failed)));
    assert_eq!(evening.state.revisions().routing, before);
    evening.tell(report(Output::Link, Ok(Applied::Link { unkept: None })));
    assert_eq!(evening.state.revisions().routing, before + 1, "looked at again at once");
    assert_eq!(evening.tell(report(Output::Routing, Ok(Applied::Done))), []);
    evening.tell(report(Output::Link, Ok(Applied::Link { unkept: None })));
    assert_eq!(evening.state.revisions().routing, before + 1, "nobody waits any more");
}
