//! What a user may use up of something in a minute, where it is known only afterwards how much it was.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

const MINUTE: f64 = 60.0;

/// An account for each user, of a minute's worth at most. A user may go on while the account is not overdrawn, and is charged
/// afterwards: so nothing is too large by itself. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// In a minute; 0 is no limit.
    rate: u32,
    accounts: Arc<Mutex<HashMap<Uuid, Account>>>,
}

/// One user's account. It does not refill by itself: its balance is brought up to date whenever it is looked at.
#[derive(Clone, Copy, Debug)]
struct Account {
    balance: f64,
    at: Instant,
}

/// How long to wait at most for reservations that are put right.
const RESERVED: Duration = Duration::from_millis(50);

/// What was taken from a budget until it is known how much is used; given back where it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    estimate: usize,
}

/// One user's budget.
#[derive(Clone, Debug)]
pub struct Budget {
    budgets: Budgets,
    user: Uuid,
}

impl Budgets {
    /// Of so much in a minute; 0 is no limit.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self {
            rate,
            accounts: Arc::default(),
        }
    }

    /// A user's budget.
    #[must_use]
    pub fn of(&self, user: Uuid) -> Budget {
        Budget {
            budgets: self.clone(),
            user,
        }
    }

    /// Forgets the accounts that are full again.
    pub fn forget_full(&self) {
        let now = Instant::now();
        let most = f64::from(self.rate);
        self.lock()
            .retain(|_, account| account.refilled(now, most).balance < most);
    }

    /// No change to the map is left half done, so that a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// Waits until the account is not overdrawn, and takes an estimate from it, to be put right once it is known how much was used.
    pub async fn reserve(&self, estimate: usize) -> Reservation {
        while let Some(wait) = self.wait() {
            // Others may have taken more than they need.
            tokio::time::sleep(wait.min(RESERVED)).await;
        }
        self.charge(estimate);
        Reservation {
            budget: self.clone(),
            estimate,
        }
    }

    /// How long the account is overdrawn yet; nothing where it is not.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let most = f64::from(self.budgets.rate);
        let account = self.budgets.lock().get(&self.user).copied()?;
        let missing = -account.refilled(Instant::now(), most).balance;
        (missing > 0.0).then(|| Duration::from_secs_f64(missing / most * MINUTE))
    }

    /// Charges what was used up.
    pub fn charge(&self, units: usize) {
        self.add(-as_f64(units));
    }

    fn add(&self, units: f64) {
        if self.budgets.rate == 0 {
            return;
        }
        let (now, most) = (Instant::now(), f64::from(self.budgets.rate));
        let mut accounts = self.budgets.lock();
        let account = accounts.entry(self.user).or_insert(Account {
            balance: most,
            at: now,
        });
        *account = account.refilled(now, most);
        account.balance = (account.balance + units).min(most);
    }
}

impl Reservation {
    /// Charges what was used up, in place of the estimate.
    pub fn settle(self, units: usize) {
        self.budget.charge(units);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.add(as_f64(self.estimate));
    }
}

#[expect(clippy::cast_precision_loss, reason = "no response has 2^53 bytes")]
fn as_f64(units: usize) -> f64 {
    units as f64
}

impl Account {
    fn refilled(self, now: Instant, most: f64) -> Self {
        let earned = now.duration_since(self.at).as_secs_f64() / MINUTE * most;
        Self {
            balance: (self.balance + earned).min(most),
            at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_overdrawn_account_delays_only_its_own_user() {
        let budgets = Budgets::new(600);
        let (flooded, other) = (
            budgets.of(Uuid::from_u128(1)),
            budgets.of(Uuid::from_u128(2)),
        );
        let start = Instant::now();
        flooded.reserve(300).await.settle(600);
        drop(flooded.reserve(0).await);
        assert_eq!(
            start.elapsed(),
            Duration::ZERO,
            "it is used up, not overdrawn"
        );
        flooded.charge(50);
        drop(other.reserve(0).await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(flooded.reserve(0).await);
        let waited = start.elapsed().as_secs_f64();
        assert!(
            (4.9..5.1).contains(&waited),
            "50 of 600 take 5 s, not {waited}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn full_accounts_are_forgotten() {
        let budgets = Budgets::new(600);
        budgets.of(Uuid::nil()).charge(1);
        budgets.forget_full();
        assert_eq!(budgets.lock().len(), 1);
        tokio::time::sleep(Duration::from_mins(1)).await;
        budgets.forget_full();
        assert_eq!(budgets.lock().len(), 0);
    }
}
