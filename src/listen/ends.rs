//! How a connection comes to its end: what is asked of its driver, and what becomes of its socket. It ends none.

/// What is to become of the connection; what has been asked for is never taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(super) enum Asked {
    Nothing,
    /// End it with the answers that are owed.
    Close,
    /// End it now.
    Cut,
}

/// How the socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Farewell {
    Close,
    /// Without one, a body that ends with the connection would look whole.
    Reset,
    /// All is said, and the caller may still be sending.
    Linger,
    /// The refusal of the last head is still to be said.
    Refuse,
}
