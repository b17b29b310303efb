use super::*;
use http::HeaderValue;

fn tracer(part: f64) -> Tracer {
    Tracer {
        traces: Traces::new(&Arc::default()),
        ratio: Ratio::of(part),
    }
}

fn asks(flags: &str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    fields.insert(TRACEPARENT, parent.parse().expect("a value"));
    fields.insert(TRACESTATE, HeaderValue::from_static("a=1"));
    fields
}

#[test]
fn who_asks_decides_and_otherwise_chance_does() {
    for (part, own) in [(0.0, false), (1.0, true)] {
        let tracer = tracer(part);
        let begun = tracer.asked(&mut asks("01")).expect("asked for");
        assert_eq!(
            begun.ids.trace.to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_ne!(begun.ids.span.to_string(), "b7ad6b7169203331");
        assert_eq!(begun.state.as_deref(), Some("a=1"));
        assert!(
            tracer.asked(&mut asks("00")).is_none(),
            "who asks does not record"
        );
        assert_eq!(tracer.asked(&mut HeaderMap::new()).is_some(), own);
        assert_eq!(tracer.begin().is_some(), own);
    }
}

#[test]
fn what_is_not_recorded_passes_untouched() {
    let tracer = tracer(0.0);
    let mut silent = asks("00");
    silent.insert(TRACESTATE, HeaderValue::from_static("no state at all"));
    let mut wrong = asks("zz");
    for fields in [&mut silent, &mut wrong] {
        let before = fields.clone();
        assert!(tracer.asked(fields).is_none());
        assert_eq!(*fields, before);
    }
}

#[test]
fn a_state_that_means_nothing_ends_where_a_trace_is_recorded() {
    let mut fields = asks("01");
    fields.insert(TRACESTATE, HeaderValue::from_static("no state at all"));
    let begun = tracer(0.0).asked(&mut fields).expect("asked for");
    assert_eq!((begun.state, fields.get(TRACESTATE)), (None, None));
    // Nobody knows whose it is behind a traceparent that cannot be read.
    let mut fields = asks("zz");
    let begun = tracer(1.0).asked(&mut fields).expect("by chance");
    assert_eq!((begun.parent, fields.get(TRACESTATE)), (None, None));
}

#[test]
fn ids_differ_in_both_halves() {
    let ids: Vec<_> = (0..64).map(|_| begun(7).ids).collect();
    let high = |ids: &Ids| ids.trace.bytes()[..8].to_vec();
    let mut halves: Vec<_> = ids.iter().map(high).collect();
    halves.sort();
    halves.dedup();
    assert_eq!(halves.len(), 64);
    assert!(
        ids.iter()
            .all(|one| one.trace.bytes()[8..] == 7_u64.to_be_bytes())
    );
}
