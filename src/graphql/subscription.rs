use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_graphql::{Context, Description, ID, Subscription as GraphqlSubscription};
use futures_util::{Stream, TryStreamExt as _, stream};
use uuid::Uuid;

use super::{
    Error, ErrorCode,
    caller::viewer,
    message::{MessageRead, MessageSent, SignalOf},
};
use crate::chat::{self, Budget, Chat, Reservation, Signal, SignalCursor, SignalStream, Subscribe};

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
    #[expect(clippy::unused_async, reason = "resolvers of subscriptions are async")]
    async fn message_sent(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            name = "after",
            desc = "Where to go on: `CURSOR_EXPIRED` where the stream no longer holds it."
        )]
        _after: Option<String>,
        #[graphql(name = "partnerId", desc = "Only the conversation with this partner.")]
        _partner_id: Option<ID>,
    ) -> Result<impl Stream<Item = Result<MessageSent, Error>>, Error> {
        events(ctx)
    }

    /// Every message sent by or to the viewer that has just been read for the first time.
    #[expect(clippy::unused_async, reason = "resolvers of subscriptions are async")]
    async fn message_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            name = "after",
            desc = "Where to go on: `CURSOR_EXPIRED` where the stream no longer holds it."
        )]
        _after: Option<String>,
        #[graphql(name = "partnerId", desc = "Only the conversation with this partner.")]
        _partner_id: Option<ID>,
    ) -> Result<impl Stream<Item = Result<MessageRead, Error>>, Error> {
        events(ctx)
    }
}

/// Where a subscription begins and how far it has come: what it sent, and what it moved over since because it did not
/// match, so that a quiet subscriber's cursor stays young. And what its events are charged to.
#[derive(Clone, Debug)]
pub struct Progress {
    state: Arc<Mutex<State>>,
    budget: Budget,
    /// How many bytes an event may have.
    estimate: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Where to begin, whatever `after` says.
    start: Option<String>,
    /// Where to go on after the event that was sent last.
    event: Option<SignalCursor>,
    /// Where to go on after everything that was sent or did not match; none where it was taken.
    reached: Option<SignalCursor>,
    /// For the event that is being written.
    reservation: Option<Reservation>,
}

impl Progress {
    /// Of a subscription that begins after this cursor; without one where its argument `after` says.
    pub(super) fn new(start: Option<String>, budget: Budget, estimate: usize) -> Self {
        let state = State {
            start,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            budget,
            estimate,
        }
    }

    /// The cursor of the event that came last out of the subscription.
    #[must_use]
    pub fn event(&self) -> Option<String> {
        Some(self.state().event?.to_string())
    }

    /// The cursor to go on from, where it moved since it was last taken.
    #[must_use]
    pub fn take(&self) -> Option<String> {
        Some(self.state().reached.take()?.to_string())
    }

    /// Charges the user for the event that was written, of so many bytes.
    pub fn charge(&self, bytes: usize) {
        let reservation = self.state().reservation.take();
        if let Some(reservation) = reservation {
            reservation.settle(bytes);
        }
    }

    /// Waits until the user may be sent another event.
    async fn ready(&self) {
        let reservation = self.budget.reserve(self.estimate).await;
        self.state().reservation = Some(reservation);
    }

    fn start(&self) -> Option<String> {
        self.state().start.clone()
    }

    fn sent(&self, cursor: SignalCursor) {
        self.state().event = Some(cursor);
    }

    fn reached(&self, cursor: SignalCursor) {
        self.state().reached = Some(cursor);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The signals of one subscription.
pub(super) struct Signals {
    stream: SignalStream,
    /// Those that were read and not sent.
    unsent: VecDeque<Signal>,
    progress: Progress,
}

/// The signals of the subscription that is about to run, for its resolver to take.
pub(super) type Begun = Mutex<Option<Signals>>;

fn events<T: From<SignalOf>>(
    ctx: &Context<'_>,
) -> Result<impl Stream<Item = Result<T, Error>>, Error> {
    viewer(ctx)?;
    let begun = ctx.data_unchecked::<Begun>();
    let begun = begun.lock().unwrap_or_else(PoisonError::into_inner).take();
    let signals = begun.ok_or_else(|| chat::Error::internal("a subscription began twice"))?;
    Ok(signals
        .stream()
        .map_ok(|signal| T::from(SignalOf::of(&signal))))
}

impl Signals {
    /// Takes the position at which the subscription begins.
    ///
    /// # Errors
    /// As [`Chat::subscribe`], whose database is waited for.
    pub(super) async fn begin(
        chat: &Chat,
        viewer: Uuid,
        mut wanted: Subscribe,
        progress: Progress,
    ) -> Result<Self, Error> {
        if let Some(start) = progress.start() {
            wanted.after = Some(start);
        }
        Ok(Self {
            stream: patiently(|| chat.subscribe(viewer, &wanted)).await?,
            unsent: VecDeque::new(),
            progress,
        })
    }

    /// Every signal, up to the error that ends them, which is one of [`SignalStream::next`].
    pub(super) fn stream(self) -> impl Stream<Item = Result<Signal, Error>> + Send + 'static {
        // Boxed, so that it is moved, and kept room for, as a pointer.
        stream::unfold(Some(Box::new(self)), async |signals| {
            let mut signals = signals?;
            match signals.next().await {
                Ok(signal) => Some((Ok(signal), Some(signals))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Signal, Error> {
        loop {
            if !self.unsent.is_empty() {
                // Boxed, so that a subscription that waits for signals keeps no room for it.
                Box::pin(self.progress.ready()).await;
            }
            if let Some(signal) = self.unsent.pop_front() {
                self.progress.sent(signal.cursor);
                return Ok(signal);
            }
            // Asked again, everything before was sent: the cursor may be shown.
            self.progress.reached(self.stream.cursor());
            self.unsent.extend(self.stream.next().await?);
        }
    }
}
