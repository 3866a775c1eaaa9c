//! What reading a configuration carries along: the complaints so far and the world outside; and a value under its name, which
//! knows how to be taken as text, a number, a list or a section. It stops at nothing: whoever is refused complains and goes on.

use super::complaint::{Code, Complaint, quoted};
use super::outside::Outside;
use super::place::{At, Place};
use super::section::Section;
use super::tree::{Kind, Node};
use std::cell::RefCell;
use std::fmt::{self, Display};

pub struct Reading<'a> {
    complaints: RefCell<Vec<Complaint>>,
    pub outside: &'a dyn Outside,
}

impl<'a> Reading<'a> {
    pub fn new(outside: &'a dyn Outside) -> Self {
        Self { complaints: RefCell::default(), outside }
    }

    pub fn complain(&self, complaint: Complaint) {
        self.complaints.borrow_mut().push(complaint);
    }

    pub fn has_errors(&self) -> bool {
        self.complaints.borrow().iter().any(Complaint::is_error)
    }

    pub fn into_complaints(self) -> Vec<Complaint> {
        self.complaints.into_inner()
    }
}

/// What a value is called in messages: "route `orders`: `timeouts.connect`".
#[derive(Clone, Default)]
pub struct Name {
    subject: String,
    field: String,
}

impl Name {
    /// A thing with a name of its own: "route `orders`".
    pub fn of(kind: &str, name: &str) -> Self {
        Self { subject: format!("{kind} `{name}`"), field: String::new() }
    }

    pub fn field(&self, key: &str) -> Self {
        let field = if self.field.is_empty() { key.to_owned() } else { format!("{}.{key}", self.field) };
        Self { subject: self.subject.clone(), field }
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.subject.is_empty(), self.field.is_empty()) {
            (true, true) => f.write_str("the configuration"),
            (true, false) => write!(f, "`{}`", self.field),
            (false, true) => f.write_str(&self.subject),
            (false, false) => write!(f, "{}: `{}`", self.subject, self.field),
        }
    }
}

/// A value, its name, and where its key stands.
#[derive(Clone)]
pub struct Value<'a> {
    pub node: &'a Node,
    pub key: Place,
    pub name: Name,
    pub reading: &'a Reading<'a>,
}

impl<'a> Value<'a> {
    /// Where to point: the value, or its key where there is no value to point at.
    pub fn place(&self) -> Place {
        match self.node.kind {
            Kind::Nothing if self.node.place.width == 0 => self.key,
            _ => self.node.place,
        }
    }

    pub fn at<T>(&self, value: T) -> At<T> {
        At { value, place: self.place(), key: self.key }
    }

    /// Complains about this value; `None`, to be returned.
    pub fn refuse<T>(&self, code: Code, what: impl Display, cure: impl Display) -> Option<T> {
        self.reading.complain(Complaint::error(code, self.place(), format!("{}: {what}", self.name)).cure(cure));
        None
    }

    pub fn warn(&self, code: Code, what: impl Display, cure: impl Display) {
        self.reading.complain(Complaint::warning(code, self.place(), format!("{}: {what}", self.name)).cure(cure));
    }

    pub fn wrong_type<T>(&self, wanted: &str, cure: impl Display) -> Option<T> {
        let found = match &self.node.kind {
            Kind::Nothing => "nothing",
            Kind::Scalar { plain: true, .. } => "a single value",
            Kind::Scalar { plain: false, .. } => "quoted text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        };
        self.refuse(Code::WrongType, format_args!("{wanted} is wanted here, and {found} was found"), cure)
    }

    /// A scalar as it is written, `8080` and `true` too.
    pub fn scalar(&self) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// A scalar that is not quoted.
    pub fn plain(&self) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }

    /// Text with something in it.
    pub fn text(&self) -> Option<String> {
        match self.scalar() {
            None => self.wrong_type("text", "write one value"),
            Some(text) if text.trim().is_empty() => {
                self.refuse(Code::Empty, "nothing is written here", "write a value, or leave the key out")
            }
            Some(text) if text.chars().any(char::is_control) => self.refuse(
                Code::Impossible,
                "there is a line break or another control character in it",
                "write it on one line, without escapes",
            ),
            Some(text) => Some(text.to_owned()),
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.plain() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some("yes" | "on" | "True" | "TRUE" | "Yes" | "On") => self.wrong_type("true or false", "write `true`"),
            Some("no" | "off" | "False" | "FALSE" | "No" | "Off") => self.wrong_type("true or false", "write `false`"),
            _ => self.wrong_type("true or false", "write `true` or `false`, without quotes"),
        }
    }

    /// A whole number from `least` to `most`.
    pub fn count(&self, least: usize, most: usize) -> Option<usize> {
        let Some(text) = self.plain() else { return self.wrong_type("a whole number", "write digits, without quotes") };
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return self.refuse(Code::Quantity, format_args!("{} is no whole number", quoted(text)), "write digits only, as in `1000`");
        }
        match text.parse() {
            Ok(n) if (least..=most).contains(&n) => Some(n),
            _ => {
                self.refuse(Code::Range, format_args!("{text} makes no sense here"), format_args!("choose a number from {least} to {most}"))
            }
        }
    }

    /// One of a closed set of words; `later` are those that a later version will know.
    pub fn choice<T: Copy>(&self, known: &[(&str, T)], later: &[&str]) -> Option<T> {
        let words = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        let have = format!("one of: {}", words().join(", "));
        let Some(text) = self.scalar() else { return self.wrong_type("a word", have) };
        if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        if later.contains(&text) {
            return self.refuse(Code::Choice, format_args!("{} is not supported by this version", quoted(text)), have);
        }
        let hint = super::nearest::hint(text, words());
        self.refuse(Code::Choice, format_args!("{} is not known here{hint}", quoted(text)), have)
    }

    /// A list of at least one thing, none of them twice.
    pub fn list<T: PartialEq>(&self, read: impl Fn(&Self) -> Option<T>) -> Option<Vec<At<T>>> {
        let Kind::List(nodes) = &self.node.kind else { return self.wrong_type("a list", "write it in brackets, as in `[a, b]`") };
        if nodes.is_empty() {
            return self.refuse(Code::Empty, "the list is empty", "put something into it, or leave the key out");
        }
        let mut out: Vec<At<T>> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let item = Value { node, ..self.clone() };
            let Some(value) = read(&item) else { continue };
            if let Some(first) = out.iter().find(|seen| seen.value == value) {
                let it = Complaint::error(Code::Repeated, item.place(), format!("{}: listed twice (first at {})", self.name, first.place));
                self.reading.complain(it.cure("take one of them out"));
                continue;
            }
            out.push(item.at(value));
        }
        Some(out)
    }

    /// One thing, or a list of them.
    pub fn one_or_more<T: PartialEq>(&self, read: impl Fn(&Self) -> Option<T>) -> Option<Vec<At<T>>> {
        match self.node.kind {
            Kind::List(_) => self.list(read),
            _ => read(self).map(|value| vec![self.at(value)]),
        }
    }

    /// A map of fields.
    pub fn section(&self, later: &'static [&'static str]) -> Option<Section<'a>> {
        match &self.node.kind {
            Kind::Map(entries) => Some(Section::new(entries, self, later)),
            _ => self.wrong_type("a map of fields", "indent the fields below, or write `{ field: value }`"),
        }
    }
}
