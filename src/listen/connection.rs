//! One caller's connection as the tick sees it: stamps that its socket and its answers leave, and what is to become of it. It
//! has no timer and does no I/O; the driver does what it asks for.

use super::blocks::Begun;
use super::ends::{Asked, Farewell};
use super::pace::{Pace, Upload};
use super::replies::Replies;
use super::shop::{Desk, Gate};
use super::switch::Tunnel;
use crate::clock::Ticked;
use futures_util::task::AtomicWaker;
use http::{HeaderMap, Version};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// No head is awaited: none has begun, or the last one is complete.
const NONE: u64 = u64::MAX;

/// How long a drain waits for the first byte of a connection that was accepted just before, in milliseconds.
const FIRST_BYTE: u64 = 1000;

/// So many requests of a connection may be taken back, and then no more than half of them.
const TAKEN_BACK: usize = 500;

/// How long an HTTP/2 peer has to take its leave after GOAWAY, in milliseconds.
const LEAVE: u64 = 1000;

pub struct Connection {
    desk: Arc<Desk>,
    gate: Arc<Gate>,
    /// When it was accepted or, under TLS, when the handshake was over.
    opened_at: AtomicU64,
    /// Requests whose answer is not out yet.
    in_flight: AtomicUsize,
    /// Since when a head is awaited or on its way.
    head_since: AtomicU64,
    /// When something last moved between requests.
    quiet_since: AtomicU64,
    replies: Replies,
    closing_since: AtomicU64,
    heard: AtomicBool,
    /// Requests that a service was called with.
    served: AtomicUsize,
    /// Once the guard has refused a message: how many came before it.
    owed: AtomicUsize,
    /// Of `in_flight`, those whose answers have to be taken at the least rate.
    metered: AtomicUsize,
    /// Requests that the caller took back before they were answered.
    taken_back: AtomicUsize,
    /// Bodies of HTTP/2 that are ready, and that the caller leaves no room for.
    offered: AtomicUsize,
    /// The socket takes no more for now.
    blocked: AtomicBool,
    /// Of what the caller takes.
    pace: Pace,
    /// Something that was written may not be out yet.
    unflushed: AtomicBool,
    /// The caller speaks another protocol from here on, and what that carries.
    switched: AtomicBool,
    tunnel: Mutex<Option<Box<dyn Tunnel>>>,
    http2: AtomicBool,
    /// The last request had a body, of which some may be unread or still to come.
    uploads: AtomicBool,
    farewell: AtomicU8,
    /// The socket, where it is to linger.
    left: Mutex<Option<socket2::Socket>>,
    asked: AtomicU8,
    driver: AtomicWaker,
}

impl Connection {
    pub(super) fn new(desk: Arc<Desk>, gate: Arc<Gate>) -> Arc<Self> {
        let now = desk.accepted();
        Arc::new(Self {
            desk,
            gate,
            opened_at: AtomicU64::new(now),
            in_flight: AtomicUsize::new(0),
            head_since: AtomicU64::new(now),
            quiet_since: AtomicU64::new(now),
            replies: Replies::default(),
            closing_since: AtomicU64::new(NONE),
            heard: AtomicBool::new(false),
            served: AtomicUsize::new(0),
            owed: AtomicUsize::new(usize::MAX),
            metered: AtomicUsize::new(0),
            taken_back: AtomicUsize::new(0),
            offered: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            pace: Pace::default(),
            unflushed: AtomicBool::new(false),
            switched: AtomicBool::new(false),
            tunnel: Mutex::new(None),
            http2: AtomicBool::new(false),
            uploads: AtomicBool::new(false),
            farewell: AtomicU8::new(Farewell::Close as u8),
            left: Mutex::new(None),
            asked: AtomicU8::new(Asked::Nothing as u8),
            driver: AtomicWaker::new(),
        })
    }

    /// Ends the connection with the answers that are owed: with `Connection: close`, or with GOAWAY.
    pub fn close(&self) {
        self.ask(Asked::Close);
    }

    /// Ends the connection now, with whatever it carries.
    pub fn cut(&self) {
        self.ask(Asked::Cut);
    }

    /// A request's head is complete; its answer is out when the guard goes.
    /// `metered`: it is to be taken at the least rate.
    pub(super) fn begin(self: &Arc<Self>, uploads: bool, metered: bool) -> InFlight {
        self.uploads.store(uploads, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.served.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(NONE, Ordering::Relaxed);
        if metered {
            self.metered.fetch_add(1, Ordering::Relaxed);
        }
        InFlight { connection: Arc::clone(self), metered, offered: false, answered: false }
    }

    /// A handshake has begun: whoever is that far has something to say.
    pub(super) fn greets(&self) {
        self.opened_at.store(NONE, Ordering::Relaxed);
    }

    /// The handshake is over.
    pub(super) fn greeted(&self) {
        self.opened_at.store(self.desk.now(), Ordering::Relaxed);
    }

    /// Bytes came in.
    pub(super) fn read(&self) {
        self.heard.store(true, Ordering::Relaxed);
        // Frames of HTTP/2 between requests are no head: PING and the like must not keep an unused connection.
        if !self.busy() && !self.is_http2() && !self.head_under_way() {
            self.head_since.store(self.desk.now(), Ordering::Relaxed);
        }
    }

    /// Bytes went out: an answer that hyper has already let go of may still be on its way to a slow reader.
    pub(super) fn wrote(&self, bytes: usize) {
        self.pace.moved(bytes);
        if !self.is_http2() || self.replies.exceeds(bytes) {
            self.quiet();
        }
    }

    /// Whether the socket took what it was given.
    pub(super) fn took(&self, it_did: bool) {
        self.blocked.store(!it_did, Ordering::Relaxed);
    }

    /// The body of a request that has come, where it has to come at the least rate.
    pub fn upload(&self, version: Version, headers: &HeaderMap) -> Option<Arc<Upload>> {
        Upload::new(&self.desk, version, headers)
    }

    /// A stream of HTTP/2 was reset while its answer was being made. Work that is asked for only to be taken back costs the
    /// caller nothing, so there is an end to it.
    fn takes_back(&self) {
        let taken_back = self.taken_back.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_http2() && taken_back >= TAKEN_BACK && 2 * taken_back > self.served.load(Ordering::Relaxed) {
            self.cut();
        }
    }

    fn quiet(&self) {
        self.quiet_since.store(self.desk.now(), Ordering::Relaxed);
    }

    /// Whether the caller keeps us waiting with what is ready for it. Streams of gRPC and what follows an upgrade are left to
    /// the upstream's `idle`.
    fn waits_for_reader(&self) -> bool {
        let left_alone = self.has_switched() || (self.busy() && self.metered.load(Ordering::Relaxed) == 0);
        !left_alone && (self.blocked.load(Ordering::Relaxed) || self.offered.load(Ordering::Relaxed) > 0)
    }

    /// hyper has begun to write, or has written all that it holds: it flushes only then.
    pub(super) fn flushed(&self, all: bool) {
        self.unflushed.store(!all, Ordering::Relaxed);
    }

    /// The guard refused a head after so many messages.
    pub(super) fn refused(&self, after: usize) {
        self.owed.store(after, Ordering::Relaxed);
    }

    /// A head was refused, and every answer that was owed before it is out.
    pub(super) fn may_refuse(&self) -> bool {
        self.served.load(Ordering::Relaxed) >= self.owed.load(Ordering::Relaxed) && !self.busy() && !self.unflushed.load(Ordering::Relaxed)
    }

    pub(super) fn has_switched(&self) -> bool {
        self.switched.load(Ordering::Relaxed)
    }

    /// What it carries since it has switched.
    pub(super) fn tunnel(&self) -> Option<Box<dyn Tunnel>> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The connection opened with HTTP/2's preface.
    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
        self.quiet_since.store(self.desk.now(), Ordering::Relaxed);
    }

    /// On HTTP/2, these frames came. Until the first head is whole, one is awaited, as on HTTP/1.
    pub(super) fn heard(&self, frames: Begun, half: bool) {
        if self.replies.owe(frames) {
            return self.cut();
        }
        if half && !self.head_under_way() {
            self.head_since.store(self.desk.now(), Ordering::Relaxed);
        } else if !half && self.served.load(Ordering::Relaxed) > 0 {
            self.head_since.store(NONE, Ordering::Relaxed);
        }
    }

    /// Its own task's waker, which never changes.
    pub(super) fn driven_by(&self, waker: &Waker) {
        self.driver.register(waker);
    }

    pub(super) fn asked(&self) -> Asked {
        match self.asked.load(Ordering::Relaxed) {
            0 => Asked::Nothing,
            1 => Asked::Close,
            _ => Asked::Cut,
        }
    }

    /// Whether hyper may be told to close without losing a request that is on its way in: it drops half a head without a word,
    /// and under the auto builder whatever came before it knew the protocol.
    pub(super) fn may_close(&self) -> bool {
        self.busy() || self.is_http2() || (self.served.load(Ordering::Relaxed) > 0 && !self.head_under_way())
    }

    pub(super) fn part(&self, how: Farewell) {
        self.farewell.store(how as u8, Ordering::Relaxed);
    }

    pub(super) fn parts(&self, how: Farewell) -> bool {
        self.farewell.load(Ordering::Relaxed) == how as u8
    }

    pub(super) fn leave(&self, socket: socket2::Socket) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    pub(super) fn left(&self) -> Option<socket2::Socket> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn uploads(&self) -> bool {
        self.uploads.load(Ordering::Relaxed)
    }

    pub(super) fn busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    pub(super) fn desk(&self) -> &Desk {
        &self.desk
    }

    fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    fn head_under_way(&self) -> bool {
        self.head_since.load(Ordering::Relaxed) != NONE
    }

    fn ask(&self, what: Asked) {
        if self.asked.fetch_max(what as u8, Ordering::Relaxed) < what as u8 {
            self.closing_since.store(self.desk.now(), Ordering::Relaxed);
            self.driver.wake();
        }
    }

    fn tick_draining(&self, now: u64) {
        if self.may_close() {
            self.ask(Asked::Close);
        } else if !self.heard.load(Ordering::Relaxed) && now.saturating_sub(self.opened_at.load(Ordering::Relaxed)) > FIRST_BYTE {
            self.cut();
        }
    }
}

impl Ticked for Connection {
    fn tick(&self, now: u64) {
        if self.desk.shop.closing.load(Ordering::Relaxed) {
            return self.cut();
        }
        if self.desk.shop.draining.load(Ordering::Relaxed) || self.gate.draining.load(Ordering::Relaxed) {
            self.tick_draining(now);
        }
        self.replies.tick();
        if self.pace.is_slow(now, self.waits_for_reader(), self.desk.patience().rate()) {
            return self.cut();
        }
        let over = |since: &AtomicU64, limit| now.saturating_sub(since.load(Ordering::Relaxed)) > limit;
        let late = self.head_under_way() && over(&self.head_since, self.desk.patience().header());
        if self.busy() {
            // Half a head of HTTP/2 holds up all that comes behind it.
            return if late && self.is_http2() {
                self.cut()
            };
        }
        if late {
            self.ask(if self.is_http2() { Asked::Close } else { Asked::Cut });
        }
        if self.head_under_way() && !self.is_http2() {
            return;
        }
        if self.is_http2() && self.asked() == Asked::Close {
            if over(&self.closing_since, LEAVE) {
                self.cut();
            }
        } else if over(&self.quiet_since, self.desk.patience().idle()) {
            self.ask(if self.is_http2() { Asked::Close } else { Asked::Cut });
        }
    }
}

/// One request in flight.
pub(super) struct InFlight {
    connection: Arc<Connection>,
    metered: bool,
    /// Its answer's body is ready, and waits for the caller to make room.
    offered: bool,
    answered: bool,
}

impl InFlight {
    /// Its answer accepts an upgrade: what comes next is no HTTP/1. The connection is busy until it is gone.
    pub(super) fn switches(&self, to: Option<Box<dyn Tunnel>>) {
        self.connection.switched.store(true, Ordering::Relaxed);
        self.connection.in_flight.fetch_add(1, Ordering::Relaxed);
        *self.connection.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// Its answer has begun.
    pub(super) fn answers(&mut self) {
        self.answered = true;
    }

    /// Whether more of its answer's body is there than the caller has room for: hyper asks a body of HTTP/2 for more when there
    /// is room. On HTTP/1 the socket tells.
    pub(super) fn offers(&mut self, offers: bool) {
        if offers == self.offered || !self.metered || !self.connection.is_http2() {
            return;
        }
        self.offered = offers;
        if offers {
            self.connection.offered.fetch_add(1, Ordering::Relaxed);
        } else {
            self.connection.offered.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.offers(false);
        if !self.answered {
            self.connection.takes_back();
        }
        self.connection.replies.forget();
        self.connection.quiet();
        if self.metered {
            self.connection.metered.fetch_sub(1, Ordering::Relaxed);
        }
        self.connection.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
