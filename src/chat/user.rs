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

/// Whom a user may look up by their id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserLookup {
    /// Everybody who exists.
    #[default]
    Anyone,
    /// Oneself, and whoever one has exchanged a message with: strangers and nobody are one answer.
    Partners,
}

/// Who looks somebody up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observer {
    /// A user.
    User(Uuid),
    /// The host application, in the turn of the user for whom it acts; of nobody by itself.
    Application(Uuid),
}

impl Observer {
    /// In whose turn the database is asked.
    #[must_use]
    pub fn turn(self) -> Uuid {
        match self {
            Self::User(user) | Self::Application(user) => user,
        }
    }
}

/// A name that somebody gives a user, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// The name.
    pub username: Username,
    /// By the clock of whoever gave it, in milliseconds: the newer name stays. Later than now counts as now.
    pub named_at: i64,
    /// Whether it had characters that a name may not hold.
    pub stripped: bool,
}

impl Naming {
    /// When the name was given: any time is after [`STAND_IN`].
    fn given_at(&self) -> i64 {
        self.named_at.max(STAND_IN + 1)
    }
}

/// When a name was given that only stands in for one.
const STAND_IN: i64 = 0;

/// What the last request of a user said: another one that says nothing newer needs no look-up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// When the name was given, by whoever gave it.
    given_at: i64,
    /// The same, as it counts.
    named_at: i64,
}

/// One user to store.
struct Arrival<'a> {
    subject: &'a Subject,
    username: Username,
    named_at: i64,
}

impl Chat {
    /// Makes sure that a user and an inbox exist for `subject`, and that a newer name is kept. Returns the user's id.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn arrive(&self, subject: &Subject, naming: Option<&Naming>) -> Result<Uuid, Error> {
        let id = user_id(subject.as_str());
        let given_at = naming.map_or(STAND_IN, Naming::given_at);
        let is_known = |known: Known| known.named_at >= given_at || known.given_at == given_at;
        if self.known.get(&id).is_some_and(is_known) {
            return Ok(id);
        }
        let now = self.clock.now();
        // None is after now.
        let named_at = given_at.min(now);
        // Known users are many at a restart: they are looked up by the connections that read, and leave the writer's alone.
        let stored = query::user(&self.reader(id), subject.as_str()).await?;
        // A name from the future counts as newer with every request: it is written once.
        let is_written = |user: &user::Model| {
            given_at > now && naming.is_some_and(|it| it.username.as_str() == user.username)
        };
        let is_new =
            |user: user::Model| is_renamed(user.named_at, named_at, now) && !is_written(&user);
        if stored.is_none_or(is_new) {
            if naming.is_some_and(|naming| naming.stripped) {
                tracing::warn!(
                    user = %id,
                    "a token's name held control characters, or some that change the direction of text: they were left out"
                );
            }
            let arrival = Arrival {
                subject,
                username: match naming {
                    Some(naming) => naming.username.clone(),
                    None => Username::stand_in(subject.as_str()),
                },
                named_at,
            };
            store(&self.store, &[arrival], now).await?;
        }
        self.known.insert(id, Known { given_at, named_at });
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
                username: username.clone(),
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

    /// An existing user, by the host application's id, looked up for another one.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn user(&self, viewer: Uuid, subject: &str) -> Result<Option<user::Model>, Error> {
        Ok(query::user(&self.reader(viewer), subject).await?)
    }

    /// Those of these users that `observer` may look up, by what the host application calls them: one statement, whatever their
    /// number.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn users(
        &self,
        observer: Observer,
        subjects: &HashSet<&str>,
    ) -> Result<HashMap<String, Arc<user::Model>>, Error> {
        let ids = subjects.iter().map(|subject| user_id(subject));
        let reader = self.reader(observer.turn());
        let found = match self.partners_only(observer) {
            Some(viewer) => Users::load_partners(&reader, viewer, ids).await?,
            None => Users::load(&reader, ids).await?,
        };
        let found = found.into_iter();
        let found = found.filter(|user| subjects.contains(user.subject.as_str()));
        Ok(found.map(|user| (user.subject.clone(), user)).collect())
    }

    /// A user that `observer` may look up, by the host application's id; nothing for every other id.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn look_up(
        &self,
        observer: Observer,
        subject: &str,
    ) -> Result<Option<Arc<user::Model>>, Error> {
        let found = self.users(observer, &HashSet::from([subject])).await;
        Ok(found?.remove(subject))
    }

    /// Those of these users with whom `viewer` has exchanged a message.
    pub(super) async fn partners_of(
        &self,
        viewer: Uuid,
        subjects: &HashSet<&str>,
    ) -> Result<Users, Error> {
        let ids = subjects.iter().map(|subject| user_id(subject));
        Ok(Users::load_partners(&self.reader(viewer), viewer, ids).await?)
    }

    /// Whose partners alone may be looked up, where that is set.
    fn partners_only(&self, observer: Observer) -> Option<Uuid> {
        match (observer, self.limits.lookup) {
            (Observer::User(viewer), UserLookup::Partners) => Some(viewer),
            (Observer::User(_), UserLookup::Anyone) | (Observer::Application(_), _) => None,
        }
    }
}

/// Whether a name takes the place of one that was stored: a newer one, and any given one that of a name from the future.
/// [`insert`] decides so again.
fn is_renamed(stored_at: i64, named_at: i64, now: i64) -> bool {
    named_at > stored_at || (named_at > STAND_IN && stored_at > now)
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
        .texts("username", by_id.values().map(|a| a.username.as_str().to_owned()))
        .integers("named_at", by_id.values().map(|a| a.named_at))
        .integers("created_at", by_id.values().map(|_| now))
        .statement(
            backend,
            "INSERT INTO \"user\" (id, subject, username, named_at, created_at) \
             SELECT id, subject, username, named_at, created_at FROM {rows} WHERE true ORDER BY id \
             ON CONFLICT (id) DO UPDATE SET username = excluded.username, named_at = excluded.named_at \
             WHERE excluded.named_at > \"user\".named_at \
             OR (excluded.named_at > 0 AND \"user\".named_at > excluded.created_at)",
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
