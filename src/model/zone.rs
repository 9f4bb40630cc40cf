//! Timezones by their IANA names, with the rules that are compiled into this program.
//!
//! Every process cuts days by the same rules. What a machine has installed, or lacks, changes nothing.

use super::name::BadName;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const UTC: &str = "UTC";

/// A timezone that this program knows.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    pub fn utc() -> Self {
        Self { name: UTC.into(), rules: TimeZone::UTC }
    }

    /// As it was written.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_utc(&self) -> bool {
        self.name == UTC
    }

    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }
}

impl FromStr for Zone {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        let rules = TimeZoneDatabase::bundled().get(name).ok();
        let rules = rules.filter(|rules| !rules.is_unknown());
        let rules = rules.ok_or_else(|| BadName(format!("no timezone is named `{name}`")))?;
        Ok(Self { name: name.to_owned(), rules })
    }
}

impl TryFrom<String> for Zone {
    type Error = BadName;

    fn try_from(name: String) -> Result<Self, BadName> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_stored_by_its_name_and_an_unknown_one_is_an_error() {
        let madrid: Zone = serde_json::from_str("\"Europe/Madrid\"").unwrap();
        assert_eq!(serde_json::to_string(&madrid).unwrap(), "\"Europe/Madrid\"");
        for name in ["Europe/Atlantis", "Etc/Unknown", "", "../UTC", "UTC+1"] {
            let error = name.parse::<Zone>().unwrap_err();
            assert_eq!(error.0, format!("no timezone is named `{name}`"));
        }
    }

    #[test]
    fn utc_is_utc_however_it_is_made() {
        let parsed: Zone = "UTC".parse().unwrap();
        assert_eq!((parsed.clone(), parsed.rules()), (Zone::utc(), Zone::utc().rules()));
    }
}
