//! What the audit tells the metrics.

pub(super) const QUEUE: &str = "cofferdam_audit_queue_length";
pub(super) const WRITTEN: &str = "cofferdam_audit_written_total";
pub(super) const DROPPED: &str = "cofferdam_audit_dropped_total";
pub(super) const FAILED: &str = "cofferdam_audit_write_failures_total";
pub(super) const BATCH: &str = "cofferdam_audit_batch_seconds";

/// Says what each metric means, and makes them appear before the first event.
pub(super) fn describe() {
    metrics::describe_gauge!(QUEUE, "Events that wait to be written to the audit store.");
    metrics::describe_counter!(WRITTEN, "Records written to the audit store.");
    metrics::describe_counter!(
        DROPPED,
        "Events left out of the audit store because the queue was full; a gap record has the count."
    );
    metrics::describe_counter!(
        FAILED,
        "Batches that the audit store did not take and that were tried again."
    );
    metrics::describe_histogram!(
        BATCH,
        metrics::Unit::Seconds,
        "Time from the first try to write a batch until the audit store had it."
    );
    metrics::gauge!(QUEUE).set(0.0);
    metrics::counter!(WRITTEN).absolute(0);
    metrics::counter!(DROPPED).absolute(0);
    metrics::counter!(FAILED).absolute(0);
}
