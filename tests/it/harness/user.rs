//! People: whoever speaks to a server by HTTP.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{server::tokens, socket::Listener};

/// What is asked of every message.
pub(crate) const MESSAGE: &str = "id sequence content sentAt readAt unread formatted clientMessageId sender { id } recipient { id }";

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) address: SocketAddr,
    pub(crate) token: Option<String>,
    pub(crate) act_as: Option<String>,
    http: reqwest::Client,
}

/// An answer, with its status.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The data of an answer without errors.
    pub(crate) fn data(&self) -> &Value {
        assert!(
            self.body.get("errors").is_none(),
            "this should succeed: {}",
            self.body
        );
        &self.body["data"]
    }

    /// Each error's code, and its path joined by dots.
    pub(crate) fn errors(&self) -> Vec<(String, String)> {
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        let told = errors.iter().map(|error| {
            let path = error["path"].as_array().cloned().unwrap_or_default();
            let path: Vec<String> = path
                .iter()
                .map(|part| part.to_string().replace('"', ""))
                .collect();
            let code = error["extensions"]["code"].as_str();
            let code = code.unwrap_or_else(|| panic!("an error without a code: {error}"));
            (code.to_owned(), path.join("."))
        });
        told.collect()
    }

    /// The code of the only error.
    pub(crate) fn code(&self) -> String {
        match self.errors().as_slice() {
            [(code, _)] => code.clone(),
            _ => panic!("one error was expected: {}", self.body),
        }
    }
}

impl User {
    pub(crate) fn of(
        address: SocketAddr,
        http: reqwest::Client,
        id: &str,
        token: Option<String>,
    ) -> Self {
        Self {
            id: id.to_owned(),
            address,
            token,
            act_as: None,
            http,
        }
    }

    /// A user by a token, who has made a first request.
    pub(crate) async fn arrive(
        address: SocketAddr,
        http: reqwest::Client,
        id: &str,
        name: Option<&str>,
    ) -> Self {
        let token = tokens().mint(id, name, false, 3_600).unwrap();
        let user = Self::of(address, http, id, Some(token));
        let answer = user.ask("{ viewer { id } }", json!({})).await;
        assert_eq!(answer.data()["viewer"]["id"], id);
        user
    }

    /// The same person at another server.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    /// The same token under another id.
    pub(crate) fn called(&self, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            ..self.clone()
        }
    }

    /// The same token, acting for somebody.
    pub(crate) fn acting_for(&self, id: &str) -> Self {
        Self {
            act_as: Some(id.to_owned()),
            ..self.clone()
        }
    }

    /// One request by POST.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Answer {
        self.try_ask(query, variables).await.unwrap()
    }

    /// One request by POST, to a server that may be gone.
    pub(crate) async fn try_ask(&self, query: &str, variables: Value) -> reqwest::Result<Answer> {
        let url = format!("http://{}/graphql", self.address);
        let mut request = self
            .http
            .post(url)
            .header("accept", "application/graphql-response+json")
            .json(&json!({ "query": query, "variables": variables }));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(act_as) = &self.act_as {
            request = request.header("x-act-as", act_as);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body = response.json().await?;
        Ok(Answer { status, body })
    }

    /// One request by GET.
    pub(crate) async fn ask_by_get(&self, query: &str) -> Answer {
        let url = format!("http://{}/graphql", self.address);
        let mut url = reqwest::Url::parse(&url).unwrap();
        url.query_pairs_mut().append_pair("query", query);
        let token = self.token.as_deref().unwrap_or_default();
        let response = self.http.get(url).bearer_auth(token).send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.json().await.unwrap();
        Answer { status, body }
    }

    /// One request by POST for an event stream, with headers of its own.
    pub(crate) async fn stream(
        &self,
        query: &str,
        variables: Value,
        headers: &[(&str, &str)],
    ) -> reqwest::Response {
        let url = format!("http://{}/graphql", self.address);
        let mut request = self.http.post(url).header("accept", "text/event-stream");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.json(&json!({ "query": query, "variables": variables }));
        request.send().await.unwrap()
    }

    /// The data of a request that succeeds.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        self.ask(query, variables).await.data().clone()
    }

    /// The whole answer to a send.
    pub(crate) async fn sending(&self, to: &str, content: &str, client_id: Option<&str>) -> Answer {
        let query = send_mutation();
        self.ask(&query, send_variables(to, content, client_id))
            .await
    }

    /// Sends, and returns the message.
    pub(crate) async fn send(&self, to: &User, content: &str) -> Value {
        let answer = self.sending(&to.id, content, None).await;
        answer.data()["sendMessage"]["message"].clone()
    }

    /// Sends under a client id: the message, or the code of the error.
    pub(crate) async fn send_as(
        &self,
        to: &User,
        content: &str,
        client_id: &str,
    ) -> Result<Value, String> {
        let answer = self.sending(&to.id, content, Some(client_id)).await;
        if answer.body.get("errors").is_some() {
            return Err(answer.code());
        }
        Ok(answer.data()["sendMessage"]["message"].clone())
    }

    /// The whole answer to a read.
    pub(crate) async fn reading(&self, id: &str) -> Answer {
        let query = format!(
            "mutation ($id: ID!) {{ readMessage(input: {{ id: $id }}) {{ message {{ {MESSAGE} }} \
             conversationPartner {{ unreadCount }} inbox {{ unreadCount }} }} }}"
        );
        self.ask(&query, json!({ "id": id })).await
    }

    /// Reads one message, and returns it.
    pub(crate) async fn read(&self, message: &Value) -> Value {
        let answer = self.reading(message["id"].as_str().unwrap()).await;
        answer.data()["readMessage"]["message"].clone()
    }

    /// Reads a conversation, up to a message where one is given; returns how many turned read.
    pub(crate) async fn read_conversation(&self, with: &User, up_to: Option<&str>) -> i64 {
        let query = "mutation ($with: ID!, $upTo: ID) \
            { readConversation(input: { partnerId: $with, upTo: $upTo }) { readCount } }";
        let data = self
            .data(query, json!({ "with": with.id, "upTo": up_to }))
            .await;
        data["readConversation"]["readCount"].as_i64().unwrap()
    }

    pub(crate) async fn unread_count(&self) -> i64 {
        let data = self.data("{ inbox { unreadCount } }", json!({})).await;
        data["inbox"]["unreadCount"].as_i64().unwrap()
    }

    pub(crate) async fn signal_cursor(&self) -> String {
        let data = self.data("{ signalCursor }", json!({})).await;
        data["signalCursor"].as_str().unwrap().to_owned()
    }

    /// Every message with a partner, page by page.
    pub(crate) async fn conversation(&self, with: &User, size: i64, reversed: bool) -> Vec<Value> {
        let query = format!(
            "query ($with: ID!, $size: Int, $reversed: Boolean!, $after: String) {{ list: conversation(partnerId: $with, \
             limit: $size, reversed: $reversed, after: $after) {{ nodes {{ {MESSAGE} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let variables = json!({ "with": with.id, "size": size, "reversed": reversed });
        self.pages(&query, variables).await
    }

    /// Every unread message, page by page.
    pub(crate) async fn unread(&self, size: i64) -> Vec<Value> {
        let query = format!(
            "query ($size: Int!, $after: String) {{ list: unreadMessages(first: $size, after: $after) \
             {{ nodes {{ {MESSAGE} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        self.pages(&query, json!({ "size": size })).await
    }

    /// Every partner, page by page.
    pub(crate) async fn partners(&self, size: i64) -> Vec<Value> {
        let query = format!(
            "query ($size: Int!, $after: String) {{ list: conversationPartners(first: $size, after: $after) \
             {{ nodes {{ user {{ id }} unreadCount lastMessage {{ {MESSAGE} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        self.pages(&query, json!({ "size": size })).await
    }

    /// The nodes of a list called `list`, to its end.
    pub(crate) async fn pages(&self, query: &str, mut variables: Value) -> Vec<Value> {
        let mut nodes = Vec::new();
        loop {
            let data = self.data(query, variables.clone()).await;
            let page = &data["list"];
            nodes.extend(page["nodes"].as_array().unwrap().iter().cloned());
            if page["pageInfo"]["hasNextPage"] == false {
                return nodes;
            }
            variables["after"] = page["pageInfo"]["endCursor"].clone();
        }
    }

    /// A subscription on a socket of its own, which has begun when this returns.
    pub(crate) async fn listen(&self, field: &str, after: Option<&str>) -> Listener {
        Listener::start(self, field, after, None).await
    }

    /// A subscription to one conversation.
    pub(crate) async fn listen_to(
        &self,
        field: &str,
        after: Option<&str>,
        partner: &User,
    ) -> Listener {
        Listener::start(self, field, after, Some(&partner.id)).await
    }
}

pub(crate) fn send_mutation() -> String {
    format!(
        "mutation ($input: SendMessageInput!) {{ sendMessage(input: $input) {{ message {{ {MESSAGE} }} \
         conversationPartner {{ unreadCount lastMessage {{ id }} }} inbox {{ unreadCount }} }} }}"
    )
}

pub(crate) fn send_variables(to: &str, content: &str, client_id: Option<&str>) -> Value {
    json!({ "input": { "recipientId": to, "content": content, "clientMessageId": client_id } })
}

/// The ids of some messages.
pub(crate) fn ids(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["id"].as_str().unwrap())
        .collect()
}

/// The contents of some messages.
pub(crate) fn contents(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect()
}
