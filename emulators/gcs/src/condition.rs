//! What a request demands of an object before it may do anything.
//!
//! Writers agree by these alone, so they are judged under the table's lock, together with the effect.

use crate::object::Object;
use crate::refusal::Refusal;
use crate::request::Request;

/// Generations that an object must have, or must not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// 0: there is no such object.
    pub generation: Option<u64>,
    pub not_generation: Option<u64>,
    pub metageneration: Option<u64>,
    pub not_metageneration: Option<u64>,
}

/// Whether a request reads, where "you have it already" is an answer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Reading,
    Writing,
}

impl Condition {
    /// The JSON API's `ifGenerationMatch` and its like; `of`: nothing, or `Source`.
    pub fn in_query(request: &Request, of: &str) -> Result<Self, Refusal> {
        let number = |what: &str| request.number(&format!("if{of}{what}"));
        Ok(Self {
            generation: number("GenerationMatch")?,
            not_generation: number("GenerationNotMatch")?,
            metageneration: number("MetagenerationMatch")?,
            not_metageneration: number("MetagenerationNotMatch")?,
        })
    }

    /// The XML API's `x-goog-if-generation-match` and its like; `of`: nothing, or `copy-source-`.
    pub fn in_headers(request: &Request, of: &str) -> Result<Self, Refusal> {
        let number = |what: &str| match request.header(&format!("x-goog-{of}{what}")) {
            Some(text) => {
                let wrong = |_| Refusal::invalid(format!("{what} is no number: {text}"));
                text.parse().map(Some).map_err(wrong)
            }
            None => Ok(None),
        };
        Ok(Self {
            generation: number("if-generation-match")?,
            not_generation: None,
            metageneration: number("if-metageneration-match")?,
            not_metageneration: None,
        })
    }

    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }

    /// Judges by the object that there is now.
    pub fn judge(&self, object: Option<&Object>, doing: Doing) -> Result<(), Refusal> {
        let generation = object.map_or(0, |object| object.generation);
        let metageneration = object.map_or(0, |object| object.metageneration);
        let wanted = |wanted: Option<u64>, found| wanted.is_none_or(|wanted| wanted == found);
        let unwanted = |unwanted: Option<u64>, found| unwanted == Some(found);
        if !wanted(self.generation, generation) {
            return Err(Refusal::precondition("ifGenerationMatch"));
        }
        if !wanted(self.metageneration, metageneration) {
            return Err(Refusal::precondition("ifMetagenerationMatch"));
        }
        if unwanted(self.not_generation, generation)
            || unwanted(self.not_metageneration, metageneration)
        {
            return Err(match doing {
                Doing::Reading => Refusal::not_modified(),
                Doing::Writing => Refusal::precondition("ifGenerationNotMatch"),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(generation: u64) -> Object {
        Object { generation, metageneration: 2, ..Object::default() }
    }

    #[track_caller]
    fn check(condition: &Condition, there: Option<u64>, status: Option<u16>) {
        let object = there.map(object);
        let judged = condition.judge(object.as_ref(), Doing::Writing);
        assert_eq!(judged.err().map(|refusal| refusal.status), status);
    }

    #[test]
    fn generation_0_means_that_nothing_is_there() {
        let absent = Condition { generation: Some(0), ..Condition::default() };
        check(&absent, None, None);
        check(&absent, Some(7), Some(412));
    }

    #[test]
    fn another_generation_is_refused() {
        let seventh = Condition { generation: Some(7), ..Condition::default() };
        check(&seventh, Some(7), None);
        check(&seventh, Some(8), Some(412));
        check(&seventh, None, Some(412));
    }

    #[test]
    fn a_reader_that_has_it_already_is_told_so() {
        let not_seventh = Condition { not_generation: Some(7), ..Condition::default() };
        let judged = not_seventh.judge(Some(&object(7)), Doing::Reading);
        assert_eq!(judged.unwrap_err().status, 304);
        check(&not_seventh, Some(7), Some(412));
        check(&not_seventh, Some(8), None);
    }
}
