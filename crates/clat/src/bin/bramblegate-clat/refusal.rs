//! The reason for a refusal: one line for status and journal, and the log of the kernel's BPF
//! verifier, for the journal only.

use std::io;

/// How many lines of the verifier's log are kept: the last instructions before the refused one.
const LINES: usize = 12;

/// Why nothing is translated, or why without BPF.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// One line.
    pub reason: String,
    /// The end of the verifier's log.
    pub log: Vec<String>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, log: Vec::new() }
    }
}

impl Refusal {
    /// Makes a refusal from the verifier's log (`log_buf` of bpf(2)). The last line before the
    /// statistics is the error; without a log the kernel refused before verification.
    pub fn by_verifier(program: &str, error: &io::Error, log: &str) -> Self {
        let is_statistics = |line: &&str| {
            ["processed ", "verification time ", "stack depth "]
                .iter()
                .any(|word| line.starts_with(word))
        };
        let lines = log.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let lines: Vec<&str> = lines.filter(|line| !is_statistics(line)).collect();
        let complaint = lines.last().map_or_else(String::new, |line| format!(": {line}"));
        let kept = lines.iter().skip(lines.len().saturating_sub(LINES));
        Self {
            reason: format!("the kernel does not take {program}: {error}{complaint}"),
            log: kept.map(ToString::to_string).collect(),
        }
    }

    /// Puts a prefix before the reason.
    pub fn prefixed(self, prefix: &str) -> Self {
        Self { reason: format!("{prefix}{}", self.reason), ..self }
    }
}

/// Returns an error with its sources, in one line. Skips a source that the error already prints.
pub fn chain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_the_verifier_found() {
        let steps = (0..40).map(|step| format!("{step}: (b7) r1 = {step}\n")).collect::<String>();
        let log = format!(
            "0: R1=ctx(off=0,imm=0) R10=fp0\n{steps}40: (79) r2 = *(u64 *)(r3 +0)\n\
             R3 invalid mem access 'scalar'\n\
             verification time 120 usec\nstack depth 208\n\
             processed 41 insns (limit 1000000) max_states_per_insn 0 total_states 1\n\n"
        );
        let refusal = Refusal::by_verifier("clat_inward", &io::Error::from_raw_os_error(13), &log);
        assert_eq!(
            refusal.reason,
            "the kernel does not take clat_inward: Permission denied (os error 13): \
             R3 invalid mem access 'scalar'"
        );
        assert_eq!(refusal.log.len(), LINES);
        assert_eq!(refusal.log[LINES - 2], "40: (79) r2 = *(u64 *)(r3 +0)");
        assert_eq!(refusal.log[LINES - 1], "R3 invalid mem access 'scalar'");
    }

    #[test]
    fn a_cause_is_named_once() {
        let denied = io::Error::from_raw_os_error(1);
        let error = aya::maps::MapError::CreateError {
            name: "FLOWS".to_owned(),
            code: -1,
            io_error: denied,
        };
        let text = chain(aya::EbpfError::MapError(error));
        assert_eq!(text.matches("FLOWS").count(), 1, "{text}");
        assert!(text.ends_with("Operation not permitted (os error 1)"), "{text}");
    }

    #[test]
    fn a_refusal_before_the_verifier_has_no_log() {
        let refusal = Refusal::by_verifier("clat_inward", &io::Error::from_raw_os_error(1), "");
        let reason = "the kernel does not take clat_inward: Operation not permitted (os error 1)";
        assert_eq!(refusal, Refusal { reason: reason.to_owned(), log: Vec::new() });
    }
}
