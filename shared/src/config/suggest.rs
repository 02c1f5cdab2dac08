//! "Did you mean": the known key that comes closest to an unknown one.

use strsim::damerau_levenshtein;

/// The key that was probably meant: the closest name in the same place, else the one key elsewhere that ends in the
/// same name.
pub fn suggest(key: &[String], known: usize, names_there: &[&str], all_keys: &[String]) -> Option<String> {
    let unknown = key.get(known)?;
    if let Some(name) = closest(unknown, names_there) {
        let mut meant = key.to_vec();
        meant[known] = name.to_owned();
        return Some(meant.join("."));
    }
    let last = key.last()?;
    let mut elsewhere = all_keys.iter().filter(|other| other.rsplit('.').next() == Some(last));
    let only = elsewhere.next()?;
    elsewhere.next().is_none().then(|| only.clone())
}

/// Within a third of its letters, at least one.
fn closest<'a>(unknown: &str, names: &[&'a str]) -> Option<&'a str> {
    let allowed = (unknown.chars().count() / 3).max(1);
    let distances = names.iter().map(|name| (damerau_levenshtein(unknown, name), *name));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, name)| name)
}
