//! What is said to the operator: every complaint, with its place, the offending line alone, and the cure. It decides nothing, and
//! has no secrets to show: lines come to it blanked.

use super::complaint::{Complaint, Severity};
use std::fmt::{self, Write};

/// All that is wrong with one file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub file: String,
    pub complaints: Vec<Complaint>,
}

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Report {
    /// All complaints as text, for a terminal that knows colours or for one that does not.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for (i, complaint) in self.complaints.iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            // Writing to a String cannot fail.
            let _ = render(&mut out, &self.file, complaint, color);
        }
        out
    }

    pub fn errors(&self) -> usize {
        self.complaints.iter().filter(|c| c.is_error()).count()
    }

    pub fn warnings(&self) -> usize {
        self.complaints.len() - self.errors()
    }
}

fn render(out: &mut String, file: &str, complaint: &Complaint, color: bool) -> fmt::Result {
    let Complaint { code, severity, place, message, cure, excerpt } = complaint;
    let (label, hue) = match severity {
        Severity::Error => ("error", "1;31"),
        Severity::Warning => ("warn ", "1;33"),
    };
    let paint = |text: &str, hue: &str| if color { format!("\x1b[{hue}m{text}\x1b[0m") } else { text.to_owned() };
    let at = place.map(|p| format!(":{p}")).unwrap_or_default();
    writeln!(out, "{} {file}{at}  {}", paint(&format!("{label}[{code}]"), hue), paint(message, "1"))?;
    if let (Some(place), Some(excerpt)) = (place, excerpt) {
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        let caret = format!("{}{}", " ".repeat(excerpt.caret), paint(&"^".repeat(excerpt.width), hue));
        writeln!(out, "  {} {}", paint(&format!("{number} |"), "34"), excerpt.line)?;
        writeln!(out, "  {} {caret}", paint(&format!("{gutter} |"), "34"))?;
    }
    if let Some(cure) = cure {
        writeln!(out, "  {} {cure}", paint("cure:", "36"))?;
    }
    Ok(())
}
