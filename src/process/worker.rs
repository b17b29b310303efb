//! Worker threads: one runtime each, a socket of every listener, own pools.
//!
//! A worker does what it is handed and knows nothing of configs: ports are
//! opened on it at the start and by reloads, and accept until their scope's
//! orders say otherwise.
//!
//! Deliberately absent: any word between workers. A connection lives and dies
//! on the worker that accepted it.

use crate::proxy::listener::Port;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// How many workers `0` means: one per core.
pub(super) fn count(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workers => workers,
    }
}

/// Workers at work.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    runtimes: Vec<Handle>,
    /// Whether each has answered since it was last called.
    answered: Vec<Arc<AtomicBool>>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Start the threads.
    ///
    /// # Errors
    /// When the system has no room for a thread or its runtime.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut workers = Self {
            threads: Vec::new(),
            runtimes: Vec::new(),
            answered: Vec::new(),
            stop,
        };
        for index in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.runtimes.push(runtime.handle().clone());
            workers.answered.push(Arc::new(AtomicBool::new(true)));
            let mut stopped = stopped.clone();
            let work = move || {
                // A sender that is gone says the same.
                let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
            };
            let name = format!("worker-{index}");
            let thread = std::thread::Builder::new().name(name).spawn(work)?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Open a listener's ports, one on each worker, and round again if there
    /// are more.
    pub(super) fn open(&self, ports: Vec<Port>) {
        for (runtime, port) in self.runtimes.iter().cycle().zip(ports) {
            runtime.spawn(async move {
                let name = Arc::clone(port.scope.listener());
                if let Err(error) = port.accept().await {
                    tracing::error!(listener = %name, %error, "cannot accept");
                }
            });
        }
    }

    /// Have each worker tend what is its own, in their order.
    pub(super) fn tend<T>(&self, tasks: impl Iterator<Item = T>)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        for (runtime, task) in self.runtimes.iter().zip(tasks) {
            runtime.spawn(task);
        }
    }

    /// Whether every worker has done what it was last called for; then they
    /// are called again. A worker whose loop stands still does not.
    pub(super) fn roll_call(&self) -> bool {
        let silent = self.answered.iter().position(|one| !one.load(Relaxed));
        if let Some(worker) = silent {
            tracing::warn!(event = "watchdog", worker, "a worker does not answer");
            return false;
        }
        for (runtime, answered) in self.runtimes.iter().zip(&self.answered) {
            answered.store(false, Relaxed);
            let answered = Arc::clone(answered);
            runtime.spawn(async move { answered.store(true, Relaxed) });
        }
        true
    }

    /// End every worker and what is left on it.
    pub(super) fn stop(self) {
        // Workers that are gone need no telling.
        let _ = self.stop.send(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_worker_that_stands_still_does_not_answer() {
        let workers = Workers::start(2).expect("started");
        let until_answered = || {
            for _ in 0..10_000 {
                if workers.roll_call() {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            false
        };
        assert!(workers.roll_call(), "nobody was called yet");
        assert!(until_answered());
        let (go_on, still) = mpsc::channel::<()>();
        let (stuck, is_stuck) = mpsc::channel();
        workers.runtimes[1].spawn(async move {
            stuck.send(()).expect("heard");
            still.recv().expect("told to go on");
        });
        is_stuck.recv().expect("it stands still");
        // The first call may have been answered before.
        let _ = until_answered();
        assert!((0..50).all(|_| {
            std::thread::sleep(Duration::from_millis(1));
            !workers.roll_call()
        }));
        go_on.send(()).expect("there");
        assert!(until_answered());
        workers.stop();
    }
}
