//! Everything that is counted or numbered, counted again from the rows, and put right.
//!
//! The database is walked in pages of conversations and of users, each in one snapshot, so that servers may run meanwhile and
//! nothing that they do looks wrong. To mend, the inboxes are locked as a writer locks them, and the same rules are asked
//! again under the locks: only what is wrong then is changed. Two looks at the same rows tell the same, in the same order.

mod conversation;
mod inbox;
mod mend;

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbBackend, DbErr, Statement};
use uuid::Uuid;

use self::mend::Mend;
use super::Store;

/// How many conversations, or users, are looked at in one snapshot.
const PAGE: usize = 100;

/// Something that is wrong, in words for whoever runs the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, and whose.
    pub what: String,
    /// What became of it.
    pub state: State,
}

/// What became of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be mended, and was left as it is.
    Mendable,
    /// It was mended.
    Mended,
    /// What would be needed to mend it is gone.
    Lost,
}

/// What was looked at, and what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Users with an inbox.
    pub users: u64,
    /// Conversations with messages.
    pub conversations: u64,
    /// How many things are wrong, and could be mended.
    pub mendable: u64,
    /// How many things were wrong, and were mended.
    pub mended: u64,
    /// How many things are wrong, and cannot be mended.
    pub lost: u64,
}

/// A fault as the rules find it: whose, what, and what would put it right.
#[derive(Debug)]
struct Fault {
    /// The users whose inboxes are locked to mend it.
    users: Vec<Uuid>,
    what: String,
    mend: Option<Mend>,
}

/// What a fault was found in, so that it can be looked at again under the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Conversation(Uuid),
    User(Uuid),
}

impl Store {
    /// Counts everything again, and tells `found` what is wrong; mends what can be mended where `repair` says so.
    ///
    /// # Errors
    /// Where the database is away, or holds a lock for too long.
    pub async fn verify(
        &self,
        repair: bool,
        mut found: impl FnMut(&Finding) + Send,
    ) -> Result<Verified, DbErr> {
        let mut verified = Verified::default();
        let mut tell = |verified: &mut Verified, finding: &Finding| {
            match finding.state {
                State::Mendable => verified.mendable += 1,
                State::Mended => verified.mended += 1,
                State::Lost => verified.lost += 1,
            }
            found(finding);
        };
        for (what, state) in self.whole(repair).await? {
            tell(&mut verified, &Finding { what, state });
        }
        // Inboxes that are missing come first: what is mended later needs them.
        let steps = [
            Walk::Users,
            Walk::Signals,
            Walk::Conversations,
            Walk::Inboxes,
        ];
        for walk in steps {
            let mut after = Uuid::nil();
            loop {
                let page = self.walk(walk, after).await?;
                let Some(last) = page.last() else { break };
                after = *last;
                match walk {
                    Walk::Conversations => verified.conversations += page.len() as u64,
                    Walk::Inboxes => verified.users += page.len() as u64,
                    Walk::Users | Walk::Signals => {}
                }
                let snapshot = self.snapshot().await?;
                let faults = self.faults(&snapshot, walk, &page).await?;
                snapshot.rollback().await?;
                let mut parts: BTreeMap<Part, Vec<Fault>> = BTreeMap::new();
                for (part, fault) in faults {
                    parts.entry(part).or_default().push(fault);
                }
                for (part, faults) in parts {
                    let findings = if repair && faults.iter().any(|fault| fault.mend.is_some()) {
                        self.mend(part, &faults).await?
                    } else {
                        let found = faults.iter().map(|fault| fault.finding(State::Mendable));
                        found.collect()
                    };
                    for finding in findings {
                        tell(&mut verified, &finding);
                    }
                }
            }
        }
        Ok(verified)
    }

    /// What concerns no user: the epoch, and on SQLite the file itself.
    async fn whole(&self, repair: bool) -> Result<Vec<(String, State)>, DbErr> {
        let mut found = Vec::new();
        if self.backend == DbBackend::Sqlite {
            let sql = Statement::from_string(self.backend, "PRAGMA integrity_check(10)");
            // Over a connection that waits for as long as it takes.
            let tx = self.snapshot().await?;
            let rows = tx.query_all_raw(sql).await?;
            tx.rollback().await?;
            for row in rows {
                let line: String = row.try_get_by_index(0)?;
                if line != "ok" {
                    found.push((format!("the database file is damaged: {line}"), State::Lost));
                }
            }
        }
        let sql = Statement::from_string(self.backend, "SELECT value FROM epoch WHERE id = 1");
        if self.read.query_one_raw(sql).await?.is_none() {
            let state = if repair {
                self.draw_epoch().await?;
                State::Mended
            } else {
                State::Mendable
            };
            found.push(("there is no epoch: nobody can listen".to_owned(), state));
        }
        Ok(found)
    }

    async fn faults(
        &self,
        tx: &DatabaseTransaction,
        walk: Walk,
        ids: &[Uuid],
    ) -> Result<Vec<(Part, Fault)>, DbErr> {
        match walk {
            Walk::Conversations => conversation::check(tx, ids).await,
            Walk::Inboxes => inbox::check(tx, ids).await,
            Walk::Users => inbox::missing(tx, ids).await,
            Walk::Signals => {
                // The others were walked by already.
                let names = Names::load(tx, ids.iter().copied()).await?;
                let unknown: Vec<Uuid> = ids.iter().copied().filter(|id| !names.has(*id)).collect();
                inbox::missing(tx, &unknown).await
            }
        }
    }

    /// The next ids, one short look into an index for each.
    async fn walk(&self, walk: Walk, after: Uuid) -> Result<Vec<Uuid>, DbErr> {
        let (table, column) = match walk {
            Walk::Users => ("\"user\"", "id"),
            Walk::Signals => ("signal", "user_id"),
            Walk::Conversations => ("message", "conversation_id"),
            Walk::Inboxes => ("inbox", "user_id"),
        };
        let sql = format!(
            "WITH RECURSIVE walk(id) AS ( \
             SELECT id FROM (SELECT {column} AS id FROM {table} WHERE {column} > $1 ORDER BY {column} LIMIT 1) start \
             UNION ALL SELECT (SELECT {column} FROM {table} WHERE {column} > walk.id ORDER BY {column} LIMIT 1) \
             FROM walk WHERE walk.id IS NOT NULL) \
             SELECT id FROM walk WHERE id IS NOT NULL LIMIT {PAGE}"
        );
        let statement = Statement::from_sql_and_values(self.backend, sql, [after.into()]);
        let rows = self.read.query_all_raw(statement).await?;
        rows.iter().map(|row| row.try_get("", "id")).collect()
    }
}

/// By which ids the database is walked.
#[derive(Clone, Copy, Debug)]
enum Walk {
    /// Users, for those without an inbox.
    Users,
    /// Users with signals, for those who are not stored and have no inbox.
    Signals,
    Conversations,
    Inboxes,
}

impl Fault {
    fn finding(&self, mendable: State) -> Finding {
        Finding {
            what: self.what.clone(),
            state: if self.mend.is_some() {
                mendable
            } else {
                State::Lost
            },
        }
    }
}

/// Users by the host application's ids, where they are known.
struct Names(std::collections::HashMap<Uuid, String>);

impl Names {
    async fn load(
        tx: &DatabaseTransaction,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Self, DbErr> {
        let statement = super::rows::Rows::default().uuids("id", ids).statement(
            tx.get_database_backend(),
            "SELECT DISTINCT u.id, u.subject FROM {rows} JOIN \"user\" u ON u.id = r.id",
        );
        let rows = tx.query_all_raw(statement).await?;
        let rows = rows
            .iter()
            .map(|row| Ok((row.try_get("", "id")?, row.try_get("", "subject")?)));
        Ok(Self(rows.collect::<Result<_, DbErr>>()?))
    }

    fn has(&self, id: Uuid) -> bool {
        self.0.contains_key(&id)
    }

    fn of(&self, id: Uuid) -> String {
        match self.0.get(&id) {
            Some(subject) => format!("{subject:?}"),
            None => format!("an unknown user ({id})"),
        }
    }
}
