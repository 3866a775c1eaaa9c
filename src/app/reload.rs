//! A configuration file that changes while the gateway runs: looked at every few seconds, and when somebody asks. What is good is
//! put in force; what is not changes nothing, and is told in the log, the metrics and the status. It never reads half a file twice.

use super::changes::Changes;
use super::lasting::Lasting;
use super::standing::Failed;
use crate::clock::millis;
use crate::config::{self, Loaded, Report};
use crate::token::Digest;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Mutex;

/// How often the file is looked at. Its content is compared: a ConfigMap's file is a link to a folder that is swapped.
const EVERY: Duration = Duration::from_secs(2);
/// How often one that could not be used is tried again: what was missing (a secret, a port) may have come.
const AGAIN: Duration = Duration::from_secs(10);
/// A file that has just changed is read once more after this, until it holds still: half a file may look like a whole one.
const STILL: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(250);

/// What an attempt came to.
#[derive(Debug)]
pub enum Reloaded {
    /// What is written is what was in force already.
    Same,
    /// It is in force now.
    Changed(Box<Changes>),
    /// Nothing has changed, and why.
    Refused(Vec<String>),
}

/// The file of a running gateway.
pub(super) struct Source {
    path: PathBuf,
    tried: Mutex<Tried>,
}

struct Tried {
    text: Digest,
    at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Somebody wants it now.
    Now,
    /// It is time to look.
    Looking,
}

impl Source {
    /// `text` is what is in force.
    pub fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), tried: Mutex::new(Tried { text: Digest::of(text.as_bytes()), at: 0 }) }
    }

    async fn look(&self, lasting: &Lasting, asked: Asked) -> Reloaded {
        let mut tried = self.tried.lock().await;
        let now = lasting.rooms.clock.millis();
        let text = match self.text(asked, &tried.text).await {
            Ok(text) => text,
            Err(report) => return refused(lasting, asked, of(&report)),
        };
        let digest = Digest::of(text.as_bytes());
        let settled = !lasting.standing.has_failed() || now.saturating_sub(tried.at) < millis(AGAIN);
        if digest == tried.text && asked == Asked::Looking && settled {
            return Reloaded::Same;
        }
        *tried = Tried { text: digest, at: now };
        let name = self.path.display().to_string();
        // It reads secrets, and takes its time where there are many routes.
        let read = tokio::task::spawn_blocking(move || config::read(&text, &name)).await;
        let loaded = match read {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(report)) => return refused(lasting, asked, of(&report)),
            Err(_) => return refused(lasting, asked, vec![words("this is a bug: reading the configuration was broken off".to_owned())]),
        };
        let Loaded { config, warnings, file: _ } = loaded;
        match lasting.apply(config).await {
            Ok(changes) => {
                if !changes.is_empty() {
                    warn(&warnings);
                }
                in_force(lasting, asked, changes)
            }
            Err(error) => refused(lasting, asked, vec![words(format!("{error:#}"))]),
        }
    }

    /// The file's text. Where nobody says that it is whole, one that differs from `known` has to hold still.
    async fn text(&self, asked: Asked, known: &Digest) -> Result<String, Report> {
        let mut text = self.read().await;
        while asked == Asked::Looking && text.as_ref().map_or(true, |text| Digest::of(text.as_bytes()) != *known) {
            tokio::time::sleep(STILL).await;
            let again = self.read().await;
            if again == text {
                break;
            }
            text = again;
        }
        text
    }

    async fn read(&self) -> Result<String, Report> {
        let path = self.path.clone();
        let lost = || Report { file: self.path.display().to_string(), complaints: Vec::new() };
        tokio::task::spawn_blocking(move || config::text(&path)).await.unwrap_or_else(|_| Err(lost()))
    }
}

/// Looks now, because somebody asks. `None`: there is no file.
pub(super) async fn now(lasting: &Arc<Lasting>) -> Option<Reloaded> {
    let (source, this) = (lasting.source.get()?.clone(), lasting.clone());
    // A task of its own: what has begun goes to its end, whoever stops waiting.
    lasting.rooms.control.spawn(async move { source.look(&this, Asked::Now).await }).await.ok()
}

/// Looks again and again for as long as the gateway runs.
pub(super) async fn watch(source: Arc<Source>, lasting: Weak<Lasting>) {
    loop {
        let Some(clock) = lasting.upgrade().map(|lasting| lasting.rooms.clock.clone()) else { return };
        let next = clock.millis() + millis(EVERY);
        while clock.millis() < next {
            tokio::time::sleep(LOOK).await;
        }
        let Some(lasting) = lasting.upgrade() else { return };
        source.look(&lasting, Asked::Looking).await;
    }
}

fn in_force(lasting: &Lasting, asked: Asked, changes: Changes) -> Reloaded {
    let recovered = lasting.standing.has_failed();
    lasting.standing.succeeded(!changes.is_empty(), lasting.rooms.clock.unix());
    for key in &changes.ignored {
        tracing::warn!(
            key,
            cure = "restart the gateway",
            "this key of the configuration counts from the next start on; all else is in force"
        );
    }
    if changes.is_empty() {
        if asked == Asked::Now || recovered {
            tracing::info!("the configuration was read again: it is the one in force");
        }
        return Reloaded::Same;
    }
    tracing::info!(changes = %changes, "another configuration is in force");
    Reloaded::Changed(Box::new(changes))
}

fn refused(lasting: &Lasting, asked: Asked, failed: Vec<Failed>) -> Reloaded {
    let said = failed.iter().map(Failed::words).collect();
    let news = lasting.standing.failed(failed.clone(), lasting.rooms.clock.unix());
    if news || asked == Asked::Now {
        for Failed { code, place, cause, cure } in &failed {
            let (code, place, cure) = (code.unwrap_or("-"), place.as_deref().unwrap_or("-"), cure.as_deref().unwrap_or("-"));
            tracing::error!(code, place, cure, "{cause}");
        }
        tracing::error!(errors = failed.len(), "the configuration that is written cannot be used; the one before stays in force");
    }
    Reloaded::Refused(said)
}

fn warn(warnings: &[config::Complaint]) {
    for warning in warnings {
        tracing::warn!(code = warning.code.as_str(), cure = warning.cure.as_deref().unwrap_or("-"), "{}", warning.message);
    }
}

fn of(report: &Report) -> Vec<Failed> {
    report.complaints.iter().filter(|complaint| complaint.is_error()).map(Failed::from).collect()
}

fn words(cause: String) -> Failed {
    Failed { code: None, place: None, cause, cure: None }
}
