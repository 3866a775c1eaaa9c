//! TLS towards an upstream: whom we believe and look for, who we say we are, which HTTP the two agree on, and files that are replaced
//! while it runs.

use crate::certs::{Authority, Leaf};
use crate::kit::{Running, World, get, said};
use crate::wire::patiently;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a connection's handshake came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shaken {
    asked_for: Option<String>,
    agreed: Option<String>,
    /// The certificate that the gateway showed.
    shown: Option<Vec<u8>>,
}

/// A backend under TLS. It answers with the request's version, `/bye` ends the connection where that can be said, and an upgrade leads to
/// an echo.
struct Upstream {
    address: SocketAddr,
    shaken: Mutex<Vec<Shaken>>,
    versions: Mutex<Vec<Version>>,
    config: Mutex<Arc<ServerConfig>>,
}

impl Upstream {
    async fn start(leaf: &Leaf, alpn: &[&str], wants: Option<&Authority>) -> Arc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let upstream = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            shaken: Mutex::default(),
            versions: Mutex::default(),
            config: Mutex::new(config(leaf, alpn, wants)),
        });
        let this = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(this.clone().serve(stream));
            }
        });
        upstream
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let config = self.config.lock().unwrap().clone();
        let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
        let (_, session) = stream.get_ref();
        self.shaken.lock().unwrap().push(Shaken {
            asked_for: session.server_name().map(str::to_owned),
            agreed: session.alpn_protocol().map(|p| String::from_utf8(p.to_vec()).unwrap()),
            shown: session.peer_certificates().map(|chain| chain[0].to_vec()),
        });
        let answer = service_fn(|request| self.clone().answer(request));
        let _ = Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(TokioIo::new(stream), answer).await;
    }

    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        self.versions.lock().unwrap().push(request.version());
        let mut answer = Response::builder().header("x-version", format!("{:?}", request.version()));
        if let Some(protocol) = request.headers().get("upgrade").cloned() {
            answer = answer.status(StatusCode::SWITCHING_PROTOCOLS).header("upgrade", protocol).header("connection", "upgrade");
            tokio::spawn(async move {
                let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        } else if request.uri().path() == "/bye" && request.version() == Version::HTTP_11 {
            answer = answer.header("connection", "close");
        }
        Ok(answer.body(Full::default()).unwrap())
    }

    fn shows(&self, leaf: &Leaf) {
        *self.config.lock().unwrap() = config(leaf, &[], None);
    }

    fn shaken(&self) -> Vec<Shaken> {
        self.shaken.lock().unwrap().clone()
    }

    fn agreed(&self) -> Vec<Option<String>> {
        self.shaken().into_iter().map(|s| s.agreed).collect()
    }

    /// A gateway before it, by the address, which is asked for as no name; `more` is added to the upstream.
    async fn gateway(&self, more: &str) -> Running {
        let routes = "\n  all: { upstream: stock, audience: orders-api, websocket: true }\n";
        let upstream = format!("workers: 1\nupstreams: {{ stock: {{ endpoints: [\"https://{}\"]{more} }} }}\n", self.address);
        World::new().await.gateway(routes, &upstream).await
    }
}

fn config(leaf: &Leaf, alpn: &[&str], wants: Option<&Authority>) -> Arc<ServerConfig> {
    cambist::tls::install_provider();
    let builder = match wants {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.certificate()).unwrap();
            ServerConfig::builder().with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
        }
    };
    let key = rustls::pki_types::PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
    let mut config = builder.with_single_cert(vec![leaf.certificate.clone()], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn trusting(ca: &Authority, more: &str) -> String {
    format!(", tls: {{ ca_file: {}{more} }}", ca.ca_file())
}

async fn status(g: &Running) -> u16 {
    g.get("/x", &g.token("ada")).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_a_certificate_of_the_own_authority_is_believed_and_nobody_else_is() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let upstream = Upstream::start(&ours.leaf(&["127.0.0.1"]), &[], None).await;
    let g = upstream.gateway(&trusting(&ours, "")).await;
    assert_eq!(status(&g).await, 200);
    assert_eq!(upstream.shaken(), [Shaken::default()], "an address is asked for as no name, and we show nothing");
    let stranger = upstream.gateway(&trusting(&theirs, "")).await;
    let answer = stranger.get("/x", &stranger.token("ada")).await;
    assert_eq!(said(&answer), (502, "upstream_unreachable".into()));
    assert!(!String::from_utf8_lossy(&answer.body).contains("certificate"), "the caller is told none of it");
    let failure = &stranger.gateway.failures()[0];
    assert!(failure.cause.contains("invalid peer certificate") && failure.cause.contains("stock"), "{failure:?}");
    assert!(failure.cure.contains("TLS"), "{failure:?}");
    // The machine's own authorities do not know it either.
    assert_eq!(status(&upstream.gateway("").await).await, 502);
    assert_eq!(upstream.shaken().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_must_name_whom_we_look_for() {
    let ca = Authority::new();
    let upstream = Upstream::start(&ca.leaf(&["stock.internal"]), &[], None).await;
    let g = upstream.gateway(&trusting(&ca, ", server_name: stock.internal")).await;
    assert_eq!(status(&g).await, 200);
    assert_eq!(upstream.shaken()[0].asked_for.as_deref(), Some("stock.internal"));
    for more in ["", ", server_name: other.internal"] {
        let g = upstream.gateway(&trusting(&ca, more)).await;
        assert_eq!(status(&g).await, 502, "{more}");
        let failure = &g.gateway.failures()[0];
        assert!(failure.cause.contains("certificate not valid for name"), "{failure:?}");
    }
    let over = Upstream::start(&ca.leaf_until(&["127.0.0.1"], 2001), &[], None).await;
    let g = over.gateway(&trusting(&ca, "")).await;
    assert_eq!(status(&g).await, 502);
    assert!(g.gateway.failures()[0].cause.contains("expired"), "{:?}", g.gateway.failures());
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_speaks_what_the_two_agree_on() {
    let ca = Authority::new();
    let leaf = ca.leaf(&["127.0.0.1"]);
    for (offers, protocol, agreed, version) in [
        (&["h2", "http/1.1"][..], "auto", Some("h2"), Version::HTTP_2),
        (&["http/1.1", "h2"], "auto", Some("http/1.1"), Version::HTTP_11),
        (&["http/1.1"], "auto", Some("http/1.1"), Version::HTTP_11),
        (&[], "auto", None, Version::HTTP_11),
        (&["h2", "http/1.1"], "http1", Some("http/1.1"), Version::HTTP_11),
        (&["http/1.1", "h2"], "http2", Some("h2"), Version::HTTP_2),
        (&[], "http2", None, Version::HTTP_2),
    ] {
        let upstream = Upstream::start(&leaf, offers, None).await;
        let websocket = if protocol == "http2" { "false" } else { "true" };
        let routes = format!("\n  all: {{ upstream: stock, audience: orders-api, websocket: {websocket} }}\n");
        let tls = trusting(&ca, "");
        let stock = format!("upstreams: {{ stock: {{ endpoints: [\"https://{}\"], protocol: {protocol}{tls} }} }}\n", upstream.address);
        let g = World::new().await.gateway(&routes, &format!("workers: 1\n{stock}")).await;
        for _ in 0..3 {
            assert_eq!(status(&g).await, 200, "{offers:?} {protocol}: {:?}", g.gateway.failures());
        }
        assert_eq!(*upstream.versions.lock().unwrap(), [version; 3], "{offers:?} {protocol}");
        assert_eq!(upstream.agreed(), [agreed.map(str::to_owned)], "one connection: {offers:?} {protocol}");
    }
    let only_http1 = Upstream::start(&leaf, &["http/1.1"], None).await;
    let routes = "\n  all: { upstream: stock, audience: orders-api }\n";
    let stock =
        format!("upstreams: {{ stock: {{ endpoints: [\"https://{}\"], protocol: http2{} }} }}\n", only_http1.address, trusting(&ca, ""));
    let g = World::new().await.gateway(routes, &stock).await;
    assert_eq!(said(&g.get("/x", &g.token("ada")).await), (502, "upstream_unreachable".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn we_show_our_certificate_to_who_wants_it() {
    let (ca, clients) = (Authority::new(), Authority::new());
    let ours = clients.put("gateway", &["gateway.internal"]);
    for alpn in [&[][..], &["h2"]] {
        let upstream = Upstream::start(&ca.leaf(&["127.0.0.1"]), alpn, Some(&clients)).await;
        let shown = format!(", client_certificate: {}", clients.pair("gateway"));
        let g = upstream.gateway(&trusting(&ca, &shown)).await;
        assert_eq!(status(&g).await, 200, "{:?}", g.gateway.failures());
        assert_eq!(upstream.shaken()[0].shown.as_deref(), Some(&*ours.certificate));
        // Under TLS 1.3 a backend that misses one says so after the handshake, when the request may have been sent.
        let g = upstream.gateway(&trusting(&ca, "")).await;
        assert_eq!(status(&g).await, 502);
        let failure = &g.gateway.failures()[0];
        assert!(failure.cause.contains("CertificateRequired"), "{failure:?}");
        assert!(failure.cure.contains("client_certificate"), "{failure:?}");
        assert!(upstream.versions.lock().unwrap().len() == 1, "it served nobody whom it does not know");
    }
}

/// Tries until it comes to `wanted`: files are looked at every two seconds, when a connection is opened.
async fn comes_to(g: &Running, wanted: u16, what: &str) {
    for _ in 0..100 {
        if g.get("/bye", &g.token("ada")).await.status == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never came about: {what}: {:?}", g.gateway.failures());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_in_the_file_is_believed_without_a_restart_and_a_broken_file_changes_nothing() {
    let (old, new) = (Authority::new(), Authority::new());
    let upstream = Upstream::start(&old.leaf(&["127.0.0.1"]), &[], None).await;
    let g = upstream.gateway(&trusting(&old, "")).await;
    comes_to(&g, 200, "the old one is believed").await;
    upstream.shows(&new.leaf(&["127.0.0.1"]));
    comes_to(&g, 502, "the new one is not yet").await;
    std::fs::write(old.ca_file(), std::fs::read(new.ca_file()).unwrap()).unwrap();
    comes_to(&g, 200, "the new one is believed").await;
    std::fs::write(old.ca_file(), "no certificate at all").unwrap();
    let until = std::time::Instant::now() + Duration::from_millis(2500);
    while std::time::Instant::now() < until {
        assert_eq!(g.get("/bye", &g.token("ada")).await.status, 200, "what was good stays in use");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_of_ours_is_shown_without_a_restart() {
    let ca = Authority::new();
    let first = ca.put("gateway", &["gateway.internal"]);
    let upstream = Upstream::start(&ca.leaf(&["127.0.0.1"]), &[], Some(&ca)).await;
    let g = upstream.gateway(&trusting(&ca, &format!(", client_certificate: {}", ca.pair("gateway")))).await;
    comes_to(&g, 200, "it is shown").await;
    let second = ca.put("gateway", &["gateway.internal"]);
    for _ in 0..100 {
        comes_to(&g, 200, "either is good").await;
        if upstream.shaken().last().unwrap().shown.as_deref() == Some(&*second.certificate) {
            assert_eq!(upstream.shaken()[0].shown.as_deref(), Some(&*first.certificate));
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the second certificate is never shown");
}

/// HTTP/2 has no upgrade: it goes on a connection of its own, on which nothing but HTTP/1.1 was offered.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_goes_in_http_1_where_all_else_goes_in_http_2() {
    let ca = Authority::new();
    let upstream = Upstream::start(&ca.leaf(&["127.0.0.1"]), &["h2", "http/1.1"], None).await;
    let g = upstream.gateway(&trusting(&ca, "")).await;
    let token = g.token("ada");
    let upgraded = async || {
        let mut wire = g.wire().await;
        wire.send(get("/ws", &token, &["Connection: Upgrade", "Upgrade: websocket"])).await;
        assert_eq!(wire.stream_head().await.status(), 101);
        wire.send("\0there and back").await;
        let mut echo = [0; 15];
        patiently("the echo", wire.stream.read_exact(&mut echo)).await.unwrap();
        assert_eq!(&echo, b"\0there and back");
        wire
    };
    let first = upgraded().await;
    assert_eq!(status(&g).await, 200);
    let second = upgraded().await;
    assert_eq!(status(&g).await, 200);
    let posted = g.send(Method::POST, "/x", &[("authorization", &format!("Bearer {token}"))], "body").await;
    assert_eq!(posted.status, 200);
    let (h2, h1) = (|| Some("h2".to_owned()), || Some("http/1.1".to_owned()));
    assert_eq!(upstream.agreed(), [h1(), h2(), h1()]);
    let versions = [Version::HTTP_11, Version::HTTP_2, Version::HTTP_11, Version::HTTP_2, Version::HTTP_2];
    assert_eq!(*upstream.versions.lock().unwrap(), versions);
    drop((first, second));
    g.counted("cambist_upgraded_connections{route=\"all\"}", 0.0).await;
}
