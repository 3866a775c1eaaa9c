//! YAML as a tree in which every key and value knows where it stands: what the sections are read from. It is the one place that
//! sees the YAML crate, refuses aliases that expand without end, and gives no meaning to anything.

use super::complaint::{Code, Complaint};
use super::place::Place;
use super::reading::Reading;
use serde_yaml::granit_parser::{self as yaml, Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;

#[derive(Clone, Debug)]
pub struct Node {
    /// Where it is used: for an alias, where the alias stands.
    pub place: Place,
    /// Where its text is written.
    pub written: Place,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Nothing,
    /// `plain`: without quotes, so that it may also be a number or a boolean.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// Keys may occur twice here; whoever reads the map complains about it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

/// A document, and what was left out of it: not to be read, but it may hold secrets too.
pub struct Tree {
    pub root: Node,
    pub dropped: Vec<Entry>,
}

/// How deep maps and lists may be nested, aliases expanded.
const DEPTH: usize = 32;
/// How much aliases may add to what was written, in nodes and bytes together.
const EXPANSION: usize = 256 * 1024;

/// Reads the one document of `text`. `None`: there is none to go on with, and a complaint says why.
pub fn parse(text: &str, reading: &Reading) -> Option<Tree> {
    let options = yaml::options! { emit_comments: false, disallow_directives: true, block_nesting_limit: DEPTH, flow_nesting_limit: DEPTH };
    let mut builder = Builder { reading, anchors: HashMap::new(), open: Vec::new(), root: None, dropped: Vec::new(), expanded: 0 };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents > 1 {
                    let it = Complaint::error(Code::Document, place(span), "a second document begins here");
                    reading.complain(it.cure("one file holds one configuration: take out the `---`"));
                    return None;
                }
            }
            Ok((event, span)) => builder.take(event, place(span), span.start.line() != span.end.line())?,
            Err(error) => {
                let at = *error.marker();
                let it = Complaint::error(Code::Syntax, place(Span::new(at, at)), format!("this is no YAML: {}", error.kind()));
                reading.complain(it.cure("look at the indentation, quotes and brackets here and just above"));
                return None;
            }
        }
    }
    match builder.root {
        Some(Node { kind: Kind::Nothing, .. }) | None => {
            let it = Complaint::of_file(Code::Document, "the file is empty");
            reading.complain(it.cure("at least `issuers` and `routes` must be there; see config/minimal.yaml"));
            None
        }
        Some(root) => Some(Tree { root, dropped: builder.dropped }),
    }
}

fn place(span: Span) -> Place {
    let (from, to) = (span.start, span.end);
    let width = if from.line() == to.line() { to.col().saturating_sub(from.col()) } else { 1 };
    let start = from.byte_offset().unwrap_or_default();
    Place { line: from.line(), column: from.col() + 1, width, start, end: to.byte_offset().unwrap_or(start) }
}

struct Builder<'a> {
    reading: &'a Reading<'a>,
    /// `None`: begun, and not yet at its end.
    anchors: HashMap<usize, Option<Node>>,
    open: Vec<Open>,
    root: Option<Node>,
    dropped: Vec<Entry>,
    expanded: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<Node>),
}

impl Builder<'_> {
    /// `None`: it makes no sense to go on.
    fn take(&mut self, event: Event<'_>, place: Place, several_lines: bool) -> Option<()> {
        if let Event::Scalar(.., Some(_)) | Event::SequenceStart(.., Some(_)) | Event::MappingStart(.., Some(_)) = &event {
            let it = Complaint::error(Code::Exotic, place, "a YAML tag (`!…`) has no meaning here");
            self.reading.complain(it.cure("take the tag out"));
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                if style == ScalarStyle::Folded || (style != ScalarStyle::Literal && several_lines) {
                    let it = Complaint::error(Code::Exotic, place, "this value goes on over several lines");
                    self.reading
                        .complain(it.cure("put it on one line; a quote that is not closed, or a wrong indentation, looks like this too"));
                }
                let plain = style == ScalarStyle::Plain;
                let nothing = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if nothing { Kind::Nothing } else { Kind::Scalar { text: text.into_owned(), plain } };
                self.put(Node { place, written: place, kind }, anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.begin(place, anchor, Inside::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.begin(place, anchor, Inside::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { place: start, anchor, inside } = self.open.pop()?;
                let kind = match inside {
                    Inside::List(nodes) => Kind::List(nodes),
                    Inside::Map(entries, _) => Kind::Map(self.merged(entries)),
                };
                let whole = Place { end: place.end.max(start.end), ..start };
                self.put(Node { place: start, written: whole, kind }, anchor);
            }
            Event::Alias(id) => {
                let node = self.resolve(id, place)?;
                self.put(Node { place, ..node }, 0);
            }
            _ => {}
        }
        Some(())
    }

    fn begin(&mut self, place: Place, anchor: usize, inside: Inside) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { place, anchor, inside });
    }

    fn put(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(node),
            Some(Inside::List(nodes)) => nodes.push(node),
            Some(Inside::Map(entries, waiting)) => match waiting.take() {
                None => *waiting = Some(node),
                Some(key) => match key.kind {
                    Kind::Scalar { text, .. } if !text.contains('\n') => entries.push(Entry { key: text, place: key.written, value: node }),
                    _ => {
                        let it = Complaint::error(Code::Exotic, key.place, "a key must be a word");
                        self.reading.complain(it.cure("quote it if it is meant to be text"));
                        let drop = |value: Node| Entry { key: String::new(), place: key.written, value };
                        self.dropped.extend([key.clone(), node].map(drop));
                    }
                },
            },
        }
    }

    fn resolve(&mut self, id: usize, place: Place) -> Option<Node> {
        let refuse = |why: &str| {
            let it = Complaint::error(Code::Alias, place, why);
            self.reading.complain(it.cure("write out what the alias stands for"));
            None
        };
        let Some(Some(node)) = self.anchors.get(&id) else { return refuse("this alias stands for something that contains it") };
        if self.open.len() + depth(node) > DEPTH {
            return refuse("aliases nest too deep here");
        }
        if self.expanded + weight(node) > EXPANSION {
            return refuse("aliases expand to far more than was written");
        }
        self.expanded += weight(node);
        Some(node.clone())
    }

    /// `<<: *base` and `<<: [*a, *b]`: what the map itself says wins, then the first that is merged.
    fn merged(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| e.key == "<<");
        for merge in merges {
            let at = merge.value.place;
            let sources = match merge.value.kind {
                Kind::List(nodes) => nodes,
                kind => vec![Node { kind, ..merge.value }],
            };
            for source in sources {
                let Kind::Map(theirs) = source.kind else {
                    let it = Complaint::error(Code::WrongType, at, "`<<` merges maps only");
                    self.reading.complain(it.cure("put an alias of a map here"));
                    self.dropped.push(Entry { key: String::new(), place: at, value: source });
                    continue;
                };
                for entry in theirs {
                    let overridden = own.iter().any(|e| e.key == entry.key);
                    if overridden { self.dropped.push(entry) } else { own.push(entry) }
                }
            }
        }
        own
    }
}

fn depth(node: &Node) -> usize {
    match &node.kind {
        Kind::Nothing | Kind::Scalar { .. } => 0,
        Kind::List(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
        Kind::Map(entries) => 1 + entries.iter().map(|e| depth(&e.value)).max().unwrap_or(0),
    }
}

fn weight(node: &Node) -> usize {
    match &node.kind {
        Kind::Nothing => 1,
        Kind::Scalar { text, .. } => 1 + text.len(),
        Kind::List(nodes) => 1 + nodes.iter().map(weight).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|e| e.key.len() + weight(&e.value)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::outside::Machine;
    use super::*;

    fn parsed(text: &str) -> (Option<Tree>, Vec<Code>) {
        let reading = Reading::new(&Machine);
        let tree = parse(text, &reading);
        (tree, reading.into_complaints().iter().map(|c| c.code).collect())
    }

    #[test]
    fn merged_maps_lose_to_what_is_written() {
        let (tree, codes) = parsed("a: &a { x: 1, y: 1 }\nb: &b { y: 2, z: 2 }\nc: { <<: [*a, *b], x: 3 }\n");
        let Kind::Map(entries) = tree.unwrap().root.kind else { panic!() };
        let Kind::Map(merged) = &entries[2].value.kind else { panic!() };
        let values =
            merged.iter().map(|e| (e.key.as_str(), matches!(&e.value.kind, Kind::Scalar { text, .. } if text == "3" || text == "1")));
        assert_eq!(values.collect::<Vec<_>>(), [("x", true), ("y", true), ("z", false)]);
        assert_eq!(codes, []);
    }

    #[test]
    fn bombs_and_endless_depth_are_refused() {
        let doubling = (1..40).map(|i| format!("k{i}: &k{i} [*k{0}, *k{0}]\n", i - 1)).collect::<String>();
        assert_eq!(parsed(&format!("k0: &k0 [x, x]\n{doubling}")).1, [Code::Alias]);
        let deepening = (1..5000).map(|i| format!("k{i}: &k{i} [*k{}]\n", i - 1)).collect::<String>();
        assert_eq!(parsed(&format!("k0: &k0 [x]\n{deepening}")).1, [Code::Alias]);
        assert_eq!(parsed(&"[".repeat(100_000)).1, [Code::Syntax]);
        assert_eq!(parsed(&"- ".repeat(100_000)).1, [Code::Syntax]);
    }

    #[test]
    fn places_count_characters_and_know_bytes() {
        let Kind::Map(entries) = parsed("\u{e9}: [\u{e9}, x]\n").0.unwrap().root.kind else { panic!() };
        let Kind::List(nodes) = &entries[0].value.kind else { panic!() };
        assert_eq!(nodes[1].place, Place { line: 1, column: 8, width: 1, start: 9, end: 10 });
    }
}
