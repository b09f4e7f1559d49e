//! Messages as people are to read them.

/// A message without the numbers that the operating system's errors carry behind their words, as
/// "(os error 2)".
pub fn in_words(message: &str) -> String {
    const NUMBER: &str = " (os error ";
    let mut parts = message.split(NUMBER);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let number = part
            .find(|c: char| !c.is_ascii_digit())
            .filter(|end| *end > 0 && part.get(*end..=*end) == Some(")"));
        match number.and_then(|end| part.get(end + 1..)) {
            Some(rest) => text + rest,
            None => text + NUMBER + part,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_for_people_has_words_and_no_numbers_of_errors() {
        let error = std::io::Error::from_raw_os_error(2);
        let message = format!("/dev/x: {error}; /dev/y: {error}: try again");
        assert_eq!(
            in_words(&message),
            "/dev/x: No such file or directory; /dev/y: No such file or directory: try again"
        );
        for other in ["", "no number", "an (os error x) of its own", "cut off (os error 2"] {
            assert_eq!(in_words(other), other);
        }
    }
}
