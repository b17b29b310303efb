//! Which form of an answer a client wants (RFC 9110, section 12.5.1).
//!
//! Invariant: there is always an answer: who accepts none of the forms gets
//! the first, which RFC 9110 allows and people at a terminal expect.
//!
//! Deliberately absent: parameters of media types but `q`. Each form that is
//! offered has one version.

use http::HeaderMap;
use http::header::ACCEPT;

/// The position of the offer that is wanted most; of equals the first. An
/// offer is a media type without parameters, in lower case.
pub(super) fn wanted(headers: &HeaderMap, offers: &[&str]) -> usize {
    let accepted = headers.get_all(ACCEPT).iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    let ranges: Vec<(String, u16)> = accepted
        .flat_map(|value| value.split(','))
        .filter_map(range)
        .collect();
    let weigh = |offer: &str| {
        let fitting = ranges
            .iter()
            .filter_map(|(range, weight)| Some((closeness(range, offer)?, *weight)));
        // The closest range says how much; a star says little.
        fitting.max().map_or(0, |(_, weight)| weight)
    };
    let weights = offers.iter().map(|offer| weigh(offer));
    let best = weights.enumerate().rev().max_by_key(|(_, weight)| *weight);
    best.map_or(0, |(position, _)| position)
}

/// A media range, and its weight in thousandths.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let weight = parts.find_map(|part| {
        let value = part
            .strip_prefix("q=")
            .or_else(|| part.strip_prefix("Q="))?;
        let value: f32 = value.trim().parse().ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies from 0 to 1000 then"
        )]
        Some((value.clamp(0.0, 1.0) * 1000.0) as u16)
    });
    Some((range.to_ascii_lowercase(), weight.unwrap_or(1000)))
}

fn closeness(range: &str, offer: &str) -> Option<u8> {
    if range == offer {
        return Some(2);
    }
    let kind = range.strip_suffix("/*")?;
    match offer.split('/').next() {
        _ if kind == "*" => Some(0),
        Some(of) if of == kind => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn chosen(accept: &'static [&str], offers: &[&str]) -> usize {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        wanted(&headers, offers)
    }

    #[test]
    fn the_weightiest_form_is_chosen_and_of_equals_the_first() {
        let offers = ["text/plain", "application/json", "application/toml"];
        for (accept, expected) in [
            (&[][..], 0),
            (&["*/*"], 0),
            (&["application/toml"], 2),
            (&["application/*"], 1),
            (&["Application/JSON; charset=utf-8"], 1),
            (&["application/json;q=0.2, application/toml;q=0.3"], 2),
            (&["text/plain;q=0, */*;q=0.1"], 1),
            (&["application/toml", "text/plain;q=0.9"], 2),
            (&["image/png"], 0),
            (&["application/json;q=nonsense"], 1),
            (&[";;,,q=1"], 0),
        ] {
            assert_eq!(chosen(accept, &offers), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_scraper_of_today_gets_openmetrics() {
        let offers = ["text/plain", "application/openmetrics-text"];
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2";
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(prometheus));
        assert_eq!(wanted(&headers, &offers), 1);
        headers.insert(ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4"));
        assert_eq!(wanted(&headers, &offers), 0);
    }
}
