use super::*;
use futures_util::FutureExt;
use proptest::prelude::*;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::thread;
use tokio::runtime::Builder;
use tokio::task::yield_now;

const LONG: Duration = Duration::from_secs(600);

fn limits(requests: usize, queue: usize) -> SeatLimits {
    SeatLimits {
        requests,
        share: 0,
        queue,
        queue_time: LONG,
        adaptive: None,
    }
}

fn seats(requests: usize, queue: usize) -> (Arc<Seats>, Arc<Row>) {
    let seats = Seats::new("site".into());
    seats.set(&limits(requests, queue));
    let row = Row::new(&seats);
    (seats, row)
}

/// Come, and wait if it must be.
async fn come(row: &Arc<Row>, holds: bool) -> Result<Seat> {
    match row.sit(holds) {
        Some(seat) => seat,
        None => row.wait(holds).await,
    }
}

fn why(seat: Result<Seat>) -> Option<Full> {
    match seat.err()? {
        Error::Full { why, .. } => Some(why),
        _ => None,
    }
}

fn numbers(seats: &Seats) -> [u64; 2] {
    [seats.in_flight(), seats.waiting()]
}

#[tokio::test]
async fn who_waits_sits_down_in_the_order_of_coming() {
    let (seats, row) = seats(1, 10);
    let first = come(&row, true).await.expect("a seat");
    let mut line: Vec<_> = (0..3).map(|_| Box::pin(come(&row, true))).collect();
    for waiting in &mut line {
        assert!(waiting.now_or_never().is_none());
    }
    assert_eq!(numbers(&seats), [1, 3]);
    drop(first);
    assert_eq!(numbers(&seats), [1, 2], "the seat is given, not left free");
    assert!(line[2].as_mut().now_or_never().is_none());
    assert!(line[1].as_mut().now_or_never().is_none());
    let mut seat = line.remove(0).await.expect("a seat");
    for waiting in line {
        drop(seat);
        seat = waiting.await.expect("a seat");
    }
    drop(seat);
    assert_eq!(numbers(&seats), [0, 0]);
    assert_eq!(seats.waited(), 3);
}

#[tokio::test]
async fn nobody_sits_down_past_the_line() {
    let (seats, row) = seats(1, 1);
    let first = come(&row, false).await.expect("a seat");
    let mut waiting = Box::pin(come(&row, false));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(why(come(&row, false).await), Some(Full::Queue));
    drop(first);
    // It was called, but has not run yet.
    assert!(row.sit(false).is_none(), "the seat is taken");
    drop(waiting.await);
    assert!(row.sit(false).is_some());
    assert_eq!(seats.refused(Full::Queue), 1);
}

#[tokio::test]
async fn who_gives_up_leaves_the_line_and_passes_its_seat_on() {
    let (seats, row) = seats(1, 10);
    let first = come(&row, true).await.expect("a seat");
    let mut one = Box::pin(come(&row, true));
    let mut two = Box::pin(come(&row, true));
    let mut three = Box::pin(come(&row, true));
    for waiting in [&mut one, &mut two, &mut three] {
        assert!(waiting.now_or_never().is_none());
    }
    drop(one);
    assert_eq!(numbers(&seats), [1, 2]);
    drop(first);
    assert_eq!(numbers(&seats), [1, 1], "the second was called");
    drop(two);
    let seat = three.now_or_never().expect("called").expect("a seat");
    assert_eq!(numbers(&seats), [1, 0]);
    drop(seat);
    assert_eq!(numbers(&seats), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_too_long_is_refused() {
    let (seats, row) = seats(1, 10);
    let seat = come(&row, true).await.expect("a seat");
    let mut waiting = Box::pin(come(&row, true));
    let almost = Duration::from_millis(599_999);
    assert!(timeout(almost, &mut waiting).await.is_err(), "not yet");
    assert_eq!(why(waiting.await), Some(Full::QueueTime));
    assert_eq!(numbers(&seats), [1, 0]);
    drop(seat);
    assert!(come(&row, true).await.is_ok());
    assert_eq!(seats.refused(Full::QueueTime), 1);
}

#[tokio::test]
async fn without_a_queue_one_too_many_is_refused_at_once() {
    let (seats, row) = seats(1, 0);
    let seat = come(&row, true).await.expect("a seat");
    assert_eq!(why(come(&row, true).await), Some(Full::Requests));
    drop(seat);
    assert!(come(&row, true).await.is_ok());
    assert_eq!(seats.refused_in_all(), 1);
}

#[tokio::test]
async fn a_limit_moves_and_nobody_who_waits_is_lost() {
    let (seats, row) = seats(1, 10);
    let first = come(&row, true).await.expect("a seat");
    let mut line: Vec<_> = (0..4).map(|_| Box::pin(come(&row, true))).collect();
    for waiting in &mut line {
        assert!(waiting.now_or_never().is_none());
    }
    seats.set(&limits(3, 1));
    assert_eq!(numbers(&seats), [3, 2], "two more, and the others wait on");
    let mut there = vec![first];
    for waiting in line.drain(..2) {
        there.push(waiting.await.expect("a seat"));
    }
    seats.set(&limits(1, 1));
    assert!(seats.are_overtaken());
    there.truncate(1);
    assert!(!seats.are_overtaken());
    assert!(line[0].as_mut().now_or_never().is_none());
    seats.set(&limits(0, 0));
    for waiting in line {
        there.push(waiting.await.expect("a seat"));
    }
    assert_eq!(numbers(&seats), [3, 0]);
    assert_eq!(seats.most(), None);
}

#[tokio::test]
async fn a_share_is_refused_to_who_takes_up_a_connection() {
    let (seats, row) = seats(1, 10);
    seats.set(&SeatLimits {
        share: 2,
        ..limits(1, 10)
    });
    let first = come(&row, true).await.expect("a seat");
    let mut waiting = Box::pin(come(&row, true));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(
        why(come(&row, true).await),
        Some(Full::Share),
        "who waits holds a connection, too"
    );
    let mut stream = Box::pin(come(&row, false));
    assert!(stream.as_mut().now_or_never().is_none(), "it may wait");
    drop((first, waiting));
    assert!(stream.await.is_ok());
}

type Coming<'a> = Pin<Box<dyn Future<Output = Result<Seat>> + 'a>>;

proptest! {
    /// Against a model that does the same with lists.
    #[test]
    fn a_seat_that_gets_free_wakes_exactly_the_first_in_line(
        steps in prop::collection::vec((0_u8..5, 0_usize..8), 1..120),
    ) {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _inside = runtime.enter();
        let (seats, row) = seats(2, 4);
        let mut most = 2;
        let mut there: Vec<Seat> = Vec::new();
        let mut line: Vec<Coming<'_>> = Vec::new();
        for (step, which) in steps {
            match step {
                0 | 1 => {
                    let mut coming: Coming<'_> = Box::pin(come(&row, true));
                    match coming.as_mut().now_or_never() {
                        Some(Ok(seat)) => {
                            prop_assert!(line.is_empty() && there.len() < most);
                            there.push(seat);
                        }
                        Some(Err(_)) => prop_assert_eq!(line.len(), 4),
                        None => line.push(coming),
                    }
                }
                2 if !there.is_empty() => drop(there.remove(which % there.len())),
                3 if !line.is_empty() => drop(line.remove(which % line.len())),
                4 => {
                    most = 1 + which % 3;
                    seats.set(&limits(most, 4));
                }
                _ => {}
            }
            // So many were called, and they are the first.
            let called = line.len().min(most.saturating_sub(there.len()));
            for (at, mut coming) in std::mem::take(&mut line).into_iter().enumerate() {
                match coming.as_mut().now_or_never() {
                    Some(seat) => {
                        prop_assert!(at < called);
                        there.push(seat.expect("it was called"));
                    }
                    None => line.push(coming),
                }
            }
            let expected = [there.len() as u64, line.len() as u64];
            prop_assert_eq!(numbers(&seats), expected);
        }
    }
}

/// Threads that come, go and give up as fast as they can: if a wake-up were lost
/// one of them would never end.
#[test]
fn no_wake_up_is_lost_between_threads() {
    const MOST: usize = 3;
    let (seats, _) = seats(MOST, 1_000);
    let at_once = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (seats, at_once) = (&seats, &at_once);
            scope.spawn(move || {
                let row = Row::new(seats);
                let mut random = fastrand::Rng::with_seed(worker);
                let runtime = Builder::new_current_thread().enable_all().build();
                let tasks = (0..8).map(|_| (random.fork(), Arc::clone(&row)));
                let tasks = tasks.map(|(random, row)| worked(random, row, at_once));
                let all = futures_util::future::join_all(tasks);
                runtime.expect("a runtime").block_on(all);
            });
        }
    });
    assert_eq!(numbers(&seats), [0, 0]);
    assert!(seats.waited() > 0, "they got in each other's way");
}

async fn worked(mut random: fastrand::Rng, row: Arc<Row>, at_once: &AtomicUsize) {
    for _ in 0..300 {
        let mut coming = Box::pin(come(&row, random.bool()));
        let seat = if random.u8(..4) == 0 {
            // It looks a few times, and gives up.
            let mut looked = None;
            for _ in 0..random.u8(..3) {
                looked = coming.as_mut().now_or_never();
                if looked.is_some() {
                    break;
                }
                yield_now().await;
            }
            looked
        } else {
            Some(coming.await)
        };
        let Some(seat) = seat else { continue };
        let seat = seat.expect("the queue is long");
        assert!(at_once.fetch_add(1, AcqRel) < 3);
        if random.bool() {
            yield_now().await;
        }
        at_once.fetch_sub(1, AcqRel);
        drop(seat);
    }
}
