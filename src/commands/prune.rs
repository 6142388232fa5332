use anyhow::Context as _;
use directmessages::{chat::Pruned, config::Prune, open_store};

/// Removes old signals, and prints what it did.
pub(crate) async fn prune(settings: &Prune) -> anyhow::Result<()> {
    let retention = settings.kept.retention();
    if retention.keep.is_zero() {
        println!("nothing is pruned: SIGNAL_RETENTION is 0, which keeps every signal");
        return Ok(());
    }
    super::existing(&settings.database)?;
    let store = open_store(&settings.database, false).await?;
    let mut so_far = Pruned::default();
    let pruned = store.prune(&retention, |pruned| so_far = *pruned).await;
    store.close().await;
    let pruned = pruned.with_context(|| format!("stopped after {} signals", so_far.signals))?;
    println!(
        "pruned {} signals of {} users",
        pruned.signals, pruned.users
    );
    if pruned.busy > 0 {
        println!(
            "{} users were busy all the while: run it again for theirs",
            pruned.busy
        );
    }
    Ok(())
}
