//! The text of a scrape, line by line.

use super::*;
use crate::drain::Protocol;
use crate::telemetry::traces::Parent;

fn lines(text: &str, beginning: &str) -> Vec<String> {
    let found = text.lines().filter(|line| line.starts_with(beginning));
    found.map(str::to_owned).collect()
}

#[test]
fn the_fixed_names_are_there_before_anything_happened() {
    let text = Metrics::new().encode(Vec::new(), Format::OpenMetrics);
    for line in [
        "# TYPE app_lifecycle_shutdown_start_timestamp_seconds gauge",
        "app_lifecycle_shutdown_start_timestamp_seconds 0.0",
        "# TYPE app_shutdown_duration_seconds histogram",
        "app_shutdown_duration_seconds_count 0",
        "app_shutdown_duration_seconds_bucket{le=\"+Inf\"} 0",
        "# TYPE ebbtide_requests counter",
        "# TYPE ebbtide_request_duration_seconds histogram",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn requests_are_counted_by_protocol_and_code() {
    let metrics = Metrics::new();
    let route = metrics.route("web", "web/0", "site");
    route.record(Protocol::Http1, 200, Duration::from_micros(300));
    route.record(Protocol::Http1, 200, Duration::from_micros(500));
    route.record(Protocol::Http1, 418, Duration::from_millis(7));
    route.record(Protocol::Tcp, 0, Duration::from_secs(600));
    let text = metrics.encode(Vec::new(), Format::OpenMetrics);
    let labels = |protocol: &str| {
        format!("listener=\"web\",route=\"web/0\",upstream=\"site\",protocol=\"{protocol}\"")
    };
    let http1 = labels("http1");
    assert_eq!(
        lines(&text, "ebbtide_requests_total"),
        [
            format!("ebbtide_requests_total{{{http1},code=\"200\"}} 2"),
            format!("ebbtide_requests_total{{{http1},code=\"4xx\"}} 1"),
            format!("ebbtide_requests_total{{{},code=\"0\"}} 1", labels("tcp")),
        ]
    );
    let name = "ebbtide_request_duration_seconds";
    for line in [
        format!("{name}_sum{{{http1}}} 0.0078"),
        format!("{name}_count{{{http1}}} 3"),
        format!("{name}_bucket{{le=\"0.0005\",{http1}}} 2"),
        format!("{name}_bucket{{le=\"0.005\",{http1}}} 2"),
        format!("{name}_bucket{{le=\"0.01\",{http1}}} 3"),
        format!("{name}_bucket{{le=\"60.0\",{}}} 0", labels("tcp")),
        format!("{name}_bucket{{le=\"+Inf\",{}}} 1", labels("tcp")),
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
}

#[test]
fn a_triple_asked_for_again_has_the_same_counters() {
    let metrics = Metrics::new();
    let first = metrics.route("web", "web/0", "site");
    let again = metrics.route("web", "web/0", "site");
    let other = metrics.route("web", "web/1", "site");
    assert!(Arc::ptr_eq(&first, &again));
    assert!(!Arc::ptr_eq(&first, &other));
}

#[test]
fn a_drain_leaves_its_time_and_length() {
    let metrics = Metrics::new();
    metrics.shutdown_started(Duration::from_millis(1_763_942_400_250));
    metrics.shutdown_took(Duration::from_millis(700));
    let text = metrics.encode(Vec::new(), Format::OpenMetrics);
    let started = "app_lifecycle_shutdown_start_timestamp_seconds 1763942400.25";
    assert!(text.lines().any(|one| one == started), "{text}");
    for line in [
        "app_shutdown_duration_seconds_sum 0.7",
        "app_shutdown_duration_seconds_count 1",
        "app_shutdown_duration_seconds_bucket{le=\"0.5\"} 0",
        "app_shutdown_duration_seconds_bucket{le=\"1.0\"} 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    metrics.shutdown_cancelled();
    let text = metrics.encode(Vec::new(), Format::OpenMetrics);
    assert!(text.contains("shutdown_start_timestamp_seconds 0.0\n"));
}

#[test]
fn derived_families_follow_and_their_labels_are_escaped() {
    let mut gauge = Family::gauge("ebbtide_example", "An example");
    gauge.add([("name", "a \"quoted\\\" name\n".to_owned())], 7);
    let mut counter = Family::counter("ebbtide_example_things", "Things");
    counter.add([], 3);
    let text = Metrics::new().encode(vec![gauge, counter], Format::OpenMetrics);
    let tail = "# HELP ebbtide_example An example\n\
         # TYPE ebbtide_example gauge\n\
         ebbtide_example{name=\"a \\\"quoted\\\\\\\" name\\n\"} 7\n\
         # HELP ebbtide_example_things Things\n\
         # TYPE ebbtide_example_things counter\n\
         ebbtide_example_things_total 3\n\
         # EOF\n";
    assert!(text.ends_with(tail), "{text}");
}

#[test]
fn the_last_reload_says_whether_its_config_is_in_force() {
    let metrics = Metrics::new();
    let good = || {
        let text = metrics.encode(Vec::new(), Format::Text);
        lines(&text, "ebbtide_reload_successful ")
    };
    assert_eq!(good(), ["ebbtide_reload_successful 1"], "there was none");
    for (result, in_earnest, expected) in [
        ("invalid", false, "1"),
        ("invalid", true, "0"),
        ("refused", true, "0"),
        ("dry_run", false, "0"),
        ("unchanged", true, "1"),
        ("failed", true, "0"),
        ("applied", true, "1"),
        ("refused", true, "1"),
        ("unheard of", true, "0"),
    ] {
        metrics.reloaded(result, in_earnest);
        let line = format!("ebbtide_reload_successful {expected}");
        assert_eq!(good(), [line], "{result}");
    }
}

#[test]
fn hooks_are_counted_by_occasion_and_end() {
    let metrics = Metrics::new();
    metrics.hook_may_end("announce", "failed");
    metrics.hook_ended("announce", "done");
    metrics.hook_may_end("announce", "done");
    metrics.hook_ended("announce", "done");
    metrics.hook_ended("reload", "timeout");
    assert_eq!(
        lines(
            &metrics.encode(Vec::new(), Format::OpenMetrics),
            "ebbtide_hooks_total"
        ),
        [
            "ebbtide_hooks_total{on=\"announce\",result=\"done\"} 2",
            "ebbtide_hooks_total{on=\"announce\",result=\"failed\"} 0",
            "ebbtide_hooks_total{on=\"reload\",result=\"timeout\"} 1",
        ]
    );
}

#[test]
fn the_older_format_names_counters_after_their_samples() {
    let mut counter = Family::counter("ebbtide_example_things", "Things");
    counter.add([], 3);
    let text = Metrics::new().encode(vec![counter], Format::Text);
    let tail = "# HELP ebbtide_example_things_total Things\n\
         # TYPE ebbtide_example_things_total counter\n\
         ebbtide_example_things_total 3\n";
    assert!(text.ends_with(tail), "{text}");
    for line in [
        "# TYPE ebbtide_reload_total counter",
        "# TYPE app_shutdown_duration_seconds histogram",
        "# TYPE app_lifecycle_shutdown_start_timestamp_seconds gauge",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    assert!(!text.contains("# EOF"));
}

#[test]
fn what_is_recorded_is_named_as_an_example_of_its_bucket() {
    let metrics = Metrics::new();
    let route = metrics.route("web", "web/0", "site");
    let other = metrics.route("web", "web/1", "site");
    let took = Duration::from_millis(7);
    let parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ids = Parent::read(parent).expect("good").ids;
    for route in [&route, &other] {
        route.record(Protocol::Http1, 200, took);
        route.record(Protocol::Grpc, 200, took);
    }
    let unix = Duration::from_millis(1_763_942_400_250);
    other.exemplify(Protocol::Http1, took, ids, unix);
    let text = metrics.encode(Vec::new(), Format::OpenMetrics);
    let named: Vec<_> = text.lines().filter(|line| line.contains(" # {")).collect();
    assert_eq!(
        named,
        [
            "ebbtide_request_duration_seconds_bucket{le=\"0.01\",listener=\"web\",\
             route=\"web/1\",upstream=\"site\",protocol=\"http1\"} 1 # \
             {trace_id=\"0af7651916cd43dd8448eb211c80319c\",span_id=\"b7ad6b7169203331\"} \
             0.007 1763942400.250"
        ]
    );
    assert!(text.ends_with("# EOF\n"));
    // The older format has no place for them.
    let plain = metrics.encode(Vec::new(), Format::Text);
    assert!(!plain.contains("trace_id"), "{plain}");
}
