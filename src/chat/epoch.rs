//! What every cursor names: the history that it belongs to.

use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use uuid::Uuid;

use super::{Store, store::Patience};

impl Store {
    /// Turns away every cursor that was given until now.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn draw_epoch(&self) -> Result<(), DbErr> {
        let (high, _) = Uuid::new_v4().as_u64_pair();
        let value = i64::try_from(high >> 1).unwrap_or_default();
        let statement = Statement::from_sql_and_values(
            self.backend,
            "INSERT INTO epoch (id, value) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET value = excluded.value",
            [value.into()],
        );
        let tx = self.begin(Patience::OPERATOR).await?;
        tx.execute_raw(statement).await?;
        tx.commit().await
    }
}
