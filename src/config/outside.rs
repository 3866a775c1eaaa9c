//! What a configuration points to outside itself: files and environment variables. Tests put their own in place of the machine's.
//! It reads and nothing else.

use std::io::{self, Read};
use std::path::Path;

pub trait Outside {
    /// The whole content of a file.
    ///
    /// # Errors
    /// When it cannot be read, or is larger than anything that is wanted here.
    fn file(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// `None`: not set.
    fn variable(&self, name: &str) -> Option<String>;
}

/// This machine.
pub struct Machine;

/// More than any configuration, secret or list of authorities needs; and the end of reading /dev/zero.
const LARGEST: u64 = 16 * 1024 * 1024;

impl Outside for Machine {
    fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ordinary_file_is_refused() {
        assert_eq!(Machine.file(Path::new("/")).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(Machine.file(Path::new("/no/such/file")).unwrap_err().kind(), io::ErrorKind::NotFound);
        #[cfg(target_os = "linux")]
        assert_eq!(Machine.file(Path::new("/dev/zero")).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
