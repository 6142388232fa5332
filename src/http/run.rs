//! What an operation that the gate let through tells, however its caller is connected.

use std::{borrow::Cow, sync::Arc};

use apollo_compiler::ast::OperationType;
use async_graphql::{Response, ServerError};
use futures_util::{
    FutureExt as _, StreamExt as _, future,
    stream::{self, BoxStream},
};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::{
    Server,
    gate::{Prepared, Shape},
    watch::{self, RequestId, Watch, outcome},
};
use crate::graphql::{Api, Caller, Error, ErrorCode, Events, Progress};

/// What an operation sends, one after the other.
#[derive(Debug)]
pub(super) enum Told {
    /// A subscription has its position: everything that happens from now on is part of it. Nothing is sent for it.
    Started,
    /// A result as JSON, and what it came to: of a subscription one for each event.
    Next(String, Cow<'static, str>),
    /// The end of a subscription that was rejected, or that broke.
    Error(Vec<ServerError>),
    /// The end.
    Complete,
}

impl Server {
    /// What one operation sends, up to `Complete` or `Error`. A subscription starts where `progress` says; everything else waits for
    /// one of the permits of its connection.
    ///
    /// Whoever waits for the client does not poll it meanwhile: what asks the database runs in tasks of its own.
    pub(super) fn tell(
        self: &Arc<Self>,
        prepared: Prepared,
        caller: Caller,
        progress: Progress,
        watch: &Watch,
        running: Arc<Semaphore>,
    ) -> BoxStream<'static, Told> {
        let (server, id) = (self.clone(), watch.id.clone());
        let span = watch.own_span();
        if prepared.kind == OperationType::Subscription && prepared.shape.is_run() {
            let begin = server.subscribe(prepared, caller, progress, id);
            let begin = in_a_task(begin.instrument(span.clone()));
            // Boxed, so that a subscription that runs keeps no room for its beginning.
            let told = begin.boxed().flatten_stream().boxed();
            return watch::within(span, told).boxed();
        }
        let run = async move {
            let mut response = server.run(prepared, caller, &id).await;
            let text = server.api.encode(&mut response).await;
            Told::Next(text, outcome(&response.errors))
        };
        let run = run.instrument(span);
        let next = async move {
            // Held until the response is taken.
            let _permit = running.acquire_owned().await;
            in_a_task(run).await
        };
        // Boxed, so that what runs it is given back once it has run.
        let next = stream::once(next.boxed());
        next.chain(stream::iter([Told::Complete])).boxed()
    }

    async fn subscribe(
        self: Arc<Self>,
        prepared: Prepared,
        caller: Caller,
        progress: Progress,
        id: RequestId,
    ) -> BoxStream<'static, Told> {
        let shape = prepared.shape;
        let begun = self.api.subscribe(
            prepared.operation,
            caller,
            progress.clone(),
            shape.is_whole(),
        );
        let events = match begun.await {
            Ok(Events::Written(events)) => {
                let (api, places) = (self.api.clone(), shape.into_places());
                let told = events.map(move |event| {
                    let ended = |error| {
                        let mut errors = vec![error];
                        places.complete(&mut errors);
                        id.stamp(&mut errors);
                        errors
                    };
                    match event {
                        Ok(Ok(text)) => next(&api, &progress, text, &[]),
                        Ok(Err(error)) => {
                            let errors = ended(error.into());
                            next(&api, &progress, Api::encode_errors(&errors), &errors)
                        }
                        Err(error) => Told::Error(ended(error)),
                    }
                });
                told.boxed()
            }
            Ok(Events::Responses(events)) => {
                responses(self.api.clone(), events, shape, progress, id)
            }
            Err(error) => {
                let mut errors = vec![error];
                shape.into_places().complete(&mut errors);
                id.stamp(&mut errors);
                stream::iter([Told::Error(errors)]).boxed()
            }
        };
        stream::iter([Told::Started]).chain(events).boxed()
    }

    /// The response to a request, as JSON.
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
        let mut response = match written {
            Some(Ok(Ok(page))) => {
                watch.ended_well();
                return page;
            }
            Some(Ok(Err(error))) => Response::from_errors(vec![error.into()]),
            Some(Err(mut failed)) => {
                prepared.shape.complete(&mut failed);
                watch.id.stamp(&mut failed.errors);
                failed
            }
            None => self.run(prepared, caller, &watch.id).await,
        };
        let text = self.api.encode(&mut response).await;
        watch.ended(outcome(&response.errors));
        text.into_bytes()
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
            Response::from_errors(vec![error.into()])
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

/// Runs in a task of its own, which ends where nobody waits for it any more.
async fn in_a_task<T: Send + 'static>(run: impl Future<Output = T> + Send + 'static) -> T {
    let task = AbortOnDropHandle::new(tokio::spawn(run));
    match task.await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends.
            Err(_) => future::pending().await,
        },
    }
}

/// One event, charged to the user: one that was too large for as much as was written of it.
fn next(api: &Api, progress: &Progress, text: String, errors: &[ServerError]) -> Told {
    let outcome = outcome(errors);
    let bytes = if outcome == ErrorCode::ResponseTooLarge.name() {
        api.response_limit()
    } else {
        text.len()
    };
    progress.charge(bytes);
    Told::Next(text, outcome)
}

/// A subscription's events in their shape; one without data is its end.
fn responses(
    api: Api,
    events: BoxStream<'static, Response>,
    shape: Shape,
    progress: Progress,
    id: RequestId,
) -> BoxStream<'static, Told> {
    let events = events.map(Some).chain(stream::iter([None]));
    let shape = Arc::new(shape);
    let told = events.then(move |event| {
        let (api, shape, progress, id) = (api.clone(), shape.clone(), progress.clone(), id.clone());
        async move {
            let Some(mut event) = event else {
                return Told::Complete;
            };
            shape.complete(&mut event);
            id.stamp(&mut event.errors);
            if !event.errors.is_empty() && event.data == async_graphql::Value::Null {
                return Told::Error(event.errors);
            }
            let text = api.encode(&mut event).await;
            next(&api, &progress, text, &event.errors)
        }
    });
    // The error that ends it is the last.
    told.scan(false, |over, told| {
        let next = (!*over).then_some(told);
        *over = matches!(next, Some(Told::Error(_)));
        future::ready(next)
    })
    .boxed()
}
