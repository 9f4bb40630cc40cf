//! The processes of one stream, by id: the first has the stream's own, `wikimedia.land`, and each
//! further one a number behind it, `wikimedia.land.2`. No name begins with a digit.

use super::name::Name;

/// The id of process `instance`, counted from 1.
pub fn id(dag: &Name, stream: &Name, instance: u32) -> String {
    match instance {
        0 | 1 => format!("{dag}.{stream}"),
        more => format!("{dag}.{stream}.{more}"),
    }
}

/// The id of the stream that it is a process of.
pub fn stream(id: &str) -> &str {
    match id.rsplit_once('.') {
        Some((stream, number)) if number.starts_with(|c: char| c.is_ascii_digit()) => stream,
        Some(_) | None => id,
    }
}

/// The stream's name within its DAG.
pub fn name(id: &str) -> &str {
    let stream = stream(id);
    stream.rsplit_once('.').map_or(stream, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_has_the_streams_own_id() {
        let (dag, land) = ("wikimedia".parse().unwrap(), "land".parse().unwrap());
        for (instance, expected) in [(1, "wikimedia.land"), (2, "wikimedia.land.2")] {
            let id = id(&dag, &land, instance);
            assert_eq!(id, expected);
            assert_eq!((stream(&id), name(&id)), ("wikimedia.land", "land"));
        }
    }
}
