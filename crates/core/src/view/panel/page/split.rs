//! Splits an address into rows and screens: after a separator only, and never truncated.

/// The width of `1/2` and the space before it.
const MARK_WIDTH: usize = 4;

/// Returns the address on rows of at most these widths, or `None` if it does not fit.
pub fn rows(address: &str, widths: &[usize]) -> Option<Vec<String>> {
    if let (true, [first, second, ..]) = (!address.contains(':'), widths) {
        // IPv4 on two rows is split in the middle, so that the halves stay in place from venue to
        // venue.
        let middle = address.match_indices('.').nth(1).map_or(0, |(at, _)| at + 1);
        let (left, right) = address.split_at(middle);
        if address.len() > *first && left.len() <= *first && right.len() <= *second {
            return Some(vec![left.to_owned(), right.to_owned()]);
        }
    }
    let mut tokens = tokens(address);
    let rows = fill(&mut tokens, widths);
    tokens.is_empty().then_some(rows)
}

/// Returns the address on as few screens as possible, each with rows of these widths. Several
/// screens are numbered at the end of the last row: `1/2`, `2/2`.
pub fn screens(address: &str, widths: &[usize]) -> Vec<Vec<String>> {
    if let Some(rows) = rows(address, widths) {
        return vec![rows];
    }
    let mut marked = widths.to_vec();
    if let Some(last) = marked.last_mut() {
        *last = last.saturating_sub(MARK_WIDTH);
    }
    let mut tokens = tokens(address);
    let mut pieces: Vec<Vec<String>> = Vec::new();
    while !tokens.is_empty() {
        let before = tokens.len();
        let mut rows = fill(&mut tokens, &marked);
        if tokens.len() == before {
            // Narrower than any real display: overflow rather than loop forever.
            rows = tokens.drain(..1).collect();
        }
        pieces.push(rows);
    }
    let count = pieces.len();
    for (place, rows) in pieces.iter_mut().enumerate() {
        rows.resize(widths.len(), String::new());
        if let (Some(row), Some(width)) = (rows.last_mut(), widths.last()) {
            let mark = format!("{}/{count}", place + 1);
            *row = format!("{row:<0$}{mark}", width.saturating_sub(mark.len()));
        }
    }
    pieces
}

/// Returns the address on as many rows of this width as it needs.
pub fn all_rows(address: &str, width: usize) -> Vec<String> {
    let mut tokens = tokens(address);
    let mut rows: Vec<String> = Vec::new();
    while !tokens.is_empty() {
        match fill(&mut tokens, &[width]).pop().filter(|row| !row.is_empty()) {
            Some(row) => rows.push(row),
            None => rows.push(tokens.remove(0)),
        }
    }
    rows
}

/// Moves as many tokens onto the rows as fit.
fn fill(tokens: &mut Vec<String>, widths: &[usize]) -> Vec<String> {
    let mut rows = Vec::new();
    for width in widths {
        let mut row = String::new();
        while let Some(token) = tokens.first().filter(|token| row.len() + token.len() <= *width) {
            row.push_str(token);
            tokens.remove(0);
        }
        rows.push(row);
        if tokens.is_empty() {
            break;
        }
    }
    rows
}

/// Returns the parts of an address after which a row may end: after `:`, `::` or `.`.
fn tokens(address: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut open = false;
    for scalar in address.chars() {
        let separator = matches!(scalar, ':' | '.');
        match tokens.last_mut() {
            Some(token) if open || separator => token.push(scalar),
            _ => tokens.push(scalar.to_string()),
        }
        open = !separator;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_split_in_the_middle() {
        assert_eq!(rows("255.255.255.255", &[8, 7]).unwrap(), ["255.255.", "255.255"]);
        assert_eq!(rows("10.99.0.126", &[8, 7]).unwrap(), ["10.99.", "0.126"]);
        assert_eq!(rows("10.0.0.1", &[8, 7]).unwrap(), ["10.0.0.1"]);
    }

    #[test]
    fn an_ipv6_address_is_split_after_a_colon_and_never_within_a_double_one() {
        let address = "2001:db8:7::5054:ff:fe12:3456";
        assert_eq!(rows(address, &[20, 20, 19]).unwrap(), ["2001:db8:7::5054:ff:", "fe12:3456"]);
        assert_eq!(rows("2001:db8::7", &[9, 8]).unwrap(), ["2001:", "db8::7"]);
        assert_eq!(rows(address, &[8, 7]), None);
    }

    #[test]
    fn addresses_on_several_screens_are_numbered() {
        let full = "2001:0db8:85a3:1111:2222:8a2e:1370:7334";
        assert_eq!(
            screens(full, &[16, 15]),
            [["2001:0db8:85a3:", "1111:2222:  1/2"], ["8a2e:1370:7334", "            2/2"]]
        );
        let small = screens(full, &[8, 7]);
        assert_eq!(small.len(), 8);
        assert_eq!(small[0], ["2001:", "    1/8"]);
        assert_eq!(screens("2001:db8::7", &[8, 7]), [["2001:", "db8::7"]]);
    }
}
