//! The date of a response that its server did not date.
//!
//! A proxy with a clock adds one to what it passes on (RFC 9110, section
//! 6.6.1). The HTTP/1.1 engine does so by itself; the HTTP/2 engine sends what
//! it is given.
//!
//! Invariant: text is made once a second and worker, not once a response.

use crate::clock;
use http::HeaderMap;
use http::header::{DATE, HeaderValue};
use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

/// The second since the epoch that was last put in words, and the words.
type Known = (u64, HeaderValue);

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// Add the date, if there is none.
pub(super) fn add(headers: &mut HeaderMap) {
    if headers.contains_key(DATE) {
        return;
    }
    if let Some(date) = at(clock::unix().as_secs()) {
        headers.insert(DATE, date);
    }
}

fn at(second: u64) -> Option<HeaderValue> {
    KNOWN.with_borrow_mut(|known| {
        if let Some((when, date)) = known
            && *when == second
        {
            return Some(date.clone());
        }
        let time = UNIX_EPOCH + Duration::from_secs(second);
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()?;
        *known = Some((second, date.clone()));
        Some(date)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_in_the_form_that_all_read() {
        for _ in 0..2 {
            let date = at(784_111_777).expect("a date");
            assert_eq!(date, "Sun, 06 Nov 1994 08:49:37 GMT");
            let later = at(784_111_778).expect("a date");
            assert_eq!(later, "Sun, 06 Nov 1994 08:49:38 GMT");
        }
    }

    #[test]
    fn the_servers_own_date_stays() {
        let mut headers = HeaderMap::new();
        add(&mut headers);
        assert_eq!(headers.len(), 1);
        let own = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        headers.insert(DATE, own.clone());
        add(&mut headers);
        assert_eq!(headers.get_all(DATE).iter().collect::<Vec<_>>(), [&own]);
    }
}
