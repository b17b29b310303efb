use super::*;

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn read(text: &str) -> Option<Parent> {
    Parent::read(text.as_bytes())
}

#[test]
fn a_traceparent_is_read_and_written_alike() {
    let parent = read(GOOD).expect("the specification's own");
    assert_eq!(
        parent.ids.trace.to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(parent.ids.span.to_string(), "b7ad6b7169203331");
    assert!(parent.is_sampled());
    assert_eq!(traceparent(parent.ids, parent.flags()), GOOD);
    let silent = read(&GOOD.replace("-01", "-00")).expect("not recorded");
    assert!(!silent.is_sampled());
    // That it was drawn by chance is passed on; what nobody knows is not.
    let flags = |flags| read(&format!("{}{flags}", &GOOD[..53])).map(Parent::flags);
    assert_eq!((flags("03"), flags("fd")), (Some(3), Some(1)));
}

#[test]
fn what_is_not_to_the_letter_is_no_traceparent() {
    for wrong in [
        "",
        "00",
        &GOOD[..54],
        &format!("{GOOD}-"),
        &format!("{GOOD}0"),
        &format!("ff{}", &GOOD[2..]),
        &GOOD.to_uppercase(),
        &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
        &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
        &GOOD.replace("b7ad", "b7ag"),
        &GOOD.replacen('-', "_", 1),
        &GOOD.replace("-b7", "_b7"),
        &GOOD.replace("-01", "_01"),
        &GOOD.replace("-01", "-0g"),
        &GOOD.replace("-01", "-1 "),
        &format!(" {}", &GOOD[..54]),
        &format!("0x{}", &GOOD[2..]),
    ] {
        assert_eq!(read(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_version_to_come_may_say_more() {
    let later = format!("cc{}", &GOOD[2..]);
    assert_eq!(read(&later), read(GOOD));
    assert_eq!(read(&format!("{later}-what-the-future-holds")), read(GOOD));
    assert_eq!(read(&format!("{later}.what")), None);
}

fn fields(said: &[(&'static str, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in said {
        fields.append(*name, value.parse().expect("a value"));
    }
    fields
}

#[test]
fn two_that_ask_are_nobody() {
    assert!(Parent::of(&fields(&[("traceparent", GOOD)])).is_some());
    let twice = fields(&[("traceparent", GOOD), ("traceparent", GOOD)]);
    assert_eq!(Parent::of(&twice), None);
    assert_eq!(Parent::of(&fields(&[])), None);
}

#[test]
fn a_tracestate_is_passed_on_whole_or_not_at_all() {
    let state = |said: &[&str]| {
        let said: Vec<_> = said.iter().map(|value| ("tracestate", *value)).collect();
        tracestate(&fields(&said))
    };
    let same = |said: &str| assert_eq!(state(&[said]).as_deref(), Some(said));
    assert_eq!(state(&[]), None);
    same("rojo=00f067aa0ba902b7");
    same("1a@dd=x y , ,b=2");
    assert_eq!(state(&["a=1", "b=2,c=3"]).as_deref(), Some("a=1,b=2,c=3"));
    let many = |count: usize| {
        let entries: Vec<String> = (0..count).map(|n| format!("k{n}=v")).collect();
        entries.join(",")
    };
    same(&many(32));
    for wrong in [
        "",
        "a",
        "a=",
        "=1",
        "A=1",
        "@a=1",
        "a=1,a=2",
        "a=1=2",
        "a b=1",
        &format!("{}=1", "a".repeat(257)),
        &format!("a={}", "1".repeat(257)),
        &many(33),
    ] {
        assert_eq!(state(&[wrong]), None, "{wrong:?}");
    }
}
