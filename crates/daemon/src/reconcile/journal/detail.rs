//! Diagnostic messages of the program's modules (`tracing`), written to the same destination as
//! records, under the same limit. Without `RUST_LOG` each costs one comparison.

use std::fmt::{Debug, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;

use super::{Journal, LogOptions};
use crate::view::journal::{self, Priority};

/// The environment variable with the filter.
const VARIABLE: &str = "RUST_LOG";

/// Installs the subscriber if the command line or the environment has a filter. A second call in
/// the same process changes nothing.
pub fn write_details(journal: &Arc<Journal>, options: &LogOptions) {
    let of_environment = || std::env::var(VARIABLE).ok().filter(|wanted| !wanted.is_empty());
    let Some(wanted) = options.details.clone().or_else(of_environment) else { return };
    match wanted.parse::<Targets>() {
        Ok(filter) => {
            let details = Details { journal: Arc::clone(journal), filter };
            // An error means that the process already has a subscriber, which stays.
            drop(tracing::subscriber::set_global_default(details));
        }
        Err(error) => {
            let text = format!(
                "{VARIABLE}={wanted} is not understood: {error}; write {VARIABLE}=debug, or {VARIABLE}=dnsmasq=trace for one \
                 part"
            );
            journal.write(&journal::detail(Priority::Warning, module_path!(), text));
        }
    }
}

/// Converts `tracing` events to records. This program has no spans, so they are ignored.
struct Details {
    journal: Arc<Journal>,
    filter: Targets,
}

impl Subscriber for Details {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.would_enable(metadata.target(), metadata.level())
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let (target, priority) = (event.metadata().target(), priority(*event.metadata().level()));
        self.journal.write(&journal::detail(
            priority,
            target,
            format!("{target}: {}{}", text.message, text.fields),
        ));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

const fn priority(level: Level) -> Priority {
    match level {
        Level::ERROR => Priority::Error,
        Level::WARN => Priority::Warning,
        Level::INFO => Priority::Info,
        Level::DEBUG | Level::TRACE => Priority::Debug,
    }
}

/// One line: the message, then the other fields as `name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing::{debug, trace, warn};

    use super::super::tests::{Fake, decode, value};
    use super::*;

    fn listen(journal: &Arc<Journal>, filter: &str, work: impl FnOnce()) {
        let details = Details { journal: Arc::clone(journal), filter: filter.parse().unwrap() };
        tracing::subscriber::with_default(details, work);
    }

    #[test]
    fn details_that_pass_the_filter_are_written_with_their_module() {
        let fake = Fake::new("details");
        listen(&Arc::new(fake.journal()), "debug", || {
            trace!("not asked for");
            debug!(port = 7, why = %"gone\nfor good", "lost");
        });
        let fields = decode(&fake.receive());
        assert_eq!(value(&fields, "TARGET"), module_path!());
        assert_eq!(
            value(&fields, "MESSAGE"),
            format!("{}: lost port=7 why=gone\nfor good", module_path!())
        );
        assert_eq!(value(&fields, "PRIORITY"), "7");
        assert!(fake.is_empty());
    }

    #[test]
    fn each_target_has_its_own_level() {
        let fake = Fake::new("parts");
        listen(&Arc::new(fake.journal()), "warn,dnsmasq=trace", || {
            trace!("not asked for");
            trace!(target: "dnsmasq", "of the part");
            warn!("of another");
        });
        assert_eq!(value(&decode(&fake.receive()), "MESSAGE"), "dnsmasq: of the part");
        assert_eq!(value(&decode(&fake.receive()), "PRIORITY"), "4");
        assert!(fake.is_empty());
    }

    #[test]
    fn a_flood_of_details_is_rate_limited() {
        let fake = Fake::new("flood-of-details");
        let journal = fake.journal();
        journal.expect(0);
        let mut count = 0;
        listen(&Arc::new(journal), "debug", || {
            for number in 0..2000 {
                debug!(number, "again");
                count += usize::from(!fake.is_empty());
            }
        });
        assert!((200..400).contains(&count), "{count} of 2000");
    }

    #[test]
    fn nothing_is_written_without_a_filter() {
        let fake = Fake::new("no-details");
        let _journal = fake.journal();
        warn!("there is no subscriber");
        assert!(fake.is_empty());
    }
}
