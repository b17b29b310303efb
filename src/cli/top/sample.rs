//! Models as tests want them.

use super::model::{Model, News, Seen};
use crate::cli::sample;
use crate::drain::Timestamp;
use std::time::Duration;

/// So many seconds after what was seen.
pub(super) fn second(seconds: u64) -> Timestamp {
    Timestamp::from_start(Duration::from_secs(seconds))
}

pub(super) fn seen(draining: bool) -> Seen {
    Seen {
        at: Timestamp::ZERO,
        status: sample::status(draining),
        connections: sample::connections(),
        progress: sample::progress(draining),
        forecast: sample::forecast(draining),
    }
}

pub(super) fn model(draining: bool) -> Model {
    Model::new("127.0.0.1:9900".to_owned(), seen(draining))
}

/// The drain of the process that is seen is over, and this many were cut.
pub(super) fn over(cuts: u64) -> News {
    News::Over {
        instance: seen(true).status.instance,
        receipt: Box::new(sample::receipt(cuts)),
    }
}
