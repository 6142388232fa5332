//! One cell, really run: queries and mutations by HTTP, subscriptions over the socket.

use apollo_compiler::ast::OperationType;
use serde_json::{Value, json};

use super::{
    walk::{Contract, Seen},
    world::{Caller, World},
};
use crate::harness::{
    server::TestServer,
    socket::{Heard, Socket},
    user::User,
};

/// A row of the first table.
pub(super) struct Row<'a> {
    /// A root field with its arguments.
    pub(super) call: &'a str,
    /// Which part of its answer the cells tell.
    pub(super) path: Vec<&'a str>,
}

/// What a caller got: data and errors, or the end.
enum Got {
    Answer { data: Value, errors: Value },
    Refused(u16),
}

impl Row<'_> {
    pub(super) fn root(&self) -> &str {
        self.call.split('(').next().unwrap()
    }

    /// Whether running it changes what the next one would see.
    fn is_changing(&self, kind: OperationType) -> bool {
        kind != OperationType::Query || self.call.contains("markRead: true")
    }

    /// Its document, where running it changes nothing.
    pub(super) fn reading(
        &self,
        contract: &Contract,
        world: &World,
        caller: Caller,
    ) -> Option<String> {
        let (kind, selection) = contract.operation(self.root());
        let call = world.fill(self.call, caller);
        (!self.is_changing(kind)).then(|| format!("{kind} {{ {call} {selection} }}"))
    }

    /// Runs it for a caller: the cell, and what the answer shows beside it.
    pub(super) async fn run(
        &self,
        contract: &Contract,
        server: &TestServer,
        shared: &World,
        caller: Caller,
        seen: &mut Seen,
    ) -> String {
        let (kind, selection) = contract.operation(self.root());
        let own;
        let world = if self.is_changing(kind) {
            own = World::new(server).await;
            &own
        } else {
            shared
        };
        let call = world.fill(self.call, caller);
        let document = format!("{kind} {{ {call} {selection} }}");
        let user = world.user(caller);
        let got = if kind == OperationType::Subscription {
            listen(&user, &document, world).await
        } else {
            ask(&user, &document).await
        };
        match got {
            Got::Refused(status) => status.to_string(),
            Got::Answer { data, errors } => {
                let value = &data[self.root()];
                contract.observe(seen, world, caller, self.root(), value);
                if errors.is_null() {
                    return contract.tell_at(world, self.root(), &self.path, value);
                }
                assert!(value.is_null(), "a root field fails as a whole: {errors}");
                let codes = errors.as_array().unwrap().iter();
                let codes = codes.map(|error| error["extensions"]["code"].as_str().unwrap());
                codes.collect::<Vec<_>>().join(",")
            }
        }
    }
}

impl Row<'_> {
    /// Runs what only a gateway asks: the cell, of the first entity.
    pub(super) async fn run_as_gateway(&self, world: &World, caller: Caller) -> String {
        let call = world.fill(self.call, caller);
        let told = self.path[0];
        let selection = match told {
            "content" => "... on Message { content }",
            "username" => "... on User { username }",
            field => field,
        };
        let document = format!("{{ {call} {{ {selection} }} }}");
        let (data, errors) = match ask(&world.user(caller), &document).await {
            Got::Refused(status) => return status.to_string(),
            Got::Answer { data, errors } => (data, errors),
        };
        if let Some(errors) = errors.as_array() {
            let shown = data[self.root()][0].as_object();
            assert!(shown.is_none(), "beside an error stands null: {data}");
            let code = errors[0]["extensions"]["code"].as_str();
            return code.unwrap().to_owned();
        }
        let value = &data[self.root()];
        match value.as_array().map(Vec::as_slice) {
            Some([]) => "[]".to_owned(),
            Some([first, ..]) => first[told].as_str().unwrap_or("null").to_owned(),
            None => {
                let sdl = value[told].as_str().unwrap();
                assert!(sdl.contains("@key"), "{sdl}");
                "schema".to_owned()
            }
        }
    }
}

async fn ask(user: &User, document: &str) -> Got {
    let answer = user.ask(document, json!({})).await;
    if answer.status != 200 {
        assert!(answer.body.get("data").is_none(), "{}", answer.body);
        return Got::Refused(answer.status);
    }
    Got::Answer {
        data: answer.body["data"].clone(),
        errors: answer.body["errors"].clone(),
    }
}

/// A socket that speaks for a caller, or the code with which it is closed.
pub(super) async fn open(user: &User) -> Result<Socket, u16> {
    let mut socket = Socket::open(user.address).await;
    let mut payload = json!({});
    if let Some(token) = &user.token {
        payload["authorization"] = json!(format!("Bearer {token}"));
    }
    if let Some(act_as) = &user.act_as {
        payload["actAs"] = json!(act_as);
    }
    match socket.init(payload).await {
        Heard::Closed(code) => Err(code),
        Heard::Message(_) => Ok(socket),
    }
}

/// The first that a listener hears, after something happened that everybody would hear of.
async fn listen(user: &User, document: &str, world: &World) -> Got {
    let mut socket = match open(user).await {
        Ok(socket) => socket,
        Err(code) => return Got::Refused(code),
    };
    socket.subscribe("1", document, json!({})).await;
    world.go_on().await;
    let message = socket.message().await;
    match message["type"].as_str() {
        Some("next") => Got::Answer {
            data: message["payload"]["data"].clone(),
            errors: message["payload"]["errors"].clone(),
        },
        Some("error") => Got::Answer {
            data: Value::Null,
            errors: message["payload"].clone(),
        },
        _ => panic!("neither next nor error: {message}"),
    }
}
