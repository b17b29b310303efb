//! The thread that writes log lines, and the bounded queue before it.
//!
//! A line is handed over and its author goes on: whatever becomes of the disk,
//! the terminal or whoever reads the pipe, nobody on the way of the data waits
//! for it. The thread joins the lines that wait into one write, and lets some
//! gather before the next: to wake it for each line costs an exchange several
//! times what the line does.
//!
//! Invariant: a line was written whole, is waiting, or is counted as lost; and
//! what waits is bounded in lines and in bytes. A line that a full disk tore is
//! ended before the next one begins.
//!
//! Deliberately absent: trying again. What could not be written is counted and
//! said once there is room; it is not kept, since a disk stays full for hours.

use parking_lot::Mutex;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, SyncSender, sync_channel};
use std::thread::{self, Thread};
use std::time::Duration;
use tokio::sync::oneshot;

/// Lines that may wait.
const LINES: usize = 8 * 1024;

/// Bytes that may wait.
const BYTES: usize = 4 * 1024 * 1024;

/// Bytes from which on no more lines are joined to a write.
const BATCH: usize = 64 * 1024;

/// How long lines gather after a write, unless there is a batch of them before.
const GATHER: Duration = Duration::from_millis(5);

/// The pause where a pipe that must not be waited for takes nothing.
const FULL_PIPE: Duration = Duration::from_millis(5);

/// Said once there is room again: how many lines were lost.
type Notice = Box<dyn Fn(u64) + Send>;

/// Where the lines go.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) file: File,
    /// How to open it anew; none for a stream that was inherited.
    pub(super) path: Option<PathBuf>,
}

impl Output {
    /// A file that is appended to, so that the lines of two processes and
    /// what `logrotate` does to it go together.
    pub(super) fn append(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        // Clients' addresses stand in it.
        options.create(true).append(true).mode(0o640);
        Ok(Self {
            file: options.open(path)?,
            path: Some(path.to_owned()),
        })
    }
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Something is asked.
    Look,
}

#[derive(Debug)]
enum Asked {
    Reopen(oneshot::Sender<io::Result<()>>),
    Flush(mpsc::Sender<()>),
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes that wait.
    bytes: AtomicUsize,
    lost: AtomicU64,
    /// Beside the queue, so that it also comes through when that is full.
    asked: Mutex<Vec<Asked>>,
}

/// The near end of the queue.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    thread: Thread,
}

impl Writer {
    /// Start the thread. It ends when every writer is gone.
    pub(super) fn start(output: Output, notice: Notice) -> io::Result<Self> {
        let (queue, lines) = sync_channel(LINES);
        let shared = Arc::new(Shared::default());
        let hand = Hand {
            lines,
            output,
            shared: Arc::clone(&shared),
            torn: false,
            said: 0,
            notice,
        };
        let thread = thread::Builder::new()
            .name("logs".to_owned())
            .spawn(move || hand.run())?;
        let thread = thread.thread().clone();
        Ok(Self {
            queue,
            shared,
            thread,
        })
    }

    /// Lines lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed)
    }

    /// Open the file anew, behind the lines that are being written.
    pub(super) fn reopen(&self) -> oneshot::Receiver<io::Result<()>> {
        let (answer, opened) = oneshot::channel();
        self.ask(Asked::Reopen(answer));
        opened
    }

    /// Wait until nothing waits any more, for so long at most; whether that
    /// was long enough.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let (answer, flushed) = mpsc::channel();
        self.ask(Asked::Flush(answer));
        flushed.recv_timeout(limit).is_ok()
    }

    fn ask(&self, asked: Asked) {
        self.shared.asked.lock().push(asked);
        // Full, it is awake already and looks when it has written.
        let _ = self.queue.try_send(Message::Look);
        self.thread.unpark();
    }

    /// Hand a line over, or count it.
    pub(super) fn line(&self, line: Vec<u8>) {
        let length = line.len();
        let waiting = self.shared.bytes.fetch_add(length, Relaxed);
        let fits = waiting + length <= BYTES;
        if fits && self.queue.try_send(Message::Line(line)).is_ok() {
            if waiting < BATCH && waiting + length >= BATCH {
                self.thread.unpark();
            }
            return;
        }
        self.shared.bytes.fetch_sub(length, Relaxed);
        self.shared.lost.fetch_add(1, Relaxed);
    }
}

/// An event is put together first and comes whole, as one write.
impl Write for &Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The far end: what the thread has.
struct Hand {
    lines: Receiver<Message>,
    output: Output,
    shared: Arc<Shared>,
    /// Whether the file ends within a line.
    torn: bool,
    /// How many lost lines were told of.
    said: u64,
    notice: Notice,
}

impl Hand {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = self.lines.recv() {
            batch.clear();
            self.add(&mut batch, first);
            let mut more = true;
            while more && batch.len() < BATCH {
                more = self
                    .lines
                    .try_recv()
                    .map(|next| self.add(&mut batch, next))
                    .is_ok();
            }
            if self.write(&batch) {
                self.say_what_was_lost();
            }
            self.answer(!more);
            if !more {
                // Whoever asks for something unparks, so that nobody waits for this.
                thread::park_timeout(GATHER);
            }
        }
    }

    fn add(&self, batch: &mut Vec<u8>, message: Message) {
        if let Message::Line(line) = message {
            self.shared.bytes.fetch_sub(line.len(), Relaxed);
            batch.extend_from_slice(&line);
        }
    }

    /// Whether it was written whole; what was not is counted.
    fn write(&mut self, batch: &[u8]) -> bool {
        if batch.is_empty() {
            return false;
        }
        if self.torn && self.pass(b"\n") == 1 {
            self.torn = false;
        }
        let passed = if self.torn { 0 } else { self.pass(batch) };
        let rest = &batch[passed..];
        if passed > 0 {
            self.torn = batch[passed - 1] != b'\n';
        }
        let lost = memchr::memchr_iter(b'\n', rest).count();
        self.shared.lost.fetch_add(lost as u64, Relaxed);
        rest.is_empty()
    }

    /// How many bytes the file took before it took no more.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() {
            match self.output.file.write(&bytes[passed..]) {
                Ok(0) => break,
                Ok(more) => passed += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever gave us the stream set it so; it is as full as one
                // that is waited for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::park_timeout(FULL_PIPE);
                }
                Err(_) => break,
            }
        }
        passed
    }

    fn say_what_was_lost(&mut self) {
        let lost = self.shared.lost.load(Relaxed);
        // Not while what is said of it would be lost as well.
        if lost > self.said && self.shared.bytes.load(Relaxed) < BYTES / 2 {
            (self.notice)(lost - self.said);
            self.said = lost;
        }
    }

    /// Do what is asked. Who waits for the lines that wait is told when there
    /// are none.
    fn answer(&mut self, empty: bool) {
        let asked = std::mem::take(&mut *self.shared.asked.lock());
        // A line may have come since the queue was seen empty, and who asks now may
        // be its author.
        let empty = empty && self.shared.bytes.load(Relaxed) == 0;
        for one in asked {
            // Whoever asked may have left.
            match one {
                Asked::Reopen(answer) => drop(answer.send(self.reopen())),
                Asked::Flush(answer) if empty => drop(answer.send(())),
                Asked::Flush(answer) => self.shared.asked.lock().push(Asked::Flush(answer)),
            }
        }
    }

    /// The old file stays until the new one is open.
    fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.output.path {
            self.output = Output::append(path)?;
            self.torn = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
