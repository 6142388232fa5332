use directmessages::{
    auth::{Inspected, inspect},
    config::Serve,
};

use super::Finding;

const CHECK: &str = "keys";

/// Whether there are keys, and which algorithms they believe.
pub(super) async fn check(serve: &Serve) -> Vec<Finding> {
    let keys = &serve.keys;
    let mut found = Vec::new();
    match inspect(keys.verifier_options()).await {
        Ok(sources) => sources
            .into_iter()
            .for_each(|source| tell(source, &mut found)),
        Err(error) => found.push(Finding::failed(CHECK, error.to_string())),
    }
    if keys.jwt_jwks_url.is_some() && keys.jwt_audience.is_none() {
        let told = "JWT_AUDIENCE is not set: a token that the login server made for another application is believed too; \
                    set it to this application's audience";
        found.push(Finding::warning(CHECK, told));
    }
    found
}

fn tell(inspected: Inspected, found: &mut Vec<Finding>) {
    let Inspected {
        source,
        keys,
        skipped,
    } = inspected;
    found.push(match keys {
        Ok(keys) => Finding::ok(CHECK, format!("{source}: {}", keys.join(", "))),
        Err(error) => {
            let told = format!("{source}: {error}; mend it, or name another one");
            Finding::failed(CHECK, told)
        }
    });
    for reason in skipped {
        let told = format!("{source}: {reason}; tokens by it are not believed");
        found.push(Finding::warning(CHECK, told));
    }
}
