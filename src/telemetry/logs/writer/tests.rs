//! Real files, a pipe that nobody reads, and a disk that is always full.

use super::*;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;

/// Longer than any wait that ends by itself.
const LIMIT: Duration = Duration::from_secs(30);

fn start(output: Output) -> (Writer, Receiver<u64>) {
    let (note, notices) = mpsc::channel();
    let notice = Box::new(move |lost| {
        let _ = note.send(lost);
    });
    (Writer::start(output, notice).expect("a thread"), notices)
}

fn log(writer: &Writer, line: &str) {
    let mut near: &Writer = writer;
    near.write_all(line.as_bytes()).expect("never fails");
}

fn full() -> Output {
    let file = OpenOptions::new().write(true).open("/dev/full");
    Output {
        file: file.expect("the system has it"),
        path: None,
    }
}

fn pipe() -> (Output, io::PipeReader) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let output = Output {
        file: File::from(OwnedFd::from(writer)),
        path: None,
    };
    (output, reader)
}

#[test]
fn lines_come_in_the_order_of_their_author() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let (writer, _) = start(Output::append(&path).expect("opened"));
    let lines: Vec<String> = (0..5_000).map(|number| format!("{number}\n")).collect();
    for line in &lines {
        log(&writer, line);
    }
    assert!(writer.flush(LIMIT));
    assert_eq!(fs::read_to_string(&path).expect("there"), lines.concat());
    assert_eq!(writer.lost(), 0);
}

#[test]
fn a_file_that_was_moved_away_gets_what_came_before_the_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let [path, moved] = ["log", "log.1"].map(|name| directory.path().join(name));
    let (writer, _) = start(Output::append(&path).expect("opened"));
    log(&writer, "before\n");
    fs::rename(&path, &moved).expect("moved");
    log(&writer, "between\n");
    assert!(writer.flush(LIMIT));
    let opened = writer.reopen().blocking_recv().expect("answered");
    opened.expect("opened");
    log(&writer, "after\n");
    assert!(writer.flush(LIMIT));
    let read = |path| fs::read_to_string(path).expect("there");
    assert_eq!(read(&moved), "before\nbetween\n");
    assert_eq!(read(&path), "after\n");
}

#[test]
fn a_file_that_cannot_be_opened_anew_leaves_the_old_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("logs");
    let moved = directory.path().join("moved");
    fs::create_dir(&folder).expect("made");
    let (writer, _) = start(Output::append(&folder.join("log")).expect("opened"));
    fs::rename(&folder, &moved).expect("moved");
    let opened = writer.reopen().blocking_recv().expect("answered");
    let error = opened.expect_err("no folder");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    log(&writer, "still\n");
    assert!(writer.flush(LIMIT));
    let kept = fs::read_to_string(moved.join("log")).expect("there");
    assert_eq!(kept, "still\n");
}

#[test]
fn a_full_disk_costs_lines_and_counts_them() {
    let (writer, notices) = start(full());
    for _ in 0..3 {
        log(&writer, "no room\n");
    }
    assert!(writer.flush(LIMIT), "nobody waits for the disk");
    assert_eq!(writer.lost(), 3);
    assert!(notices.try_recv().is_err(), "there is no room to say so");
}

#[test]
fn who_logs_does_not_wait_for_who_reads() {
    let (output, mut reader) = pipe();
    let (writer, notices) = start(output);
    let line = format!("{}\n", "x".repeat(1023));
    // More than pipe and queue hold together.
    let logged = 2 * BYTES / line.len();
    for _ in 0..logged {
        log(&writer, &line);
    }
    assert!(!writer.flush(Duration::ZERO), "it is stuck");
    let lost = writer.lost();
    let kept = logged as u64 - lost;
    assert!(lost > 0 && kept >= (BYTES / line.len()) as u64, "{lost}");
    // Somebody reads again: all that waited comes, and what is missing is said.
    let reading = thread::spawn(move || {
        let mut read = Vec::new();
        reader.read_to_end(&mut read).map(|_| read)
    });
    assert!(writer.flush(LIMIT));
    assert_eq!(notices.recv_timeout(LIMIT), Ok(lost));
    drop(writer);
    let read = reading.join().expect("no panic").expect("read");
    assert_eq!(read.len() as u64, kept * 1024);
}

#[test]
fn what_waits_is_bounded_in_lines_too() {
    let (output, reader) = pipe();
    let (writer, _) = start(output);
    for _ in 0..3 * LINES {
        // Far from the bytes' bound.
        log(&writer, &format!("{}\n", "y".repeat(127)));
    }
    assert!(writer.lost() > 0);
    assert!(writer.shared.bytes.load(Relaxed) < BYTES);
    drop(reader);
}

#[test]
fn a_torn_line_is_ended_before_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let (_queue, lines) = sync_channel(1);
    let mut hand = Hand {
        lines,
        output: Output::append(&path).expect("opened"),
        shared: Arc::default(),
        torn: false,
        said: 0,
        notice: Box::new(drop),
    };
    // As if the disk had been full after four bytes.
    assert_eq!(hand.pass(b"torn"), 4);
    hand.torn = true;
    assert!(hand.write(b"whole\n"));
    let good = std::mem::replace(&mut hand.output, full());
    assert!(!hand.write(b"one\ntwo\n"));
    assert_eq!(hand.shared.lost.load(Relaxed), 2);
    hand.output = good;
    assert!(hand.write(b"three\n"));
    let text = fs::read_to_string(&path).expect("there");
    assert_eq!(text, "torn\nwhole\nthree\n");
}

#[test]
fn who_waits_for_lines_waits_for_one_that_came_during_a_write() {
    let (output, mut reader) = pipe();
    let (writer, _) = start(output);
    let line = |length: usize| "x".repeat(length - 1) + "\n";
    // The first fills the pipe, so that the second is in the midst of its write.
    for length in [60_000, 60_000] {
        log(&writer, &line(length));
        while writer.shared.bytes.load(Relaxed) > 0 {
            thread::yield_now();
        }
    }
    log(&writer, &line(200_000));
    let waiting = {
        let writer = writer.clone();
        thread::spawn(move || writer.flush(Duration::from_millis(200)))
    };
    while writer.shared.asked.lock().is_empty() {
        thread::yield_now();
    }
    let mut read = vec![0; 120_000];
    reader.read_exact(&mut read).expect("two lines");
    assert!(
        !waiting.join().expect("answered"),
        "the third is not written"
    );
    let mut rest = vec![0; 200_000];
    reader.read_exact(&mut rest).expect("the third");
    assert!(writer.flush(LIMIT));
}
