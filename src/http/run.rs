use std::sync::Arc;

use async_graphql::Response;

use super::{Server, gate::Prepared};
use crate::graphql::{Caller, Error};

impl Server {
    /// Runs a query or a mutation and completes its answer. What changes something is finished also when its client hangs
    /// up.
    pub(super) async fn run(self: &Arc<Self>, prepared: Prepared, caller: Caller) -> Response {
        if !prepared.has_side_effects() {
            return self.execute(prepared, caller).await;
        }
        let server = self.clone();
        let finished = self
            .tasks
            .spawn(async move { server.execute(prepared, caller).await })
            .await;
        finished.unwrap_or_else(|error| {
            let error = Error::from(crate::chat::Error::internal(error.to_string()));
            let error: async_graphql::Error = error.into();
            Response::from_errors(vec![error.into_server_error(async_graphql::Pos::default())])
        })
    }

    async fn execute(&self, prepared: Prepared, caller: Caller) -> Response {
        let mut response = if prepared.shape.is_run() {
            self.api.execute(prepared.operation, caller).await
        } else {
            Response::default()
        };
        prepared.shape.complete(&mut response);
        response
    }
}

/// Whether a subscription was refused before its first event.
pub(super) fn is_refused(response: &Response) -> bool {
    !response.errors.is_empty() && response.data == async_graphql::Value::Null
}
