//! Acknowledgements in the format of versions up to 0.1.0-dev of November 2026: code and words on
//! the panel.

use super::{AlertCode, AlertId, Part, Subject, SubjectKind};

impl AlertId {
    /// Returns the alerts that a line of code and panel words ("node-down rpi1 down") stands for;
    /// none if the words are ambiguous. A forwarded port was saved without its protocol, so both
    /// are returned.
    pub fn from_panel_words(line: &str) -> Vec<Self> {
        let Some((code, words)) = line.split_once(' ') else { return Vec::new() };
        let Ok(code) = code.parse::<AlertCode>() else { return Vec::new() };
        let subjects = subjects(code, words);
        subjects.into_iter().map(|subject| Self { code, subject }).collect()
    }
}

/// Returns the possible subjects of an alert with these panel words.
fn subjects(code: AlertCode, words: &str) -> Vec<Subject> {
    let kind = code.subject();
    if kind == SubjectKind::Whole {
        return vec![Subject::Whole];
    }
    let named = match code.row().panel {
        Some(template) => inserted(template, words),
        // The port or node comes first: "eth1 IN br0", "rpi1 lossy".
        None => words.split(' ').next(),
    };
    let Some(named) = named.filter(|named| !named.is_empty()) else { return Vec::new() };
    let is_one_word = !named.contains(' ');
    let one = |subject: Option<Subject>| subject.into_iter().collect();
    match kind {
        SubjectKind::Port => one(is_one_word.then(|| Subject::Port(named.to_owned()))),
        // "3 down" stands for nodes beyond the first few.
        SubjectKind::Node | SubjectKind::Nodes if code != AlertCode::NodeGroupDown => {
            one(is_one_word.then(|| Subject::Node(named.to_owned())))
        }
        SubjectKind::Group => one(Some(Subject::Group(named.to_owned()))),
        SubjectKind::Address => one(named.parse().ok().map(Subject::Address)),
        SubjectKind::Rule => one(named.parse().ok().map(Subject::Rule)),
        SubjectKind::Part => {
            one(Part::ALL.iter().copied().find(|part| part.panel() == named).map(Subject::Part))
        }
        SubjectKind::Forward if named.parse::<u16>().is_ok() => {
            ["tcp", "udp"].map(|transport| Subject::Forward(format!("{transport}:{named}"))).into()
        }
        _ => Vec::new(),
    }
}

/// Returns the text at the `{}` of a template.
fn inserted<'w>(template: &str, words: &'w str) -> Option<&'w str> {
    let (before, after) = template.split_once("{}")?;
    words.strip_prefix(before)?.strip_suffix(after)
}
