//! The parameters of a request, as GraphQL over HTTP names and types them; what else stands beside them is ignored.

use apollo_compiler::response::JsonMap;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

/// What a request sent: a document or the name of one, and what goes with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// The document's text.
    pub(crate) query: Option<String>,
    /// The document's hash.
    pub(crate) document: Option<String>,
    pub(crate) operation_name: Option<String>,
    pub(crate) variables: JsonMap,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    query: Option<String>,
    /// The name that GraphQL over HTTP gives to a persisted document's id.
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Option<JsonMap>,
    extensions: Option<Extensions>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    persisted_query: Option<PersistedQuery>,
}

/// The name that Apollo's clients, and those after them, give to a persisted document's id.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersistedQuery {
    version: u8,
    sha256_hash: String,
}

impl Asked {
    /// The parameters in a request's body.
    pub(crate) fn from_body(json: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(json)
            .map_err(|error| format!("the body is not JSON: {error}"))?;
        if value.is_array() {
            return Err("batches are not taken: send one operation at a time".to_owned());
        }
        Self::from_json(value)
    }

    /// The parameters in a body, or in a `subscribe` message's payload.
    pub(crate) fn from_json(value: Value) -> Result<Self, String> {
        let Value::Object(_) = value else {
            return Err("give an object: {\"query\": …}".to_owned());
        };
        let json = Json::deserialize(value).map_err(|error| {
            format!(
                "{error}; send {{\"query\": …}}, with operationName (a string), variables and extensions (objects) as needed"
            )
        })?;
        Self::of(json)
    }

    /// The parameters in a URL.
    pub(crate) fn from_url(query: &str) -> Result<Self, String> {
        let mut json = Json {
            query: None,
            document_id: None,
            operation_name: None,
            variables: None,
            extensions: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value)
                .decode_utf8()
                .map_err(|_| format!("{name}: this is not percent-encoded UTF-8"))?;
            let no_object = |error| format!("{name}: this is no JSON object: {error}");
            match name {
                "query" => json.query = Some(value.into_owned()),
                "variables" | "extensions" if value.is_empty() => {}
                "documentId" => json.document_id = Some(value.into_owned()),
                "operationName" => json.operation_name = Some(value.into_owned()),
                "variables" => json.variables = serde_json::from_str(&value).map_err(no_object)?,
                "extensions" => {
                    json.extensions = serde_json::from_str(&value).map_err(no_object)?;
                }
                _ => {}
            }
        }
        Self::of(json)
    }

    fn of(json: Json) -> Result<Self, String> {
        let extensions = json.extensions.unwrap_or_default();
        let document_id = json.document_id.filter(|id| !id.is_empty());
        let document = match (document_id, extensions.persisted_query) {
            (Some(id), _) => Some(id),
            (None, Some(persisted)) if persisted.version != 1 => {
                return Err("extensions.persistedQuery: the only version is 1".to_owned());
            }
            (None, persisted) => persisted.map(|persisted| persisted.sha256_hash),
        };
        // Beside a document's id an empty text is none: graphql-ws, graphql-sse and urql send it so.
        let query = json
            .query
            .filter(|query| !query.is_empty() || document.is_none());
        Ok(Self {
            query,
            document,
            operation_name: json.operation_name.filter(|name| !name.is_empty()),
            variables: json.variables.unwrap_or_default(),
        })
    }
}
