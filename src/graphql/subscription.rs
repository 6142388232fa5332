use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_graphql::{Context, Description, ID, Subscription as GraphqlSubscription};
use entity::signal::Kind;
use futures_util::{Stream, TryStreamExt as _, stream};
use uuid::Uuid;

use super::{
    Error, ErrorCode,
    caller::viewer,
    message::{MessageRead, MessageSent, OfKind, SignalOf},
};
use crate::chat::{Chat, Signal, SignalCursor, SignalStream};

/// How long to wait before an absent database is asked for again.
const RETRY: Duration = Duration::from_millis(200);

/// What can be listened to. `after` takes a `signalCursor`, or a cursor of this same field with the same `partnerId`; any
/// other is `BAD_USER_INPUT`. It first replays, in order, what came after it. Keep one cursor per subscription, and start
/// from `signalCursor`: without `after` a subscription begins now, and cannot resume before its first event. A subscription
/// that is rejected or breaks sends one last result with `errors`, then `complete`.
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

/// Where a subscription begins and how far it has come: what it told, and what it moved over since because it did not
/// match, so that a quiet listener's cursor stays young.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Way>>);

#[derive(Debug, Default)]
struct Way {
    /// Where to begin, whatever `after` says.
    start: Option<String>,
    /// Where to go on after the event that is being told.
    event: Option<SignalCursor>,
    /// Where to go on after everything that was told or did not match; none where it was taken.
    reached: Option<SignalCursor>,
}

impl Progress {
    /// Of a subscription that begins after this cursor; without one where its argument `after` says.
    #[must_use]
    pub fn after(start: Option<String>) -> Self {
        let way = Way {
            start,
            ..Way::default()
        };
        Self(Arc::new(Mutex::new(way)))
    }

    /// The cursor of the event that came last out of the subscription.
    #[must_use]
    pub fn event(&self) -> Option<String> {
        Some(self.way().event?.to_string())
    }

    /// The cursor to go on from, where it moved since it was last taken.
    #[must_use]
    pub fn take(&self) -> Option<String> {
        Some(self.way().reached.take()?.to_string())
    }

    fn start(&self) -> Option<String> {
        self.way().start.clone()
    }

    fn tell(&self, cursor: SignalCursor) {
        self.way().event = Some(cursor);
    }

    fn reach(&self, cursor: SignalCursor) {
        self.way().reached = Some(cursor);
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries until the database answers: a listener waits for it, rather than be told that it is away.
///
/// # Errors
/// Every other.
pub(super) async fn patiently<T, E: Into<Error>, F: Future<Output = Result<T, E>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error> {
    loop {
        match attempt().await.map_err(Into::into) {
            Err(error) if error.code == ErrorCode::Unavailable => tokio::time::sleep(RETRY).await,
            outcome => return outcome,
        }
    }
}

/// What a subscription is to tell.
pub(super) struct Wanted {
    pub(super) kind: Kind,
    /// Only of the conversation with this partner.
    pub(super) partner: Option<String>,
    /// Only what came after this cursor.
    pub(super) after: Option<String>,
}

/// A listener, and the signals that it has read but not told.
pub(super) struct Telling {
    stream: SignalStream,
    untold: VecDeque<Signal>,
    progress: Progress,
}

async fn listen<T: OfKind + From<SignalOf>>(
    ctx: &Context<'_>,
    after: Option<String>,
    partner_id: Option<ID>,
) -> Result<impl Stream<Item = Result<T, Error>>, Error> {
    let wanted = Wanted {
        kind: T::KIND,
        partner: partner_id.map(|id| id.0),
        after,
    };
    let chat = ctx.data_unchecked::<Chat>();
    let progress = ctx.data_unchecked::<Progress>().clone();
    // Boxed, so that a listener that waits keeps no room for its beginning.
    let telling = Box::pin(Telling::begin(chat, viewer(ctx)?.id, wanted, progress)).await?;
    let event = |signal| T::from(SignalOf::of(signal));
    Ok(telling.signals().map_ok(event))
}

impl Telling {
    /// Registers the listener where its subscription begins.
    ///
    /// # Errors
    /// As [`Chat::subscribe`], whose database is waited for.
    pub(super) async fn begin(
        chat: &Chat,
        viewer: Uuid,
        wanted: Wanted,
        progress: Progress,
    ) -> Result<Self, Error> {
        let Wanted {
            kind,
            partner,
            after,
        } = wanted;
        let after = progress.start().or(after);
        let subscribe = || chat.subscribe(viewer, kind, partner.as_deref(), after.as_deref());
        Ok(Self {
            stream: patiently(subscribe).await?,
            untold: VecDeque::new(),
            progress,
        })
    }

    /// Every signal, up to the error that ends them, which is one of [`SignalStream::next`].
    pub(super) fn signals(self) -> impl Stream<Item = Result<Signal, Error>> + Send + 'static {
        // Boxed, so that it is moved, and kept room for, as a pointer.
        stream::unfold(Some(Box::new(self)), async |telling| {
            let mut telling = telling?;
            match telling.next().await {
                Ok(signal) => Some((Ok(signal), Some(telling))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Signal, Error> {
        loop {
            if let Some(signal) = self.untold.pop_front() {
                self.progress.tell(signal.cursor);
                return Ok(signal);
            }
            // Asked again, everything before was told: the cursor may be shown.
            self.progress.reach(self.stream.cursor());
            self.untold.extend(self.stream.next().await?);
        }
    }
}
