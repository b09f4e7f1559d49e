use super::*;

fn tree(nodes: &[&str]) -> Tree {
    let nodes = nodes.iter().map(|name| Node {
        name: (*name).into(),
        health: NodeHealth::Up.into(),
        group: Some("rack".into()),
        ..Node::default()
    });
    Tree::new(Some(&Snapshot { nodes: nodes.collect(), ..Snapshot::default() }))
}

fn of(below: &[u32]) -> ID {
    id(&[ROOT.as_slice(), below].concat()).unwrap()
}

#[test]
fn without_a_daemon_the_severity_is_unknown() {
    let tree = Tree::new(None);
    assert_eq!(tree.get(of(&[1, 1, 1, 0])).data, Value::Integer(SEVERITY_UNKNOWN));
    assert_eq!(tree.get(of(&[1, 1, 8, 0])).data, truth(false));
    assert_eq!(tree.0.len(), 14, "no rows");
}

#[test]
fn a_missing_object_or_instance_is_reported() {
    let tree = tree(&["rpi1"]);
    let missing = |below: &[u32]| tree.get(of(below)).data;
    assert_eq!(missing(&[1, 3, 1, 4, 1, 7]), Value::NoSuchInstance, "a node that is not there");
    assert_eq!(missing(&[1, 1, 1, 1]), Value::NoSuchInstance);
    assert_eq!(missing(&[1, 1, 1]), Value::NoSuchInstance);
    assert_eq!(missing(&[1, 3, 1, 1, 1, 7]), Value::NoSuchObject, "an index is not accessible");
    assert_eq!(missing(&[1, 3, 1, 8, 1, 7]), Value::NoSuchObject);
    assert_eq!(missing(&[1, 1, 15, 0]), Value::NoSuchObject);
    assert_eq!(missing(&[2, 1]), Value::NoSuchObject);
}

/// Unusual names; shorter ones sort first (RFC 2578, section 7.7).
#[test]
fn strange_names_have_rows() {
    let long = "x".repeat(LONGEST_NAME);
    let too_long = "x".repeat(LONGEST_NAME + 1);
    let names = ["b", "a a", "<script>", "Küche", "", &long, &too_long];
    let tree = tree(&names);
    let start = of(&[1, 3, 1, 4]);
    let end = of(&[1, 3, 1, 5]);
    let mut at = start;
    let mut seen = Vec::new();
    while let Some(found) = tree.next(&at, false, &end) {
        seen.push(found.name.to_string());
        at = found.name.clone();
    }
    let index = |name: &str| {
        let numbers: Vec<String> =
            index(name).unwrap().iter().map(|number| format!(".{number}")).collect();
        format!("{}{}", of(&[1, 3, 1, 4]), numbers.concat())
    };
    let wanted: Vec<String> =
        ["", "b", "a a", "Küche", "<script>", &long].into_iter().map(index).collect();
    assert_eq!(seen, wanted);
    assert_eq!(seen.last().unwrap().split('.').count(), 128);
}

#[test]
fn a_long_text_is_truncated_between_characters() {
    let Value::OctetString(OctetString(text)) = string(&"ü".repeat(600)) else { panic!() };
    assert!(text.len() <= LONGEST_TEXT && text.ends_with("ü…"), "{text}");
    assert_eq!(string("short"), Value::OctetString(OctetString("short".to_owned())));
}
