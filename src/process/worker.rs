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
            stop,
        };
        for index in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.runtimes.push(runtime.handle().clone());
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
