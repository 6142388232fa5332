use std::collections::BTreeMap;

use tokio::sync::mpsc;
use uuid::Uuid;

/// The most batches that are merged into one sending.
const MERGED: usize = 64;

/// One server's end of the bus: what it has to tell, and who it is.
pub(super) struct Outbox {
    /// Drawn anew at every start: a server does not listen to itself.
    pub(super) own: Uuid,
    batches: mpsc::Receiver<Vec<(Uuid, i64)>>,
}

impl Outbox {
    /// An outbox, and the way into it.
    pub(super) fn new(capacity: usize) -> (mpsc::Sender<Vec<(Uuid, i64)>>, Self) {
        let (sender, batches) = mpsc::channel(capacity);
        let own = Uuid::new_v4();
        (sender, Self { own, batches })
    }

    /// All that waits, the latest for each user; nothing once nobody can add to it. Nothing is lost where the caller stops
    /// waiting.
    pub(super) async fn next(&mut self) -> Option<BTreeMap<Uuid, i64>> {
        let mut batches = Vec::new();
        match self.batches.recv_many(&mut batches, MERGED).await {
            0 => None,
            _ => Some(batches.into_iter().flatten().collect()),
        }
    }
}
