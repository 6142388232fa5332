use directmessages::{
    chat::{State, Verified},
    config::Verify,
    open_store,
};

use super::print;

/// Counts everything again, and prints what is wrong. Answers with whether nothing is, any more.
pub(crate) async fn verify(settings: &Verify) -> anyhow::Result<bool> {
    super::existing(&settings.database)?;
    let store = open_store(&settings.database, false).await?;
    let mut printed = Ok(());
    let verified = store.verify(settings.repair, |finding| {
        let state = match finding.state {
            State::Mendable => "wrong",
            State::Mended => "mended",
            State::Lost => "lost",
        };
        if printed.is_ok() {
            printed = print(format_args!("{state}: {}\n", finding.what));
        }
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
    printed?;
    let come_to = match (mendable, mended, lost) {
        (0, 0, 0) => "everything is right".to_owned(),
        (0, _, 0) => format!("{mended} things were wrong, and are mended"),
        _ => format!(
            "{mendable} things are wrong and can be mended by --repair, {mended} were mended, {lost} cannot be"
        ),
    };
    print(format_args!(
        "{users} users and {conversations} conversations: {come_to}\n"
    ))?;
    Ok(mendable + lost == 0)
}
