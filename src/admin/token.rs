//! The admin token, and whether it was shown. What came from a file is read again whenever it is asked for, so that a new one
//! counts at once; a file that has become useless leaves the last good token in use. It is never printed.

use crate::issuer::{Credential, secret_in};
use crate::token::{Secret, SubjectToken};
use http::{HeaderMap, header};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// More than a token needs; and the end of reading /dev/zero.
const LARGEST: u64 = 64 * 1024;

pub(super) enum Token {
    Given(Secret),
    File(Arc<Kept>),
}

/// The last good token of a file.
pub(super) struct Kept {
    file: PathBuf,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    good: Option<Secret>,
    /// Why the file was of no use when it was last read, which was told then.
    trouble: Option<String>,
}

/// What a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Right,
    Wrong,
    Nothing,
    /// There has never been one to compare it with.
    Unreadable,
}

impl Token {
    pub(super) fn new(credential: Credential) -> Self {
        match credential {
            Credential::Given(secret) => Self::Given(secret),
            Credential::File(file) => Self::File(Arc::new(Kept { file, last: Mutex::default() })),
        }
    }

    pub(super) async fn shown(&self, headers: &HeaderMap) -> Shown {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(only), None) = (all.next(), all.next()) else { return Shown::Nothing };
        let Ok(Some(shown)) = SubjectToken::from_authorization(only) else { return Shown::Nothing };
        let secret = match self {
            Self::Given(secret) => Some(secret.clone()),
            Self::File(kept) => {
                let kept = kept.clone();
                // It may have to wait for a disk. It fails only with the runtime.
                tokio::task::spawn_blocking(move || kept.now()).await.ok().flatten()
            }
        };
        match secret {
            None => Shown::Unreadable,
            Some(secret) if secret.is(shown.expose().as_bytes()) => Shown::Right,
            Some(_) => Shown::Wrong,
        }
    }
}

impl Kept {
    fn now(&self) -> Option<Secret> {
        let read = read(&self.file);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(secret) => {
                if last.good.as_ref().is_some_and(|good| !good.is(secret.expose().as_bytes())) {
                    tracing::info!("admin.token has changed, and is used as it is now");
                }
                *last = Last { good: Some(secret), trouble: None };
            }
            Err(cause) if last.trouble.as_ref() != Some(&cause) => {
                let cure = "put a good file in its place; it is read again whenever somebody shows a token";
                tracing::warn!(cause, cure, "admin.token cannot be used: what was there before, if anything, stays in use");
                last.trouble = Some(cause);
            }
            Err(_) => {}
        }
        last.good.clone()
    }
}

fn read(file: &Path) -> Result<Secret, String> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let file = File::open(file).map_err(|e| e.to_string())?;
    file.take(LARGEST).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    secret_in(&bytes).map_err(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(token: &Token, authorization: &[&str]) -> Shown {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        token.shown(&headers).await
    }

    #[tokio::test]
    async fn a_file_is_read_again_and_what_was_good_outlives_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let token = Token::new(Credential::File(file.clone()));
        assert_eq!(shown(&token, &["Bearer one"]).await, Shown::Unreadable);
        std::fs::write(&file, "one\n").unwrap();
        assert_eq!(shown(&token, &["Bearer one"]).await, Shown::Right);
        std::fs::write(&file, "two").unwrap();
        assert_eq!((shown(&token, &["bearer two"]).await, shown(&token, &["Bearer one"]).await), (Shown::Right, Shown::Wrong));
        for useless in ["", "two\nlines"] {
            std::fs::write(&file, useless).unwrap();
            assert_eq!((shown(&token, &["Bearer two"]).await, shown(&token, &["Bearer x"]).await), (Shown::Right, Shown::Wrong));
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(shown(&token, &["Bearer two"]).await, Shown::Right);
    }

    #[tokio::test]
    async fn it_is_shown_once_and_whole() {
        let token = Token::new(Credential::Given(Secret::new("one")));
        assert_eq!(shown(&token, &["Bearer one"]).await, Shown::Right);
        for nothing in [&[][..], &["Bearer one", "Bearer one"], &["Basic b25l"], &["one"], &["Bearer"], &["Bearer "], &["Bearer o ne"]] {
            assert_eq!(shown(&token, nothing).await, Shown::Nothing, "{nothing:?}");
        }
        for wrong in ["Bearer on", "Bearer onee", "Bearer One"] {
            assert_eq!(shown(&token, &[wrong]).await, Shown::Wrong, "{wrong}");
        }
    }
}
