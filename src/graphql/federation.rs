//! What a gateway of Apollo Federation 2 asks of a subgraph. It stands in a root of its own, so that a server without it has
//! nothing of it.
//!
//! async-graphql's own support is not used: it hangs `_service` and `_entities` on every schema that has an entity, fails a
//! whole answer at one bad representation, and lets everybody read the schema.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Description, InputValueResult, Object, ObjectType,
    OutputType, Positioned, Scalar, ScalarType, ServerResult, Union, Value,
    parser::types::Field,
    registry::{MetaType, Registry},
    resolver_utils::resolve_container,
};
use futures_util::try_join;

use super::{
    Error, ErrorCode,
    caller::{observer, service, viewer},
    message::Message,
    query::Query,
    scalar::SAFE_INTEGER,
    user::User,
};
use crate::chat::{Chat, MessageId};

/// What can be read, and what a gateway reads. Written out, since `MergedObject` cannot give the whole the name of a part.
#[derive(Debug)]
pub(crate) struct SubgraphQuery(pub(super) Query, pub(super) Federation);

impl OutputType for SubgraphQuery {
    fn type_name() -> Cow<'static, str> {
        Query::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let qualified = Query::create_type_info(registry);
        Federation::create_type_info(registry);
        let gateways = registry.types.remove(&*Federation::type_name());
        let whole = registry.types.get_mut(&*Query::type_name());
        if let (
            Some(MetaType::Object { fields, .. }),
            Some(MetaType::Object { fields: more, .. }),
        ) = (whole, gateways)
        {
            fields.extend(more);
        }
        qualified
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        resolve_container(ctx, self).await
    }
}

impl ContainerType for SubgraphQuery {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        match self.0.resolve_field(ctx).await? {
            Some(value) => Ok(Some(value)),
            None => self.1.resolve_field(ctx).await,
        }
    }
}

impl ObjectType for SubgraphQuery {}

/// What a gateway reads.
#[derive(Debug)]
pub(crate) struct Federation;

#[Object]
impl Federation {
    /// What the gateway's users and messages are. Each answers as `user` and `message` do: null for every other id. One that
    /// is no representation is null beside a `BAD_USER_INPUT`.
    #[graphql(name = "_entities")]
    async fn entities(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Objects with `__typename` and `id`; at most 1,000 (a setting of the server's)."
        )]
        representations: Vec<Any>,
    ) -> Result<Vec<Found>, Error> {
        entities(ctx, representations).await
    }

    /// This server as a subgraph. For the host application only: its token carries `role: "service"`.
    #[graphql(name = "_service")]
    #[expect(clippy::unused_async, reason = "resolvers that may fail are async")]
    async fn service(&self, ctx: &Context<'_>) -> Result<Service, Error> {
        service(ctx).map(|()| Service)
    }
}

/// A subgraph.
#[derive(Debug, Description)]
pub(crate) struct Service;

#[Object(name = "_Service", use_type_description)]
impl Service {
    /// The subgraph's schema, as composition takes it: `directmessages schema --federation` prints the same.
    async fn sdl(&self) -> String {
        super::subgraph_sdl()
    }
}

/// What other subgraphs may add fields to.
#[derive(Clone, Debug, Union)]
#[graphql(name = "_Entity")]
pub(crate) enum Entity {
    /// A user of the host application.
    User(User),
    /// A message from one user to another.
    Message(Message),
}

/// An entity by its type and its key, as a gateway names it: `{"__typename": "User", "id": "ann"}`.
#[derive(Clone, Debug, Description)]
pub(crate) struct Any(Value);

#[Scalar(name = "_Any", use_type_description)]
impl ScalarType for Any {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}

type Found = Option<Result<Entity, Error>>;

/// What a representation names.
#[derive(Debug)]
enum Key {
    User(String),
    /// Nothing where the id is no message's.
    Message(Option<MessageId>),
}

impl Key {
    /// Whatever else stands beside `__typename` and `id` is left alone: a gateway may send it.
    fn parse(Any(value): &Any, place: usize) -> Result<Self, Error> {
        let refused = |why: &str| {
            let message = format!("representations[{place}]: {why}");
            Error::new(ErrorCode::BadUserInput, message)
        };
        let Value::Object(fields) = value else {
            return Err(refused("give an object with __typename and id"));
        };
        let key = match fields.get("__typename") {
            Some(Value::String(name)) if name == "User" => Self::User,
            Some(Value::String(name)) if name == "Message" => {
                |id: String| Self::Message(id.parse().ok())
            }
            Some(_) => return Err(refused("__typename is \"User\" or \"Message\" here")),
            None => return Err(refused("give its __typename, \"User\" or \"Message\"")),
        };
        match fields.get("id") {
            Some(Value::String(id)) => Ok(key(id.clone())),
            // An ID may be written as a whole number.
            Some(Value::Number(id)) if id.is_i64() || id.is_u64() => {
                let size = id.as_i64().map(i64::unsigned_abs).or(id.as_u64());
                if size.is_none_or(|size| size > SAFE_INTEGER) {
                    let why = format!(
                        "its id is a number beyond {SAFE_INTEGER}, which not every JSON writer keeps exactly: send ids as strings"
                    );
                    return Err(refused(&why));
                }
                Ok(key(id.to_string()))
            }
            Some(_) => Err(refused("its id is a string")),
            None => Err(refused("give its id")),
        }
    }
}

async fn entities(ctx: &Context<'_>, representations: Vec<Any>) -> Result<Vec<Found>, Error> {
    let observer = observer(ctx)?;
    let places = representations.iter().enumerate();
    let keys: Vec<_> = places.map(|(place, any)| Key::parse(any, place)).collect();
    // Each is looked for once, however often it is named.
    let (mut subjects, mut ids) = (HashSet::new(), HashSet::new());
    for key in keys.iter().flatten() {
        match key {
            Key::User(subject) => drop(subjects.insert(subject.as_str())),
            Key::Message(id) => ids.extend(*id),
        }
    }
    // A service reads nobody's messages, and looks up users beside them.
    let reader = viewer(ctx).map(|viewer| viewer.id);
    let chat = ctx.data_unchecked::<Chat>();
    let messages = async {
        match &reader {
            Ok(reader) => chat.messages(*reader, &ids).await,
            Err(_) => Ok(HashMap::new()),
        }
    };
    let (users, messages) = try_join!(chat.users(observer, &subjects), messages)?;
    let entity = |key: &Key| {
        Ok(match key {
            Key::User(subject) => users.get(subject).cloned().map(User).map(Entity::User),
            Key::Message(id) => {
                reader.as_ref().map_err(Clone::clone)?;
                let found = id.and_then(|id| messages.get(&id).cloned());
                found.map(Message).map(Entity::Message)
            }
        })
    };
    let keys = keys.iter().map(|key| key.as_ref().map_err(Clone::clone));
    Ok(keys.map(|key| key.and_then(entity).transpose()).collect())
}
