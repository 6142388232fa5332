use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::{Context, Description, ID, Subscription as GraphqlSubscription};
use futures_util::{Stream, stream};

use super::{
    Error,
    caller::viewer,
    message::{MessageRead, MessageSent, OfKind, SignalOf},
};
use crate::chat::{Chat, Signal, SignalStream};

/// What can be listened to. `after` takes a `signalCursor`, or a cursor of this same field with the same `partnerId`; any
/// other is `BAD_USER_INPUT`. It first replays, in order, what came after it. Keep one cursor per subscription, and start
/// from `signalCursor`: without `after` a subscription begins now, and cannot resume before its first event. A subscription
/// that is refused or breaks ends with one `error`.
#[derive(Debug, Description)]
pub(crate) struct Subscription;

#[GraphqlSubscription(use_type_description)]
impl Subscription {
    /// Every message sent by or to the viewer.
    async fn message_sent(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where to go on: `CURSOR_EXPIRED` where the stream no longer holds it.")]
        after: Option<String>,
        #[graphql(desc = "Only the conversation with this partner.")] partner_id: Option<ID>,
    ) -> Result<impl Stream<Item = Result<MessageSent, Error>>, Error> {
        listen(ctx, after, partner_id).await
    }

    /// Every message sent by or to the viewer that has just been read for the first time.
    async fn message_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where to go on: `CURSOR_EXPIRED` where the stream no longer holds it.")]
        after: Option<String>,
        #[graphql(desc = "Only the conversation with this partner.")] partner_id: Option<ID>,
    ) -> Result<impl Stream<Item = Result<MessageRead, Error>>, Error> {
        listen(ctx, after, partner_id).await
    }
}

/// How far a subscription has come, over what it told and what did not match: so that a quiet listener's cursor stays
/// young.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Option<String>>>);

impl Progress {
    /// The cursor to go on from, where it moved since it was last taken.
    #[must_use]
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, cursor: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
    }
}

/// A listener, and the signals that it has read but not told.
struct Telling {
    stream: SignalStream,
    untold: VecDeque<Signal>,
    progress: Progress,
}

async fn listen<T: OfKind + From<SignalOf>>(
    ctx: &Context<'_>,
    after: Option<String>,
    partner_id: Option<ID>,
) -> Result<impl Stream<Item = Result<T, Error>>, Error> {
    let viewer = viewer(ctx)?.id;
    let chat = ctx.data_unchecked::<Chat>();
    let partner = partner_id.as_ref().map(|id| id.as_str());
    let stream = chat
        .subscribe(viewer, T::KIND, partner, after.as_deref())
        .await?;
    let telling = Telling {
        stream,
        untold: VecDeque::new(),
        progress: ctx.data_unchecked::<Progress>().clone(),
    };
    Ok(stream::unfold(Some(telling), async |telling| {
        let mut telling = telling?;
        match telling.next().await {
            Ok(signal) => Some((Ok(T::from(SignalOf::of(signal))), Some(telling))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl Telling {
    async fn next(&mut self) -> Result<Signal, Error> {
        loop {
            if let Some(signal) = self.untold.pop_front() {
                return Ok(signal);
            }
            // Asked again, everything before was told: the cursor may be shown.
            self.progress.set(self.stream.cursor().to_string());
            self.untold.extend(self.stream.next().await?);
        }
    }
}
