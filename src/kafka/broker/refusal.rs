//! Why the brokers refuse us, for librdkafka alone would not say.
//!
//! With a wrong password it tries again for ever, and whoever asks only hears that nobody has
//! answered. What it was told goes to a callback, where [`Refusal`] keeps it.

use crate::error::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Mutex;
use tracing::debug;

/// The last refusal that was heard: which broker, which mechanism, why. Never a secret.
#[derive(Debug, Default)]
pub struct Refusal(Mutex<Option<String>>);

impl Refusal {
    /// Call from [`ClientContext::error`](rdkafka::ClientContext::error).
    pub fn heard(&self, error: &KafkaError, reason: &str) {
        debug!(%error, "librdkafka: {reason}");
        if refuses(error.rdkafka_error_code()) {
            *self.0.lock().expect("no panic holds it") = Some(reason.to_owned());
        }
    }

    /// They have answered: what was heard before is over.
    pub fn forget(&self) {
        drop(self.0.lock().expect("no panic holds it").take());
    }

    /// The refusal, as an error.
    pub fn told(&self) -> Option<Error> {
        let reason = self.0.lock().expect("no panic holds it").clone()?;
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
}

/// Whether a person must mend it: an account that is refused, a certificate that is not trusted.
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
}
