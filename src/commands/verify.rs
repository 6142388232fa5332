use directmessages::{
    chat::{State, Verified},
    config::Verify,
    open_store,
};

/// Counts everything again, and prints what is wrong. Answers with whether nothing is, any more.
pub(crate) async fn verify(settings: &Verify) -> anyhow::Result<bool> {
    super::existing(&settings.database)?;
    let store = open_store(&settings.database, false).await?;
    let verified = store.verify(settings.repair, |finding| {
        let state = match finding.state {
            State::Mendable => "wrong",
            State::Mended => "mended",
            State::Lost => "lost",
        };
        println!("{state}: {}", finding.what);
    });
    let verified = verified.await;
    store.close().await;
    let Verified {
        users,
        conversations,
        mendable,
        mended,
        lost,
    } = verified?;
    let looked_at = format!("{users} users and {conversations} conversations");
    match (mendable, mended, lost) {
        (0, 0, 0) => println!("{looked_at}: everything is right"),
        (0, _, 0) => println!("{looked_at}: {mended} things were wrong, and are mended"),
        _ => println!(
            "{looked_at}: {mendable} things are wrong and can be mended by --repair, {mended} were mended, {lost} cannot be"
        ),
    }
    Ok(mendable + lost == 0)
}
