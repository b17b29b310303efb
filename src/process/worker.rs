//! Worker threads: one runtime each, a socket of every listener, own pools.
//!
//! Deliberately absent: any word between workers. A connection lives and dies
//! on the worker that accepted it.

use super::Error;
use crate::config::Config;
use crate::proxy::listener::{Bound, Port};
use crate::proxy::registry::{Registry, Scope};
use crate::proxy::request::Site;
use crate::proxy::upstream::{Pool, Upstream};
use crate::telemetry::metrics::Metrics;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, watch};

/// How many workers `0` means: one per core.
pub(super) fn count(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workers => workers,
    }
}

/// Workers that are built, and wait to be started.
#[derive(Debug)]
pub(super) struct Workers {
    built: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    ports: Vec<Port>,
    pools: Vec<Arc<Pool>>,
}

/// Workers at work.
pub(super) struct Running {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Hand each worker its socket of every listener.
    pub(super) fn build(
        config: &Config,
        registry: &Arc<Registry>,
        upstreams: &[Arc<Upstream>],
        metrics: &Metrics,
        bound: Vec<Bound>,
        scopes: &[Arc<Scope>],
        count: usize,
    ) -> Result<Self, Error> {
        let mut built: Vec<Worker> = (0..count)
            .map(|_| Worker {
                ports: Vec::new(),
                pools: upstreams.iter().map(Upstream::pool).collect(),
            })
            .collect();
        let listeners = config.listeners.iter().zip(bound).zip(scopes);
        for ((listener, bound), scope) in listeners {
            let policy = Arc::new(listener.clone());
            let tls = crate::proxy::tls(listener)?;
            let limit = listener.limits.connections;
            let room = (limit > 0).then(|| Arc::new(Semaphore::new(limit)));
            for (worker, socket) in built.iter_mut().zip(bound.sockets) {
                let access = config.process.logs.access;
                let site = Site::new(Arc::clone(&policy), &worker.pools, metrics, access);
                worker.ports.push(Port {
                    socket,
                    site: Arc::new(site),
                    tls: tls.clone(),
                    room: room.clone(),
                    registry: Arc::clone(registry),
                    accepting: scope.accepting(),
                    scope: Arc::clone(scope),
                });
            }
        }
        Ok(Self { built })
    }

    /// Start every worker's thread.
    ///
    /// # Errors
    /// When the system has no room for a thread or its runtime.
    pub(super) fn start(self) -> io::Result<Running> {
        let (stop, stopped) = watch::channel(false);
        let mut threads = Vec::new();
        for (index, worker) in self.built.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let stopped = stopped.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || runtime.block_on(worker.work(stopped)))?;
            threads.push(thread);
        }
        Ok(Running { threads, stop })
    }
}

impl Worker {
    async fn work(self, mut stopped: watch::Receiver<bool>) {
        for port in self.ports {
            tokio::spawn(async move {
                let name = Arc::clone(port.site.name());
                if let Err(error) = port.accept().await {
                    tracing::error!(listener = %name, %error, "cannot accept");
                }
            });
        }
        // A sender that is gone says the same.
        let _ = stopped.wait_for(|stop| *stop).await;
        for pool in &self.pools {
            pool.close();
        }
    }
}

impl Running {
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
