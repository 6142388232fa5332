//! Many people doing something at one time.

use futures_util::future::join_all;
use serde_json::Value;

use super::{chance::Chance, user::User};

/// Everybody writes to, and reads from, everybody, at one time. Returns the ids of the messages that were sent.
pub(crate) async fn chatter(people: &[Vec<User>], rounds: usize) -> Vec<String> {
    let mut chance = Chance::fresh();
    let tasks = people.iter().flatten().map(|person| {
        let mut chance = Chance::seeded(u64::try_from(chance.below(1 << 40)).unwrap());
        let others: Vec<User> = people[0]
            .iter()
            .filter(|other| other.id != person.id)
            .cloned()
            .collect();
        let person = person.clone();
        async move {
            let mut sent = Vec::new();
            for round in 0..rounds {
                let other = &others[chance.below(others.len())];
                match chance.below(10) {
                    0 => {
                        person.read_conversation(other, None).await;
                    }
                    1 | 2 => {
                        let unread = person.unread(100).await;
                        if let Some(message) = unread.first() {
                            person.read(message).await;
                        }
                    }
                    _ => {
                        let text = format!("{} to {}, {round}", person.id, other.id);
                        let message = person.send(other, &text).await;
                        sent.push(id(&message));
                    }
                }
            }
            sent
        }
    });
    join_all(tasks.collect::<Vec<_>>()).await.concat()
}

pub(crate) fn id(message: &Value) -> String {
    message["id"].as_str().unwrap().to_owned()
}
