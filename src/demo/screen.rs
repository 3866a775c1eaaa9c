//! What the demo prints: the tour on one screen, and the line to try next. Every word comes from what was measured or answered,
//! and what others have written cannot steer the terminal.

use super::ports::Ports;
use super::tour::{HITS, Report, Scene, Step, text};
use anstream::adapter::strip_bytes;
use anstream::{AutoStream, ColorChoice};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Writes the tour; in colours where stdout is a terminal and nobody has said `NO_COLOR`.
pub(super) fn show(out: &mut dyn Write, scene: &Scene, report: &Report) -> io::Result<()> {
    let mut screen = Vec::new();
    draw(&mut screen, scene, report)?;
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => out.write_all(&strip_bytes(&screen).into_vec()),
        _ => out.write_all(&screen),
    }
}

/// A line that works when it is pasted into a shell, here and now.
pub(super) fn curl(ports: &Ports) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let exe = std::env::current_exe().unwrap_or_else(|_| "cambist".into());
    let cambist = command(&exe, &here);
    let port = if ports.gateway == Ports::BASE { String::new() } else { format!(" --port {}", ports.gateway) };
    format!("curl -H \"Authorization: Bearer $({cambist} demo token{port})\" http://127.0.0.1:{}/orders", ports.gateway)
}

/// The same as data.
pub(super) fn json(scene: &Scene, report: &Report) -> Value {
    let Ports { gateway, metrics, admin, .. } = scene.ports;
    let claims = |all: &Map<String, Value>| ["aud", "azp", "sub"].map(|name| (name.to_owned(), all.get(name).cloned().unwrap_or_default()));
    let step = |step: &Step| json!({ "method": "GET", "path": step.path, "status": step.status, "took_us": step.took.as_micros() });
    json!({
        "ok": report.complaints.is_empty(),
        "complaints": report.complaints,
        "iam": scene.iam.url(),
        "gateway": format!("http://127.0.0.1:{gateway}"),
        "status": format!("http://127.0.0.1:{admin}/"),
        "metrics": format!("http://127.0.0.1:{metrics}/metrics"),
        "incoming": Map::from_iter(claims(&report.incoming)),
        "upstream": Map::from_iter(claims(&report.upstream)),
        "exchanged": step(&report.exchanged),
        "from_cache": step(&report.cached),
        "refused": step(&report.refused),
        "issuer_words": report.words,
        "cure": report.why.cure,
        "docs": "docs/errors.md#target_refused",
    })
}

fn draw(out: &mut dyn Write, scene: &Scene, report: &Report) -> io::Result<()> {
    let Ports { gateway, metrics, admin, .. } = scene.ports;
    let (incoming, upstream) = (&report.incoming, &report.upstream);
    writeln!(out, "IAM {BOLD}{}{PLAIN}    gateway {BOLD}http://127.0.0.1:{gateway}{PLAIN}\n", scene.iam.url())?;
    writeln!(out, "        {:<12}sent upstream", "incoming")?;
    for claim in ["aud", "azp", "sub"] {
        writeln!(out, "  {claim}   {:<12}{}", text(incoming, claim), text(upstream, claim))?;
    }
    writeln!(out)?;
    step(out, &report.exchanged, &format!("exchanged, {}    backend saw aud={}", short(report.exchanged.took), text(upstream, "aud")))?;
    step(out, &report.cached, &format!("from cache, {} (median of {HITS})", short(report.cached.took)))?;
    step(out, &report.refused, &format!("IAM: {}", printable(&report.words)))?;
    if let Some(cure) = &report.why.cure {
        writeln!(out, "{:18}fix: {}", "", printable(cure))?;
    }
    writeln!(out, "{:18}see docs/errors.md#target_refused\n", "")?;
    writeln!(out, "status  http://127.0.0.1:{admin}/\nmetrics http://127.0.0.1:{metrics}/metrics")
}

/// How the shell finds `exe` from `here`: relative where it lies below, quoted where it must be.
fn command(exe: &Path, here: &Path) -> String {
    let path = match exe.strip_prefix(here) {
        Ok(below) => format!("./{}", below.display()),
        Err(_) => exe.display().to_string(),
    };
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn step(out: &mut dyn Write, step: &Step, what: &str) -> io::Result<()> {
    let color = if step.status < 400 { GREEN } else { RED };
    writeln!(out, "GET {:<9} {color}{}{PLAIN}  {what}", step.path, step.status)
}

fn short(took: Duration) -> String {
    let micros = took.as_micros();
    if micros < 1000 { format!("{micros} µs") } else { format!("{}.{} ms", micros / 1000, micros / 100 % 10) }
}

/// Without what could steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted() {
        let at = |exe: &str| command(Path::new(exe), Path::new("/src/cambist"));
        assert_eq!(at("/src/cambist/target/release/cambist"), "./target/release/cambist");
        assert_eq!(at("/usr/local/bin/cambist"), "/usr/local/bin/cambist");
        assert_eq!(at("/my dir/o'neil/cambist"), r"'/my dir/o'\''neil/cambist'");
        assert!(curl(&Ports::default()).ends_with(" demo token)\" http://127.0.0.1:4800/orders"));
        assert!(curl(&Ports::from_base(5800)).ends_with(" demo token --port 5800)\" http://127.0.0.1:5800/orders"));
    }

    #[test]
    fn times_are_short() {
        assert_eq!(short(Duration::from_micros(213)), "213 µs");
        assert_eq!(short(Duration::from_micros(6_249)), "6.2 ms");
    }
}
