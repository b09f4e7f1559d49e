//! Normalizes listings of the gateway's table: without counters and values that change with time,
//! elements on one line and in one order.

/// What nft 1.1 prints differently from nft 1.0 and Bramblegate; it parses both.
const FORMS: [(&str, &str); 4] = [
    ("tcp flags & (syn | rst) == syn ", "tcp flags syn / syn,rst "),
    ("tcp flags & (syn | ack) == syn | ack ", "tcp flags syn,ack / syn,ack "),
    ("tcp flags & (rst | ack) == rst ", "tcp flags rst / rst,ack "),
    ("type nat hook output priority dstnat - 10;", "type nat hook output priority -110;"),
];

/// Returns the lines of a listing or of the printed text, without the table's flags.
pub fn lines(text: &str) -> Vec<String> {
    let without_counts = |line: &str| match line.split_once("counter packets ") {
        Some((before, after)) => {
            format!("{before}counter {}", after.splitn(4, ' ').last().unwrap())
        }
        None => line.to_owned(),
    };
    // Newer kernels and nft list the program that owns a table.
    let without_owner = |line: &str| {
        line.split_once(" # progname").map_or(line.to_owned(), |(line, _)| line.to_owned())
    };
    let text =
        FORMS.iter().fold(elements_in_order(text), |text, (new, old)| text.replace(new, old));
    let all = text.lines().map(without_counts).map(|line| without_owner(&line));
    all.filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("\tflags "))
        .collect()
}

/// Releases of nft break lists of elements differently, and sort concatenations by their last
/// field.
fn elements_in_order(text: &str) -> String {
    const BEGIN: &str = "elements = { ";
    let mut parts = text.split(BEGIN);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (list, rest) = part.split_once(" }").expect("an end of the list");
        let element =
            |text: &str| text.trim().split(" expires ").next().unwrap_or_default().to_owned();
        let mut elements: Vec<String> = list.split(',').map(element).collect();
        elements.sort();
        whole += &format!("{BEGIN}{} }}{rest}", elements.join(", "));
    }
    whole
}

/// Compares two listings, and shows only the differences.
pub fn assert_same(left: &[String], right: &[String]) {
    let missing: Vec<_> = right.iter().filter(|line| !left.contains(line)).collect();
    let more: Vec<_> = left.iter().filter(|line| !right.contains(line)).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing: {missing:#?}\ntoo much: {more:#?}");
    assert!(left == right, "the order differs: {left:#?}");
}
