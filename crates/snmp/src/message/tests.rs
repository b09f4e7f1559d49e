//! Requests of snmpd, and invalid ones.

use super::*;
use crate::mib::ROOT;
use agentx::encodings::{SearchRange, SearchRangeList};
use agentx::pdu::{CommitSet, Get, GetBulk, GetNext, TestSet};
use bramblegate_api::status::{Node, NodeHealth, Snapshot};
use proptest::prelude::*;

const SESSION: u32 = 7;

fn tree(count: usize) -> Tree {
    let nodes = (0..count).map(|number| Node {
        name: format!("n{number}").into(),
        health: NodeHealth::Up.into(),
        ..Node::default()
    });
    Tree::new(Some(&Snapshot { nodes: nodes.collect(), ..Snapshot::default() }))
}

fn of(below: &[u32]) -> ID {
    mib::id(&[ROOT.as_slice(), below].concat()).unwrap()
}

fn ranges(starts: &[&[u32]]) -> SearchRangeList {
    let ranges = starts.iter().map(|start| SearchRange::new(of(start), of(&[3])));
    SearchRangeList(ranges.collect())
}

/// Passes a message through `take` and `answer`.
fn ask(mut bytes: Vec<u8>, tree: &Tree) -> Result<Option<Response>, Broken> {
    let (header, payload) = take(&mut bytes)?.expect("a whole message");
    assert!(bytes.is_empty());
    let answer = answer(&header, &payload, SESSION, tree)?;
    Ok(answer.map(|bytes| Response::from_bytes(&bytes).unwrap()))
}

fn data(response: Result<Option<Response>, Broken>) -> Vec<VarBind> {
    let response = response.unwrap().unwrap();
    assert_eq!(response.res_error, ResError::NoAgentXError);
    response.vb.unwrap().0
}

macro_rules! with_session {
    ($message:expr) => {{
        let mut message = $message;
        message.header.session_id = SESSION;
        message.header.packet_id = 3;
        message.to_bytes().unwrap()
    }};
}

#[test]
fn both_byte_orders_are_read() {
    for flags in [0, 1 << NETWORK_BYTE_ORDER] {
        let mut get = Get::new(ranges(&[&[1, 1, 8, 0]]));
        get.header.flags = flags;
        let response = ask(with_session!(get), &tree(0)).unwrap().unwrap();
        assert_eq!((response.header.session_id, response.header.packet_id), (SESSION, 3));
        let values = response.vb.unwrap().0;
        assert_eq!((&values[0].name, &values[0].data), (&of(&[1, 1, 8, 0]), &Value::Integer(1)));
    }
}

/// The include flag is for ranges; in an answer it is 0 (section 5.4).
#[test]
fn include_is_respected_and_not_echoed() {
    let mut start = of(&[1, 1, 8, 0]);
    start.include = 1;
    let mut null = of(&[9]);
    null.include = 1;
    let list = [(start, ID::default()), (null, ID::default())];
    let list = list.into_iter().map(|(start, end)| SearchRange::new(start, end)).collect();
    let values = data(ask(with_session!(GetNext::new(SearchRangeList(list))), &tree(0)));
    assert_eq!(values[0].name, of(&[1, 1, 8, 0]));
    assert_eq!(values[1].data, Value::EndOfMibView);
    assert!(values.iter().all(|value| value.name.include == 0), "{values:?}");
}

#[test]
fn a_walk_by_get_bulk_returns_the_same_as_by_get_next() {
    let tree = tree(40);
    let mut steps = Vec::new();
    let mut at = of(&[1]);
    loop {
        let list = SearchRangeList(vec![SearchRange::new(at, of(&[3]))]);
        let value = data(ask(with_session!(GetNext::new(list)), &tree)).remove(0);
        if value.data == Value::EndOfMibView {
            break;
        }
        at = value.name.clone();
        steps.push(value);
    }
    let mut bulk = GetBulk::new(ranges(&[&[1, 1, 1], &[1]]));
    (bulk.non_repeaters, bulk.max_repetitions) = (1, 900);
    let values = data(ask(with_session!(bulk), &tree));
    assert_eq!(values[0].name, of(&[1, 1, 1, 0]));
    assert_eq!(values[1..values.len() - 1], steps);
    assert_eq!(values.last().unwrap().data, Value::EndOfMibView, "and no more after it");
    assert_eq!(steps.len(), 14 + 6 * 40);
}

#[test]
fn a_bulk_is_bounded() {
    let mut bulk = GetBulk::new(ranges(&[&[1], &[1]]));
    (bulk.non_repeaters, bulk.max_repetitions) = (0, u16::MAX);
    let values = data(ask(with_session!(bulk), &tree(3000)));
    assert_eq!(values.len(), BULK);
    for once in [0, 1000, 2000] {
        let mut many = GetBulk::new(ranges(&vec![[1].as_slice(); 2000]));
        (many.non_repeaters, many.max_repetitions) = (once, 10);
        assert_eq!(data(ask(with_session!(many), &tree(3))).len(), BULK, "{once} once");
    }
    let mut none = GetBulk::new(ranges(&[&[1]]));
    (none.non_repeaters, none.max_repetitions) = (u16::MAX, 0);
    assert_eq!(data(ask(with_session!(none), &tree(1))).len(), 1);
}

#[test]
fn nothing_can_be_written() {
    let bytes = with_session!(TestSet::new(VarBindList(Vec::new())));
    let field = |mut bytes: Vec<u8>| {
        let (header, payload) = take(&mut bytes).unwrap().unwrap();
        let answer = answer(&header, &payload, SESSION, &tree(0)).unwrap().unwrap();
        let (header, payload) = take(&mut answer.clone()).unwrap().unwrap();
        (error_of(&header, &payload).unwrap(), u16::from_le_bytes([payload[6], payload[7]]))
    };
    assert_eq!(field(bytes), (17, 1));
    assert_eq!(field(with_session!(CommitSet::new())), (14, 1));
}

#[test]
fn unknown_sessions_and_contexts_are_refused() {
    let error = |bytes| ask(bytes, &tree(0)).unwrap().unwrap().res_error;
    let mut get = Get::new(ranges(&[&[1]]));
    get.header.session_id = SESSION + 1;
    assert_eq!(error(get.to_bytes().unwrap()), ResError::NotOpen);
    let mut get = Get::new(ranges(&[&[1]]));
    get.header.flags = 1 << NON_DEFAULT_CONTEXT;
    get.context = Some(agentx::encodings::Context(agentx::encodings::OctetString("x".into())));
    assert_eq!(error(with_session!(get)), ResError::UnsupportedContext);
}

#[test]
fn a_closed_or_unknown_session_ends() {
    let mut close = agentx::pdu::Close::default();
    assert_eq!(ask(close.to_bytes().unwrap(), &tree(0)), Err(Broken::Closed));
    let mut unknown = Response::new();
    unknown.res_error = ResError::NotOpen;
    assert_eq!(ask(with_session!(unknown), &tree(0)), Err(Broken::Unknown));
    assert_eq!(ask(with_session!(Response::new()), &tree(0)), Ok(None));
}

/// The crate would panic when it writes such an identifier.
#[test]
fn an_identifier_that_is_too_long_is_refused() {
    let identifier = |count: u8| {
        let mut bytes = vec![count, 4, 0, 0];
        bytes.extend(std::iter::repeat_n([1, 0, 0, 0], count.into()).flatten());
        bytes
    };
    for (count, accepted) in [(123, true), (124, false), (255, false)] {
        let mut message = Header::new(Type::GetNext);
        message.session_id = SESSION;
        let payload = [identifier(count), vec![0; 4]].concat();
        message.payload_length = payload.len() as u32;
        let bytes = [message.to_bytes(), payload].concat();
        let error = ask(bytes, &tree(0)).unwrap().unwrap().res_error;
        assert_eq!(error == ResError::NoAgentXError, accepted, "{count}: {error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes are a message, an incomplete one, or refused: without a panic or growth of the
    /// inbox.
    #[test]
    fn any_bytes_do(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        while let Ok(Some((header, payload))) = take(&mut bytes) {
            let _ = answer(&header, &payload, header.session_id, &tree(3));
        }
    }

    /// The same with a valid header, so that the payload is parsed.
    #[test]
    fn any_payload_does(
        kind in 1_u8..=18,
        flags in any::<u8>(),
        payload in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 0..600),
    ) {
        let mut header = Header::new(Type::from_byte(kind).unwrap());
        header.flags = flags;
        header.session_id = SESSION;
        if let Ok(Some(bytes)) = answer(&header, &payload, SESSION, &tree(3)) {
            prop_assert!(bytes.len() <= HEADER + 8 + (payload.len() + BULK) * 1200);
            let mut bytes = bytes;
            prop_assert!(take(&mut bytes).unwrap().is_some());
        }
    }
}
