//! Why the brokers refuse us, for librdkafka alone would not say.
//!
//! With a wrong password it tries again for ever, and the asker only hears that nobody has
//! answered. The refusal goes to a callback, where [`Refusal`] keeps it; beside it the newest reason
//! why a broker could not be reached, which is worth telling where none has answered.

use crate::error::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Mutex;
use tracing::debug;

/// What the brokers said since the last answer. Never a secret.
#[derive(Debug, Default)]
pub struct Refusal(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    /// The last refusal: which broker, which mechanism, why.
    refused: Option<String>,
    /// `kafka-1:9092/bootstrap: Connect to ipv4#10.0.0.7:9092 failed: Connection refused …`
    unreached: Option<String>,
}

impl Refusal {
    /// Call from [`ClientContext::error`](rdkafka::ClientContext::error).
    pub fn heard(&self, error: &KafkaError, reason: &str) {
        debug!(%error, "librdkafka: {reason}");
        let mut heard = self.0.lock().expect("no panic holds it");
        match error.rdkafka_error_code() {
            code if refuses(code) => heard.refused = Some(reason.to_owned()),
            // That all are down says less than why one is.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ => heard.unreached = Some(reason.to_owned()),
        }
    }

    /// They have answered: earlier refusals no longer count.
    pub fn forget(&self) {
        *self.0.lock().expect("no panic holds it") = Heard::default();
    }

    /// The refusal, as an error.
    pub fn told(&self) -> Option<Error> {
        let reason = self.0.lock().expect("no panic holds it").refused.clone()?;
        Some(Error::new(ErrorKind::Input, reason).remedy(
            "see to security.protocol, sasl.mechanism, user name, password and certificates in \
             [kafka.properties]",
        ))
    }

    /// `err`, or the refusal that explains it.
    pub fn explains(&self, err: Error) -> Error {
        match err.kind {
            ErrorKind::Unavailable | ErrorKind::Input => self.told().unwrap_or(err),
            ErrorKind::Fenced | ErrorKind::Data | ErrorKind::Bug => err,
        }
    }

    /// Likewise, where no broker has answered, with why one could not be reached.
    pub fn explains_silence(&self, err: Error) -> Error {
        let silent = err.kind == ErrorKind::Unavailable;
        let err = self.explains(err);
        if !silent || err.kind != ErrorKind::Unavailable {
            return err;
        }
        let unreached = self.0.lock().expect("no panic holds it").unreached.clone();
        let told = match unreached {
            Some(reason) => Error::new(ErrorKind::Unavailable, format!("{err}; {reason}")),
            None => err,
        };
        told.remedy("see that Kafka's brokers run, that `kafka.brokers` names them, and that this machine reaches them")
    }
}

/// Whether a person must fix it: an account that is refused, a certificate that is not trusted.
pub fn refuses(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed_out() -> Error {
        Error::new(ErrorKind::Unavailable, "timed out")
    }

    #[test]
    fn a_refusal_explains_why_nobody_answers() {
        let refusal = Refusal::default();
        let error = |code| KafkaError::Global(code);
        refusal.heard(&error(RDKafkaErrorCode::BrokerTransportFailure), "connect failed");
        assert_eq!(refusal.explains(timed_out()).to_string(), "timed out");
        refusal.heard(&error(RDKafkaErrorCode::Authentication), "b:9092: SCRAM-SHA-512: no");
        let told = refusal.explains(timed_out());
        assert_eq!(
            (told.kind, told.to_string().as_str()),
            (ErrorKind::Input, "b:9092: SCRAM-SHA-512: no")
        );
        refusal.forget();
        assert_eq!(refusal.explains(timed_out()).to_string(), "timed out");
    }

    #[test]
    fn silence_is_told_with_why_a_broker_was_not_reached() {
        let refusal = Refusal::default();
        let heard = |code, reason| refusal.heard(&KafkaError::Global(code), reason);
        heard(RDKafkaErrorCode::Resolve, "b:9092: Failed to resolve: Name or service not known");
        heard(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        let told = refusal.explains_silence(timed_out());
        let text = "timed out; b:9092: Failed to resolve: Name or service not known";
        assert_eq!((told.kind, told.to_string().as_str()), (ErrorKind::Unavailable, text));
        assert!(told.remedy.is_some());
    }
}
