//! Users: they appear by their first request, or because the host application names them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use entity::user;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr};
use uuid::Uuid;

use super::{
    Chat, Error, Store, Subject, Username,
    query::{self, Users},
    rows::Rows,
    store::Patience,
    user_id,
};

/// A name that somebody gives a user, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// The name.
    pub username: Username,
    /// By the clock of whoever gave it, in milliseconds: the newer name stays.
    pub named_at: i64,
}

/// What the last request of a user told: another one that tells nothing newer needs no look-up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    named_at: i64,
}

/// One user to store.
struct Arrival<'a> {
    subject: &'a Subject,
    username: &'a str,
    named_at: i64,
}

impl Chat {
    /// Makes sure that a user and an inbox exist for `subject`, and that a newer name is kept. Returns the user's id.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn arrive(&self, subject: &Subject, naming: Option<&Naming>) -> Result<Uuid, Error> {
        let id = user_id(subject.as_str());
        let named_at = naming.map_or(0, |naming| naming.named_at);
        if self
            .known
            .get(&id)
            .is_some_and(|known| known.named_at >= named_at)
        {
            return Ok(id);
        }
        // Known users are many at a restart: they are looked up by the connections that read, and leave the writer's alone.
        let stored = query::user(&self.store.read, subject.as_str()).await?;
        if stored.is_none_or(|user| user.named_at < named_at) {
            let arrival = Arrival {
                subject,
                // The id stands in for a name until one is given.
                username: naming.map_or(subject.as_str(), |naming| naming.username.as_str()),
                named_at,
            };
            store(&self.store, &[arrival], self.clock.now()).await?;
        }
        self.known.insert(id, Known { named_at });
        Ok(id)
    }

    /// Stores users in bulk, by the host application's word: these names stand from now on.
    ///
    /// # Errors
    /// [`Error::BadInput`] for more than the limit, [`Error::Unavailable`].
    pub async fn upsert(&self, users: &[(Subject, Username)]) -> Result<Vec<user::Model>, Error> {
        if users.len() > self.limits.upsert {
            return Err(Error::BadInput(format!(
                "users: {} are too many; give at most {}",
                users.len(),
                self.limits.upsert
            )));
        }
        let now = self.clock.now();
        let arrivals: Vec<Arrival<'_>> = users
            .iter()
            .map(|(subject, username)| Arrival {
                subject,
                username: username.as_str(),
                named_at: now,
            })
            .collect();
        store(&self.store, &arrivals, now).await?;
        let ids = users.iter().map(|(subject, _)| user_id(subject.as_str()));
        let found = query::Users::load(&self.store.read, ids).await?;
        users
            .iter()
            .map(|(subject, _)| Ok(found.get(user_id(subject.as_str()))?.as_ref().clone()))
            .collect()
    }

    /// An existing user, by the host application's id.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn user(&self, subject: &str) -> Result<Option<user::Model>, Error> {
        Ok(query::user(&self.store.read, subject).await?)
    }

    /// Those of these users that there are, by what the host application calls them: one statement, whatever their number.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn users(
        &self,
        subjects: &HashSet<&str>,
    ) -> Result<HashMap<String, Arc<user::Model>>, Error> {
        let ids = subjects.iter().map(|subject| user_id(subject));
        let found = Users::load(&self.store.read, ids).await?.into_iter();
        Ok(found.map(|user| (user.subject.clone(), user)).collect())
    }
}

/// How long a user's arrival may take before the database counts as away.
const ARRIVAL: Duration = Duration::from_secs(5);

/// A transaction of its own, before any batch's locks: rows in the order of their ids, so that two cannot deadlock.
async fn store(store: &Store, arrivals: &[Arrival<'_>], now: i64) -> Result<(), Error> {
    let stored = async {
        let tx = store.begin(Patience::CALLER).await?;
        insert(&tx, arrivals, now).await?;
        tx.commit().await
    };
    let ids = arrivals
        .iter()
        .map(|arrival| user_id(arrival.subject.as_str()));
    let _change = store.people.change(ids.collect());
    Ok(store.in_time(ARRIVAL, stored).await?)
}

async fn insert(tx: &DatabaseTransaction, arrivals: &[Arrival<'_>], now: i64) -> Result<(), DbErr> {
    // Where a user is named twice, the last name stands.
    let by_id: std::collections::BTreeMap<Uuid, &Arrival<'_>> = arrivals
        .iter()
        .map(|arrival| (user_id(arrival.subject.as_str()), arrival))
        .collect();
    let backend = tx.get_database_backend();
    let users = Rows::default()
        .uuids("id", by_id.keys().copied())
        .texts(
            "subject",
            by_id.values().map(|a| a.subject.as_str().to_owned()),
        )
        .texts("username", by_id.values().map(|a| a.username.to_owned()))
        .integers("named_at", by_id.values().map(|a| a.named_at))
        .integers("created_at", by_id.values().map(|_| now))
        .statement(
            backend,
            "INSERT INTO \"user\" (id, subject, username, named_at, created_at) \
             SELECT id, subject, username, named_at, created_at FROM {rows} WHERE true ORDER BY id \
             ON CONFLICT (id) DO UPDATE SET username = excluded.username, named_at = excluded.named_at \
             WHERE excluded.named_at > \"user\".named_at",
        );
    tx.execute_raw(users).await?;
    let inboxes = Rows::default()
        .uuids("user_id", by_id.keys().copied())
        .statement(
            backend,
            "INSERT INTO inbox (user_id, last_position, log_floor, unread_count) \
             SELECT user_id, 0, 0, 0 FROM {rows} WHERE true ORDER BY user_id ON CONFLICT (user_id) DO NOTHING",
        );
    tx.execute_raw(inboxes).await?;
    Ok(())
}
