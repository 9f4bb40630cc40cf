//! Leaves a request for the daemon, and waits for what comes of it.

use super::answers;
use crate::daemon;
use crate::error::{Error, ErrorKind};
use crate::model::project::Project;
use crate::model::request::{Answer, NewRequest, Outcome, Verb};
use crate::ping;
use crate::store::Store;
use crate::terminal::context::Context;
use std::time::Duration;

/// A daemon applies a request within milliseconds; after this it is stuck, or just gone.
const WAIT_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks for `verb` and returns what was done; a refusal is the error that says why.
pub async fn ask(
    context: &Context,
    project: &Project,
    store: &Store,
    verb: Verb,
) -> Result<Outcome, Error> {
    let home = &project.settings.home;
    if daemon::holder(home).is_none() {
        let nobody = "the project is not up, and only its daemon changes anything";
        return Err(Error::new(ErrorKind::Input, nobody).remedy(format!(
            "run `{}` in another terminal, then this again",
            context.command("up")
        )));
    }
    let new = NewRequest::at_command_line(verb, who(context));
    let id = store.ask(&new, context.now()).await?;
    ping::send(home, ping::REQUESTED);
    let asked = context.steady();
    loop {
        let request = store.request(id).await?;
        match request.and_then(|request| request.answer) {
            Some(Answer::Done(outcome)) => return Ok(outcome),
            Some(Answer::Refused(refusal)) => return Err(answers::refused(&refusal)),
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
