//! Old signals are taken away, so that the logs do not grow without end.
//!
//! From each user's log goes a prefix only, up to the first entry that is young by the database's clock, and `log_floor` is
//! raised over it in the same transaction: whoever reads on from below is told that the cursor expired, and never meets a
//! hole. Such a transaction holds a few inboxes for some milliseconds and waits for nobody: an inbox that a writer
//! holds is passed over and tried again. So senders are not stalled, and several servers that prune at one time neither
//! wait for each other nor do anything twice.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, Statement};
use uuid::Uuid;

use super::{
    Store,
    error::Trouble,
    inbox::{self, Locking},
    rows::Rows,
    store::{self, Patience},
};

/// How many inboxes one statement looks at: one short look into the index of signals for each.
const PAGE: i64 = 500;
/// The most inboxes that one transaction holds.
const INBOXES: usize = 8;
/// How often a page's inboxes are tried in vain, each of them busy, before they are left for the next time.
const ATTEMPTS: u32 = 5;
/// How long to wait before they are.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// The least pause between two transactions, or two looks at inboxes.
const LEAST_PAUSE: Duration = Duration::from_millis(5);

/// A transaction that prunes is short, and worth nothing: where anything holds it up, it lets go.
const PATIENCE: Patience = Patience {
    lock: 100,
    statement: 2_000,
    idle: 2_000,
};
/// How long such a transaction may take in all before the database counts as away: where it hangs, nobody answers at all.
const TRANSACTION: Duration = Duration::from_secs(5);

/// How long signals are kept, and how many are removed at one time.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Younger signals stay; zero keeps all.
    pub keep: Duration,
    /// The most signals that one transaction removes.
    pub batch: u32,
}

/// What was pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many users had old signals that are gone now.
    pub users: u64,
    /// How many signals are gone.
    pub signals: u64,
    /// How many users' inboxes were held by others all the while: their old signals are left for the next time.
    pub busy: u64,
}

impl Store {
    /// Removes every signal that is older than `retention` says. `progress` is told after each transaction. It may be
    /// stopped anywhere: what was removed until then is removed, and nothing is half done.
    ///
    /// # Errors
    /// Where the database is away or full; what was removed until then stays removed.
    pub async fn prune(
        &self,
        retention: &Retention,
        mut progress: impl FnMut(&Pruned) + Send,
    ) -> Result<Pruned, DbErr> {
        let mut pruned = Pruned::default();
        if retention.keep.is_zero() {
            return Ok(pruned);
        }
        // Several servers each begin somewhere else, so that they seldom look at the same users at one time.
        let start = Uuid::new_v4();
        for (after, end) in [(start, Uuid::max()), (Uuid::nil(), start)] {
            let mut next = Some(after);
            while let Some(after) = next {
                let began = Instant::now();
                let due;
                (due, next) = self.due(after, end, retention).await?;
                if due.is_empty() {
                    pause(began).await;
                }
                self.prune_users(due, retention, &mut pruned, &mut progress)
                    .await?;
            }
        }
        Ok(pruned)
    }

    /// The users of one page whose log begins with what can go, and where the next page begins.
    async fn due(
        &self,
        after: Uuid,
        end: Uuid,
        retention: &Retention,
    ) -> Result<(Vec<Uuid>, Option<Uuid>), DbErr> {
        // A log that an import moved to its end may still have entries below its floor: they go too, whatever their age.
        let sql = format!(
            "SELECT i.user_id, (SELECT CASE WHEN s.position <= i.log_floor OR s.created_at < {} THEN 1 ELSE 0 END \
             FROM signal s WHERE s.user_id = i.user_id ORDER BY s.position LIMIT 1) AS due \
             FROM inbox i WHERE i.user_id > $1 AND i.user_id <= $2 ORDER BY i.user_id LIMIT $3",
            self.horizon(retention)
        );
        let values = [after.into(), end.into(), PAGE.into()];
        let statement = Statement::from_sql_and_values(self.backend, sql, values);
        let rows = self.read.query_all_raw(statement).await?;
        let mut due = Vec::new();
        let mut last = None;
        for row in &rows {
            let user: Uuid = row.try_get("", "user_id")?;
            last = Some(user);
            if row.try_get::<Option<i32>>("", "due")? == Some(1) {
                due.push(user);
            }
        }
        let full = i64::try_from(rows.len()) == Ok(PAGE);
        Ok((due, last.filter(|_| full)))
    }

    /// Prunes these users' logs, a few at a time, until nothing old is left or only what others hold.
    async fn prune_users(
        &self,
        mut due: Vec<Uuid>,
        retention: &Retention,
        pruned: &mut Pruned,
        progress: &mut (impl FnMut(&Pruned) + Send),
    ) -> Result<(), DbErr> {
        let mut cut = HashSet::new();
        let mut vain = 0;
        while !due.is_empty() {
            let before = pruned.signals;
            let mut busy = Vec::new();
            while !due.is_empty() {
                let users = due.split_off(due.len().saturating_sub(INBOXES));
                let began = Instant::now();
                match self.prune_some(&users, retention).await {
                    Ok(round) => {
                        pruned.signals += round.signals;
                        let new = round.cut.iter().filter(|user| cut.insert(**user));
                        pruned.users += new.count() as u64;
                        // There may be more of theirs than one transaction removes.
                        due.extend(round.cut);
                        busy.extend(round.busy);
                        progress(pruned);
                    }
                    Err(error) => match Trouble::of(&error) {
                        Trouble::Busy | Trouble::Slow | Trouble::Conflict => busy.extend(users),
                        Trouble::Away | Trouble::Full | Trouble::Defect => return Err(error),
                    },
                }
                pause(began).await;
            }
            due = busy;
            vain = if pruned.signals > before { 0 } else { vain + 1 };
            if vain == ATTEMPTS {
                pruned.busy += due.len() as u64;
                return Ok(());
            }
            if !due.is_empty() {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
        }
        Ok(())
    }

    /// A prefix of each of these logs, but for those that somebody holds.
    async fn prune_some(&self, users: &[Uuid], retention: &Retention) -> Result<Round, DbErr> {
        // Entries never change and old ones stay old: what can go is found before anybody's inbox is held.
        let ends = self.old_ends(users, retention).await?;
        if ends.is_empty() {
            return Ok(Round::default());
        }
        let patience = self.acquire_timeout() + TRANSACTION;
        self.in_time(patience, self.cut(ends)).await
    }

    /// One transaction: each of these logs up to there, but for those that somebody holds.
    async fn cut(&self, mut ends: Vec<(Uuid, i64)>) -> Result<Round, DbErr> {
        let mut round = Round::default();
        let tx = self.begin(PATIENCE).await?;
        let users = ends.iter().map(|(user, _)| *user);
        let free = inbox::lock(&tx, users, Locking::SkipBusy).await?;
        let busy = ends.extract_if(.., |(user, _)| !free.contains_key(user));
        round.busy = busy.map(|(user, _)| user).collect();
        if !ends.is_empty() {
            raise_floors(&tx, &ends).await?;
            for (user, end) in ends {
                let signals = remove_up_to(&tx, user, end).await?;
                round.signals += signals;
                if signals > 0 {
                    round.cut.push(user);
                }
            }
        }
        tx.commit().await?;
        Ok(round)
    }

    /// Up to where each log that begins with old entries can go: before the first young one, and no further than a
    /// transaction may remove.
    async fn old_ends(
        &self,
        users: &[Uuid],
        retention: &Retention,
    ) -> Result<Vec<(Uuid, i64)>, DbErr> {
        let share = (retention.batch as usize / users.len().max(1)).max(1);
        // Entries below the floor are old, whatever their age.
        let sql = format!(
            "SELECT o.user_id, o.old_end FROM (SELECT i.user_id, (SELECT COALESCE(MIN(CASE WHEN s.created_at >= {} \
             AND s.position > i.log_floor THEN s.position END) - 1, MAX(s.position)) FROM ( \
             SELECT e.position, e.created_at FROM signal e \
             WHERE e.user_id = i.user_id ORDER BY e.position LIMIT {share}) s) AS old_end \
             FROM {{rows}} JOIN inbox i ON i.user_id = r.user_id) o \
             WHERE EXISTS (SELECT 1 FROM signal s WHERE s.user_id = o.user_id AND s.position <= o.old_end)",
            self.horizon(retention)
        );
        let statement = Rows::default()
            .uuids("user_id", users.iter().copied())
            .statement(self.backend, &sql);
        let rows = self.read.query_all_raw(statement).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("", "user_id")?, row.try_get("", "old_end")?)))
            .collect()
    }

    /// What was created before this, by the database's clock, is old: a server whose clock is wrong removes nothing early.
    fn horizon(&self, retention: &Retention) -> String {
        format!(
            "({} - {})",
            store::now(self.backend),
            retention.keep.as_millis()
        )
    }
}

/// At least two thirds of the time are the senders'.
async fn pause(began: Instant) {
    let pause = began.elapsed() * 2;
    tokio::time::sleep(pause.max(LEAST_PAUSE)).await;
}

/// What one transaction did.
#[derive(Default)]
struct Round {
    signals: u64,
    /// Whose logs were cut.
    cut: Vec<Uuid>,
    /// Whose inboxes somebody held.
    busy: Vec<Uuid>,
}

async fn raise_floors(tx: &DatabaseTransaction, ends: &[(Uuid, i64)]) -> Result<(), DbErr> {
    let statement = Rows::default()
        .uuids("user_id", ends.iter().map(|(user, _)| *user))
        .integers("old_end", ends.iter().map(|(_, end)| *end))
        .statement(
            tx.get_database_backend(),
            "UPDATE inbox SET log_floor = r.old_end FROM {rows} \
             WHERE inbox.user_id = r.user_id AND inbox.log_floor < r.old_end",
        );
    tx.execute_raw(statement).await?;
    Ok(())
}

async fn remove_up_to(tx: &DatabaseTransaction, user: Uuid, end: i64) -> Result<u64, DbErr> {
    let statement = Statement::from_sql_and_values(
        tx.get_database_backend(),
        "DELETE FROM signal WHERE user_id = $1 AND position <= $2",
        [user.into(), end.into()],
    );
    Ok(tx.execute_raw(statement).await?.rows_affected())
}
