//! Extracts user texts from pages, manual pages, help and string literals, and splits them into
//! sentences.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A text of one paragraph or less: code in it is `CODE`, a value `X`.
#[derive(Debug)]
pub struct Text {
    pub source: String,
    pub text: String,
}

#[derive(Debug)]
pub struct Sentence {
    pub text: String,
    /// In lower case, without punctuation.
    pub words: Vec<String>,
}

/// Words after a bare "as" that means "such as".
const EXAMPLES: [&str; 6] = ["CODE", "X", "a", "an", "from", "of"];

impl Text {
    /// Returns the sentences: they end with a full stop, a question mark or a colon.
    pub fn sentences(&self) -> Vec<Sentence> {
        let mut sentences = Vec::new();
        let mut words: Vec<&str> = Vec::new();
        let text = without_code(&self.text);
        for word in text.split_whitespace() {
            words.push(word);
            let bare = word.trim_end_matches(['"', ')', '*', '_']);
            if bare.ends_with(['.', '?', '!', ':']) {
                sentences.push(Sentence::of(&words));
                words.clear();
            }
        }
        sentences.push(Sentence::of(&words));
        sentences
    }
}

impl Sentence {
    fn of(words: &[&str]) -> Self {
        let plain = |word: &&str| {
            let inner = word.trim_matches(|c: char| !c.is_alphanumeric());
            inner.to_lowercase()
        };
        let words_only = words.iter().map(plain).filter(|word| !word.is_empty());
        Self { text: words.join(" "), words: words_only.collect() }
    }

    /// Returns whether an example begins with "as" alone: `, as "usb*"`.
    pub fn has_bare_as(&self) -> bool {
        let words: Vec<&str> = self.text.split(' ').collect();
        // "as the button does" is a comparison.
        let compares = ["do", "does", "did", "would"].map(str::to_owned);
        if self.words.iter().any(|word| compares.contains(word)) {
            return false;
        }
        words.windows(3).any(|three| {
            let [before, word, after] = three else { return false };
            let bare = after.trim_matches(|c: char| !c.is_alphanumeric());
            let example = after.starts_with(['"', '(']) && !after.starts_with("(sudo")
                || bare.starts_with(|c: char| c.is_ascii_digit())
                || EXAMPLES.contains(&bare);
            *word == "as" && before.ends_with([',', '(', ';']) && example
        }) || self.text.starts_with("as \"")
    }
}

/// Replaces text in backquotes and commands in brackets by `CODE`.
fn without_code(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.split('`').enumerate() {
        plain.push_str(if index % 2 == 0 { part } else { "CODE" });
    }
    let mut rest = plain.as_str();
    let mut done = String::new();
    while let Some(at) = rest.find("(sudo ") {
        let (before, command) = rest.split_at(at);
        done.push_str(before);
        done.push_str("(CODE)");
        rest = command.split_once(')').map_or("", |(_, after)| after);
    }
    done + rest
}

fn name(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().display().to_string()
}

/// Returns the texts of a page of Markdown, or of a form.
pub fn page(root: &Path, path: &Path) -> Vec<Text> {
    let text = fs::read_to_string(path).unwrap();
    let texts = markdown(&text).into_iter();
    texts.map(|text| Text { source: name(root, path), text }).collect()
}

/// Returns headings, paragraphs, items and cells, without blocks of code and comments.
pub fn markdown(page: &str) -> Vec<String> {
    let (mut found, mut paragraph, mut in_block) = (Vec::new(), String::new(), false);
    for line in page.lines().chain([""]) {
        let line = line.trim();
        let begins = line.starts_with(['#', '|', '*', '-', '<'])
            || line.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        if line.is_empty() || begins || line.starts_with("```") {
            found.push(std::mem::take(&mut paragraph));
        }
        if line.starts_with("```") {
            in_block = !in_block;
        } else if line.starts_with('|') && !in_block {
            found.extend(line.split('|').map(str::to_owned));
        } else if !in_block && !line.starts_with("<!--") {
            paragraph.push_str(line.trim_start_matches(['#', '-', ' ']));
            paragraph.push(' ');
        }
    }
    let plain = found.iter().map(|text| without_marks(&without_code(text)));
    plain.filter(|text| text.chars().any(char::is_alphanumeric)).collect()
}

/// Removes Markdown's emphasis and links.
fn without_marks(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.split("](").enumerate() {
        let part =
            if index == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) };
        plain.push_str(&part.replace(['[', '*'], ""));
    }
    plain.trim().to_owned()
}

/// Returns the texts of a manual page, except for the table of keys, which has its own source.
pub fn manual(root: &Path, path: &Path) -> Vec<Text> {
    let page = fs::read_to_string(path).unwrap();
    let (begin, end) = (".\\\" begin of the table of keys", ".\\\" end of the table of keys");
    let page = match (page.split_once(begin), page.split_once(end)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{after}"),
        _ => page,
    };
    roff(&page).into_iter().map(|text| Text { source: name(root, path), text }).collect()
}

/// Returns headings and paragraphs of a page of man(7); bold and italic text is code.
pub fn roff(page: &str) -> Vec<String> {
    let (mut found, mut paragraph, mut verbatim) = (Vec::new(), String::new(), false);
    let mut tag = false;
    for line in page.lines() {
        let (request, rest) = line.split_once(' ').unwrap_or((line, ""));
        match request {
            ".nf" | ".EX" | ".TS" => verbatim = true,
            ".fi" | ".EE" | ".TE" => verbatim = false,
            _ if verbatim => {}
            ".SH" | ".SS" | ".PP" | ".P" | ".TP" | ".IP" | ".br" | ".RS" | ".RE" | ".TQ" => {
                found.push(std::mem::take(&mut paragraph));
                if request.starts_with(".S") {
                    found.push(rest.replace('"', ""));
                }
                tag = matches!(request, ".TP" | ".TQ");
                continue;
            }
            ".B" | ".I" | ".BR" | ".BI" | ".IR" | ".RB" | ".RI" | ".IB" => {
                // The punctuation after it belongs to the sentence.
                let mark = rest.rsplit([' ', ')']).next().unwrap_or_default();
                let mark = mark.trim_matches(|c: char| !".,:;?!".contains(c));
                let mark: String = mark.chars().filter(|c| ".,:;?!".contains(*c)).collect();
                paragraph.push_str(&format!("CODE{mark} "));
            }
            _ if line.starts_with(['.', '\'']) => {}
            _ => {
                paragraph.push_str(&unescaped(line));
                paragraph.push(' ');
            }
        }
        if std::mem::take(&mut tag) {
            found.push(std::mem::take(&mut paragraph));
        }
    }
    found.push(paragraph);
    let texts = found.iter().map(|text| text.trim().to_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

/// Removes the escapes of man(7), with `CODE` for text in another font.
fn unescaped(line: &str) -> String {
    let line = line.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "");
    let mut plain = String::new();
    for (index, part) in line.split("\\f").enumerate() {
        match (index, part.chars().next()) {
            (0, _) => plain.push_str(part),
            (_, Some('R' | 'P')) => plain.push_str(part.get(1..).unwrap_or_default()),
            _ => plain.push_str("CODE"),
        }
    }
    plain
}

/// Returns the help of a verb and its subverbs, without examples.
pub fn help(verb: &[&str]) -> Vec<Text> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_bramblegate")).args(verb).arg("--help").output().unwrap();
    assert!(output.status.success(), "{verb:?} --help: {}", output.status);
    let page = String::from_utf8(output.stdout).unwrap();
    let mut texts = Vec::new();
    let source = ["help of bramblegate", &verb.join(" ")].join(" ").trim().to_owned();
    let mut verbs: Vec<&str> = Vec::new();
    let mut in_commands = false;
    for line in page.lines().take_while(|line| !line.starts_with("Examples")) {
        if !line.starts_with(' ') {
            in_commands = line == "Commands:";
        }
        let cells: Vec<&str> = line.trim().split("  ").collect();
        if in_commands && line.starts_with("  ") && !line.starts_with("   ") {
            verbs.extend(cells.first().filter(|name| **name != "help"));
        }
        let text = (*cells.last().unwrap_or(&"")).to_owned();
        texts.push(Text { source: source.clone(), text });
    }
    for name in verbs {
        texts.extend(help(&[verb, &[name]].concat()));
    }
    texts
}

/// Returns the text of a string literal; one with fewer than two spaces is not a sentence.
pub fn literal(source: &str, literal: &str) -> Text {
    let literal = literal.split("Examples:").next().unwrap_or_default();
    let text = super::source::without_values(literal).replace("{}", "X");
    let text = text.replace("\\n", ". ").replace('\n', ". ");
    let is_text = text.split_whitespace().count() > 2 && text.chars().any(char::is_lowercase);
    Text { source: source.to_owned(), text: if is_text { text } else { String::new() } }
}
