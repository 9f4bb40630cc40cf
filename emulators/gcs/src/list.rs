//! Listing in the order of names, folded at a delimiter, page by page.

use crate::object::Object;
use std::collections::BTreeMap;
use std::ops::Bound;

#[derive(Clone, Debug, Default)]
pub struct Query {
    pub prefix: String,
    pub delimiter: Option<String>,
    /// Names and folded prefixes up to this one have been seen.
    pub after: Option<String>,
    /// The first name that counts, and the first that no longer does.
    pub from: Option<String>,
    pub until: Option<String>,
    pub max: usize,
    /// Whether replaced and deleted objects are listed too.
    pub versions: bool,
}

/// All that is known of one name, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    pub older: Vec<Object>,
    pub live: Option<Object>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub objects: Vec<Object>,
    pub prefixes: Vec<String>,
    /// What to give as `after` for the next page, if there is one.
    pub next: Option<String>,
}

pub fn page(objects: &BTreeMap<String, Versions>, query: &Query) -> Page {
    let mut page = Page::default();
    let mut last: Option<String> = None;
    for (name, versions) in
        objects.range::<str, _>((Bound::Included(query.prefix.as_str()), Bound::Unbounded))
    {
        if !name.starts_with(&query.prefix) {
            break;
        }
        if !query.takes(name) {
            continue;
        }
        let shown: Vec<&Object> = if query.versions {
            versions.older.iter().chain(&versions.live).collect()
        } else {
            versions.live.iter().collect()
        };
        if shown.is_empty() {
            continue;
        }
        let item = query.folded(name).unwrap_or_else(|| name.clone());
        // Names with one prefix follow each other, so the last one tells whether it is new.
        let seen = query.after.as_ref().is_some_and(|after| item <= *after);
        if seen || last.as_ref() == Some(&item) {
            continue;
        }
        if page.objects.len() + page.prefixes.len() >= query.max {
            page.next = last;
            break;
        }
        if item == *name {
            page.objects.extend(shown.into_iter().cloned());
        } else {
            page.prefixes.push(item.clone());
        }
        last = Some(item);
    }
    page
}

impl Query {
    fn takes(&self, name: &str) -> bool {
        self.from.as_deref().is_none_or(|from| name >= from)
            && self.until.as_deref().is_none_or(|until| name < until)
    }

    /// The prefix that stands for a name with the delimiter in it.
    fn folded(&self, name: &str) -> Option<String> {
        let delimiter = self.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
        let rest = name.strip_prefix(&self.prefix)?;
        let at = rest.find(delimiter)? + delimiter.len();
        Some(format!("{}{}", self.prefix, rest.get(..at)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists page by page, as `a b/ | c`.
    fn list(names: &[&str], mut query: Query) -> String {
        let version = |name: &&str| {
            let live = Object { name: (*name).to_owned(), ..Object::default() };
            ((*name).to_owned(), Versions { older: vec![], live: Some(live) })
        };
        let objects = names.iter().map(version).collect();
        let mut pages = Vec::new();
        loop {
            let page = page(&objects, &query);
            let names = page.objects.iter().map(|object| object.name.clone());
            pages.push(names.chain(page.prefixes).collect::<Vec<_>>().join(" "));
            let Some(next) = page.next else { return pages.join(" | ") };
            query.after = Some(next);
        }
    }

    #[track_caller]
    fn check(prefix: &str, delimiter: &str, max: usize, expected: &str) {
        let names = ["a", "b/1", "b/2", "b/c/3", "b0", "c"];
        let delimiter = Some(delimiter.to_owned());
        let query = Query { prefix: prefix.to_owned(), delimiter, max, ..Query::default() };
        assert_eq!(list(&names, query), expected);
    }

    #[test]
    fn names_below_a_delimiter_are_folded_into_one() {
        check("", "/", 100, "a b0 c b/");
        check("b/", "/", 100, "b/1 b/2 b/c/");
        check("b", "", 100, "b/1 b/2 b/c/3 b0");
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        check("", "/", 1, "a | b/ | b0 | c");
        check("", "", 4, "a b/1 b/2 b/c/3 | b0 c");
        check("", "/", 2, "a b/ | b0 c");
    }
}
