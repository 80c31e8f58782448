//! The lines of the log that tell of places named for these tests: other tests of the process log as well, on other threads.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, Once};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// What stands in a line, by name, with what its request is.
pub type Line = BTreeMap<String, String>;

/// What the names of the places begin with.
const MARK: &str = "a3-";

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// Collects from now on what the server tells its operator unless it is asked for more.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Registry::default().with(Collector)).expect("nobody else collects the log");
        // What another test has passed in this very moment was noted as a place where nobody listens.
        tracing::callsite::rebuild_interest_cache();
    });
}

/// All that was said of one place: a path, or the space of a live connection.
pub fn of(place: &str) -> Vec<Line> {
    let is_there = |line: &&Line| ["path", "space"].iter().any(|name| line.get(*name).is_some_and(|named| named == place));
    LINES.lock().unwrap().iter().filter(is_there).cloned().collect()
}

/// Whether some text stands in any of the lines, wherever.
pub fn tell(text: &str) -> bool {
    LINES.lock().unwrap().iter().flat_map(|line| line.values()).any(|value| value.contains(text))
}

struct Collector;

#[derive(Default, Clone)]
struct Fields(Line);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_string(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_string(), value.to_string());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Fields::default();
        for span in context.event_scope(event).into_iter().flatten() {
            let fields = span.extensions().get::<Fields>().cloned().unwrap_or_default();
            line.0.extend(fields.0);
        }
        event.record(&mut line);
        if ["path", "space"].iter().any(|name| line.0.get(*name).is_some_and(|place| place.contains(MARK))) {
            LINES.lock().unwrap().push(line.0);
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}
