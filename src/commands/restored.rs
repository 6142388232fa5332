use directmessages::{config::Restored, open_store};

/// Turns away every cursor from before the restore.
pub(crate) async fn restored(settings: &Restored) -> anyhow::Result<()> {
    super::existing(&settings.database)?;
    let store = open_store(&settings.database, false).await?;
    let drawn = store.draw_epoch().await;
    store.close().await;
    drawn?;
    println!("every cursor from before is refused now: listeners reload their lists");
    Ok(())
}
