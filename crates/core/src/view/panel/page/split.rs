//! How an address is broken: after a separator, never elsewhere, never cut.

/// `1/2` and the blank before it.
const MARK_WIDTH: usize = 4;

/// Returns the address on rows of at most these widths, one string a row; `None` when it does not
/// fit.
pub fn rows(address: &str, widths: &[usize]) -> Option<Vec<String>> {
    if let (true, [first, second, ..]) = (!address.contains(':'), widths) {
        // IPv4 on two rows is broken in the middle, so that its halves do not wander from venue to
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

/// Returns the address on as few screens as possible, each with rows of these widths. Where one
/// screen does not do, each is marked at the end of its last row: `1/2`, `2/2`.
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
            // Narrower than any display that is made: better over the edge than never.
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
pub fn everywhere(address: &str, width: usize) -> Vec<String> {
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

/// Puts as many of the first tokens as fit on the rows, and takes them away.
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

/// Returns the parts between which a row may end: after `:`, `::` or `.`.
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
    fn an_ipv4_address_is_broken_in_the_middle() {
        assert_eq!(rows("255.255.255.255", &[8, 7]).unwrap(), ["255.255.", "255.255"]);
        assert_eq!(rows("10.99.0.126", &[8, 7]).unwrap(), ["10.99.", "0.126"]);
        assert_eq!(rows("10.0.0.1", &[8, 7]).unwrap(), ["10.0.0.1"]);
    }

    #[test]
    fn an_ipv6_address_is_broken_after_a_colon_and_never_within_a_double_one() {
        let address = "2001:db8:7::5054:ff:fe12:3456";
        assert_eq!(rows(address, &[20, 20, 19]).unwrap(), ["2001:db8:7::5054:ff:", "fe12:3456"]);
        assert_eq!(rows("2001:db8::7", &[9, 8]).unwrap(), ["2001:", "db8::7"]);
        assert_eq!(rows(address, &[8, 7]), None);
    }

    #[test]
    fn what_no_screen_holds_is_marked() {
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
