//! A map of the YAML, read field by field: what has been taken is known, and what is left over at the end is complained about.
//! So the list of known fields cannot differ from the fields that are read. It gives no meaning to a value.

use super::complaint::{Code, Complaint, quoted};
use super::nearest;
use super::place::{At, Place};
use super::reading::{Name, Reading, Value};
use super::tree::{Entry, Kind};
use std::collections::{HashMap, HashSet};

pub struct Section<'a> {
    entries: &'a [Entry],
    /// Where to point when something is missing.
    pub place: Place,
    pub name: Name,
    pub reading: &'a Reading<'a>,
    known: Vec<&'static str>,
    /// Fields that a later version will know.
    later: &'static [&'static str],
    /// Fields that must be there and are not, and what to do about each.
    missing: Vec<(&'static str, &'static str)>,
}

impl<'a> Section<'a> {
    pub fn new(entries: &'a [Entry], value: &Value<'a>, later: &'static [&'static str]) -> Self {
        complain_of_twins(entries, value);
        let place = value.key;
        Self { entries, place, name: value.name.clone(), reading: value.reading, known: Vec::new(), later, missing: Vec::new() }
    }

    /// The value of a field, where it is written.
    pub fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        let entry = self.entries.iter().find(|e| e.key == key)?;
        Some(Value { node: &entry.value, key: entry.place, name: self.name.field(key), reading: self.reading })
    }

    /// A field that may be left out. `None` also where it was refused: the complaint is made already.
    pub fn take<T>(&mut self, key: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<At<T>> {
        let value = self.value(key)?;
        read(&value).map(|read| value.at(read))
    }

    /// A field that must be there.
    pub fn require<T>(&mut self, key: &'static str, cure: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<At<T>> {
        self.expect(key, cure);
        self.take(key, read)
    }

    /// Notes that a field must be there. Whether it is missing is told at the end, when a slip of the keys has been recognised.
    pub fn expect(&mut self, key: &'static str, cure: &'static str) {
        if !self.has(key) {
            self.missing.push((key, cure));
        }
    }

    /// Whether a field is written, however it may be read.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|e| e.key == key)
    }

    /// Whether a field is written, or one that looks as if it were meant.
    pub fn means(&self, key: &str) -> bool {
        self.entries.iter().any(|e| nearest::nearest(&e.key, [key]).is_some())
    }

    /// To be called when all fields are taken: complains about the others, and about those that are missing. `false`: it did.
    pub fn finish(mut self) -> bool {
        let unknown: Vec<&Entry> = self.entries.iter().filter(|e| !self.known.contains(&e.key.as_str())).collect();
        for entry in &unknown {
            let near = nearest::nearest(&entry.key, self.known.iter().copied());
            self.missing.retain(|(key, _)| Some(*key) != near);
            self.reading.complain(self.unknown(entry));
        }
        for (key, cure) in &self.missing {
            let it = match self.place.line {
                0 => Complaint::of_file(Code::Missing, format!("`{key}` is missing")),
                _ => Complaint::error(Code::Missing, self.place, format!("{}: `{key}` is missing", self.name)),
            };
            self.reading.complain(it.cure(cure));
        }
        unknown.is_empty() && self.missing.is_empty()
    }

    fn unknown(&self, entry: &Entry) -> Complaint {
        let field = quoted(&entry.key);
        if self.later.contains(&entry.key.as_str()) {
            return Complaint::error(Code::UnknownField, entry.place, format!("{field} is not supported by this version"))
                .cure("take it out: what would have no effect is not accepted silently");
        }
        let hint = nearest::hint(&entry.key, self.known.iter().copied());
        Complaint::error(Code::UnknownField, entry.place, format!("unknown field {field}{hint}")).cure(format!(
            "{} takes: {}",
            self.name,
            self.known.join(", ")
        ))
    }
}

/// Names that mean something to the gateway itself, in the configuration or as a metric label.
const TAKEN: &[&str] = &[BY_TOKEN, "unmatched"];

/// Instead of an issuer's name: the one whose url is the token's `iss`.
pub const BY_TOKEN: &str = "by_token";

/// A map whose keys are names that the operator chose: reads each thing under its name.
pub fn named<'a, T>(value: &Value<'a>, kind: &str, mut read: impl FnMut(&Value<'a>, At<String>) -> Option<T>) -> Option<Vec<T>> {
    let Kind::Map(entries) = &value.node.kind else {
        return value.wrong_type("a map of names", format_args!("write `{kind}-name:` and its fields below it"));
    };
    if entries.is_empty() {
        return value.refuse(Code::Empty, format_args!("there is no {kind} in it"), "add one");
    }
    complain_of_twins(entries, value);
    let mut seen: HashSet<&str> = HashSet::new();
    let mut out = Vec::new();
    for entry in entries {
        if !seen.insert(&entry.key) {
            continue;
        }
        let name = At { value: entry.key.clone(), place: entry.place, key: entry.place };
        check_name(&name, kind, value.reading);
        let thing = Value { node: &entry.value, key: entry.place, name: Name::of(kind, &entry.key), reading: value.reading };
        out.extend(read(&thing, name));
    }
    Some(out)
}

fn check_name(name: &At<String>, kind: &str, reading: &Reading) {
    let text = name.value.as_str();
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = text.len() <= 63 && text.bytes().next().is_some_and(allowed) && text.bytes().all(|b| allowed(b) || b == b'_' || b == b'-');
    let complaint = if !good {
        Complaint::error(Code::Name, name.place, format!("{kind} {}: such a name is not allowed", quoted(text)))
            .cure("a name has a-z, 0-9, `_` and `-`, begins with a letter or a digit, and is 63 characters at the most")
    } else if TAKEN.contains(&text) {
        Complaint::error(Code::Name, name.place, format!("{kind} `{text}`: this name means something to the gateway itself"))
            .cure("choose another name")
    } else {
        return;
    };
    reading.complain(complaint);
}

/// Complains about keys that are written twice.
pub fn complain_of_twins(entries: &[Entry], value: &Value) {
    let mut first: HashMap<&str, Place> = HashMap::new();
    for entry in entries {
        match first.get(entry.key.as_str()) {
            None => drop(first.insert(&entry.key, entry.place)),
            Some(place) => {
                let message = format!("{} is written twice (first at {place})", quoted(&entry.key));
                value.reading.complain(Complaint::error(Code::Duplicate, entry.place, message).cure("take one of them out"));
            }
        }
    }
}
