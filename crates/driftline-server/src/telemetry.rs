//! Spans of requests, sent to a collector as OpenTelemetry has it (OTLP over HTTP).
//!
//! Where to and what else is set by the variables that OpenTelemetry names: `OTEL_EXPORTER_OTLP_ENDPOINT`, as `http://127.0.0.1:4318`,
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`. A collector that is away costs spans, and nothing else.

use crate::http;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends what is left when it is dropped.
pub struct Spans(SdkTracerProvider);

impl Drop for Spans {
    fn drop(&mut self) {
        let _ = self.0.shutdown();
    }
}

/// Beside the log, and what is to be kept as long as the process runs.
type Beside<S> = (Spans, Box<dyn Layer<S> + Send + Sync>);

/// What to put beside the log, where the environment names a collector.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync>() -> Result<Option<Beside<S>>, String> {
    let names_one = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !names_one("OTEL_EXPORTER_OTLP_ENDPOINT") && !names_one("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Ok(None);
    }
    let client = http::blocking_client(EXPORT_TIMEOUT)?;
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
    let exporter = exporter.map_err(|e| format!("no way to the collector: {e}"))?;
    let mut resource = Resource::builder();
    if !names_one("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name("driftline");
    }
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("driftline"));
    Ok(Some((Spans(provider), Box::new(layer))))
}
