//! How a token is asked for, and where a granted one came from. Nothing here says whose token or what for.

/// How fresh a token has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Any that is still good.
    Any,
    /// Newer than the one of this generation, which the asker knows to be no good. Soon after a forced exchange a cache may
    /// answer with what that one came to all the same: who asks compares generations.
    NewerThan(u64),
    /// Newer than anything that was asked for before; a forced exchange that is under way will do.
    Forced,
}

/// Whether somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Urgency {
    /// A caller does.
    #[default]
    Caller,
    /// Nobody does, the present token is still good: it is made now or not at all, and never before a caller's.
    Renewal,
}

/// What is asked of a [`TokenSource`], besides whose token and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub freshness: Freshness,
    pub urgency: Urgency,
}

impl Ask {
    /// As most requests ask: any token that is good, and a caller waits for it.
    pub const ANY: Self = Self { freshness: Freshness::Any, urgency: Urgency::Caller };
}

impl From<Freshness> for Ask {
    fn from(freshness: Freshness) -> Self {
        Self { freshness, urgency: Urgency::Caller }
    }
}

/// Where a granted token came from; the values of the label `result` and `token_source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the cache, at once.
    Hit,
    /// From the cache, at once; this request has had its renewal begun.
    Refresh,
    /// Another caller's exchange was waited for.
    Coalesced,
    /// Exchanged for this caller.
    Miss,
    /// Exchanged because somebody asked for a newer one than was held.
    Forced,
}

impl Source {
    pub const ALL: [Source; 5] = [Source::Hit, Source::Refresh, Source::Coalesced, Source::Miss, Source::Forced];

    pub fn label(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Refresh => "refresh",
            Self::Coalesced => "coalesced",
            Self::Miss => "miss",
            Self::Forced => "forced",
        }
    }

    /// Whether the token was at hand, so that it may have become bad since it was issued.
    pub fn cached(self) -> bool {
        matches!(self, Self::Hit | Self::Refresh)
    }
}
