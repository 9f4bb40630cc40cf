//! Leaves a request for the daemon, and waits for what comes of it.

use super::context::Context;
use crate::daemon;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::model::settings::Project;
use crate::ping;
use crate::store::Store;
use crate::store::requests::Verb;
use std::time::Duration;

/// A daemon applies a request within milliseconds; after this it is stuck, or just gone.
const WAIT_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks for `verb` and returns what was done, in the daemon's words.
pub async fn ask(
    context: &Context,
    project: &Project,
    store: &Store,
    verb: &Verb,
) -> Result<String, Error> {
    let home = &project.settings.home;
    if daemon::holder(home).is_none() {
        let nobody = "the project is not up, and only its daemon changes anything";
        return Err(Error::new(ErrorKind::Input, nobody).remedy(format!(
            "run `{}` in another terminal, then this again",
            context.command("up")
        )));
    }
    let id = store.ask(verb, &who(context), context.now()).await?;
    ping::send(home, ping::REQUESTED);
    let asked = context.steady();
    loop {
        let request = store.request(id).await?.filter(|request| request.applied.is_some());
        match request {
            Some(request) => {
                return match request.failure {
                    None => Ok(request.outcome.unwrap_or_default()),
                    Some(failure) => {
                        let error = Error::new(failure.kind, failure.error);
                        Err(match failure.remedy {
                            Some(remedy) => error.remedy(remedy),
                            None => error,
                        })
                    }
                };
            }
            None if context.steady().since(asked) > WAIT_MAX => {
                let late = format!("the daemon has not answered request {id} yet");
                return Err(Error::new(ErrorKind::Unavailable, late)
                    .remedy("it is kept and will be applied; see the log of `tidemill up`"));
            }
            None => context.clock.sleep(LOOK_EVERY).await,
        }
    }
}

/// Who asks, for the audit log.
fn who(context: &Context) -> String {
    context.environment.get("USER").unwrap_or("unknown").to_owned()
}
