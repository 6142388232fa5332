use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// A slow tick may be made as short as a test likes; beats are never more frequent.
const LEAST: Duration = Duration::from_millis(200);

/// Connecting, or handing over a message, never takes longer where it succeeds.
const LONGEST_STEP: Duration = Duration::from_secs(5);

/// Whether the bus carries hints. Every server sends itself a beat over it at each slow tick: where none came back for
/// two and a half, the bus counts as away, whatever its connection says (a pooler that swallows LISTEN, a partition, a queue
/// that does not move).
#[derive(Debug)]
pub(super) struct Pulse {
    /// What carries, for the log.
    bus: &'static str,
    every: Duration,
    heard: Mutex<Instant>,
    /// Whether its absence was told.
    told: AtomicBool,
    /// What the bus last complained of.
    fault: Mutex<Option<String>>,
    doubted: Notify,
}

impl Pulse {
    pub(super) fn new(bus: &'static str, every: Duration) -> Self {
        Self {
            bus,
            every: every.max(LEAST),
            heard: Mutex::new(Instant::now()),
            told: AtomicBool::new(false),
            fault: Mutex::default(),
            doubted: Notify::new(),
        }
    }

    /// How long to wait between two beats.
    pub(super) fn every(&self) -> Duration {
        self.every
    }

    /// How long one step of the bus may take before it is given up.
    pub(super) fn step(&self) -> Duration {
        self.patience().min(LONGEST_STEP)
    }

    /// How long a beat may take before the bus counts as away.
    pub(super) fn patience(&self) -> Duration {
        self.every * 5 / 2
    }

    pub(super) fn is_away(&self) -> bool {
        lock(&self.heard).elapsed() > self.patience()
    }

    /// A beat came back.
    pub(super) fn heard(&self) {
        *lock(&self.heard) = Instant::now();
        lock(&self.fault).take();
        if self.told.swap(false, Ordering::Relaxed) {
            tracing::info!(bus = self.bus, "hints between servers are back");
            self.doubt();
        }
    }

    /// Something went wrong with the bus: what it was is told should it stay away.
    pub(super) fn blame(&self, fault: &dyn std::fmt::Display) {
        lock(&self.fault).replace(fault.to_string());
    }

    /// Tells once where the bus is away. Called with every beat.
    pub(super) fn check(&self) {
        if self.is_away() && !self.told.swap(true, Ordering::Relaxed) {
            let fault = lock(&self.fault).clone();
            tracing::warn!(
                bus = self.bus,
                fault = fault.as_deref().unwrap_or("a beat got lost on it"),
                "hints between servers are away: other servers' signals come by the slow tick"
            );
        }
    }

    /// Hints may have been missed just now: the logs are looked at without waiting for the next tick.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Waits until hints may have been missed.
    pub(super) async fn doubted(&self) {
        self.doubted.notified().await;
    }
}

/// Neither a time nor a text can be left half changed by a panic elsewhere.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
