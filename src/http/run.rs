//! What an operation that the gate let through tells, however its caller is connected.

use std::sync::Arc;

use apollo_compiler::ast::OperationType;
use async_graphql::{Response, ServerError};
use futures_util::{FutureExt as _, Stream, StreamExt as _, future, stream};
use tracing::Instrument as _;

use super::{
    Server, answer,
    gate::{Places, Prepared, Shape},
    watch::{self, RequestId, Watch},
};
use crate::graphql::{Caller, Error, Progress};

/// What an operation tells, one after the other.
#[derive(Debug)]
pub(super) enum Told {
    /// A result: of a subscription one for each event.
    Next(Response),
    /// A result as JSON.
    Written(String),
    /// The end of a subscription that was refused, or that broke.
    Error(Vec<ServerError>),
    /// The end.
    Complete,
}

impl Server {
    /// What one operation tells, up to `Complete` or `Error`. A subscription starts where `progress` says.
    pub(super) fn tell(
        self: &Arc<Self>,
        prepared: Prepared,
        caller: Caller,
        progress: Progress,
        watch: &Watch,
    ) -> stream::BoxStream<'static, Told> {
        if prepared.kind == OperationType::Subscription {
            let id = watch.id.clone();
            let written = self
                .api
                .events_as_json(&prepared.operation, &caller, &progress);
            let told = if let Some(events) = written.filter(|_| prepared.shape.is_whole()) {
                written_events(events, prepared.shape.into_places(), id).boxed()
            } else {
                let events = self.api.subscribe(prepared.operation, caller, progress);
                told(events, prepared.shape, id).boxed()
            };
            return watch::within(watch.own_span(), told).boxed();
        }
        let (server, id) = (self.clone(), watch.id.clone());
        let span = watch.own_span();
        // Boxed, so that what runs it is given back once it has run.
        let response = async move { server.run(prepared, caller, &id).await };
        let response = response.instrument(span).boxed();
        let next = stream::once(response).map(Told::Next);
        next.chain(stream::iter([Told::Complete])).boxed()
    }

    /// The answer to a request, as JSON.
    pub(super) async fn answer(
        self: &Arc<Self>,
        prepared: Prepared,
        caller: Caller,
        watch: &mut Watch,
    ) -> Vec<u8> {
        let written = if prepared.shape.is_whole() {
            self.api.page_as_json(&prepared.operation, &caller).await
        } else {
            None
        };
        let response = match written {
            Some(Ok(answer)) => {
                watch.ended_well();
                return answer;
            }
            Some(Err(mut failed)) => {
                prepared.shape.complete(&mut failed);
                watch.id.stamp(&mut failed.errors);
                failed
            }
            None => self.run(prepared, caller, &watch.id).await,
        };
        watch.ran(&response);
        answer::to_json(&response)
    }

    /// Runs a query or a mutation and completes its answer. What changes something is finished also when its client hangs
    /// up.
    pub(super) async fn run(
        self: &Arc<Self>,
        prepared: Prepared,
        caller: Caller,
        id: &RequestId,
    ) -> Response {
        let mut response = if prepared.has_side_effects() {
            self.finish(prepared, caller).await
        } else {
            self.execute(prepared, caller).await
        };
        id.stamp(&mut response.errors);
        response
    }

    async fn finish(self: &Arc<Self>, prepared: Prepared, caller: Caller) -> Response {
        let server = self.clone();
        let finished = self
            .tasks
            .spawn(async move { server.execute(prepared, caller).await }.in_current_span())
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

/// A subscription's events, and the error that ends them.
fn written_events(
    events: impl Stream<Item = Result<String, ServerError>> + Send + 'static,
    places: Places,
    id: RequestId,
) -> impl Stream<Item = Told> + Send + 'static {
    events.map(move |event| match event {
        Ok(event) => Told::Written(event),
        Err(error) => {
            let mut errors = vec![error];
            places.complete(&mut errors);
            id.stamp(&mut errors);
            Told::Error(errors)
        }
    })
}

/// A subscription's events in their shape; one without data is its end.
fn told(
    events: impl Stream<Item = Response> + Send + 'static,
    shape: Shape,
    id: RequestId,
) -> impl Stream<Item = Told> + Send + 'static {
    let events = events.map(Some).chain(stream::iter([None]));
    events.scan(false, move |over, event| {
        let told = match event {
            _ if *over => None,
            None => Some(Told::Complete),
            Some(mut event) => {
                shape.complete(&mut event);
                id.stamp(&mut event.errors);
                *over = !event.errors.is_empty() && event.data == async_graphql::Value::Null;
                Some(if *over {
                    Told::Error(event.errors)
                } else {
                    Told::Next(event)
                })
            }
        };
        future::ready(told)
    })
}
