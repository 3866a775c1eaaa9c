//! The header of the PROXY protocol, versions 1 and 2, with which a load balancer says whose connection it hands on. It takes not
//! a byte more than the header, refuses what is not exactly one, and believes nobody by itself: who may send it is asked before.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// The caller's.
    pub(super) address: SocketAddr,
    /// Ours.
    pub(super) local: SocketAddr,
}

/// Version 2 begins with it, and no other protocol does.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;
/// Of what follows the first 16 bytes of version 2. Addresses take 36; the rest is what load balancers tell besides.
const LONGEST_REST: usize = 4096;

/// `None`: the connection is the load balancer's own, or it does not know whose it is; the socket's ends hold.
pub(super) async fn header(stream: &mut TcpStream) -> io::Result<Option<Ends>> {
    // Both versions are longer than that.
    let mut begin = [0; SIGNATURE.len()];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [version, family, high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > LONGEST_REST {
            return Err(malformed("a header of version 2 that is longer than 4 KiB"));
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return second(version, family, &rest).map_err(malformed);
    }
    if !begin.starts_with(b"PROXY ") {
        return Err(malformed("no header of the PROXY protocol"));
    }
    first(&line(stream, &begin).await?).map_err(malformed)
}

/// Reads on to the end of the line, and returns it without that.
async fn line(stream: &mut TcpStream, begin: &[u8]) -> io::Result<Vec<u8>> {
    let mut line = begin.to_vec();
    let mut ahead = [0; LONGEST_LINE];
    loop {
        // Looked at before it is taken: what follows the line is not ours.
        let n = stream.peek(&mut ahead[..LONGEST_LINE - line.len()]).await?;
        let end = ahead[..n].iter().position(|byte| *byte == b'\n');
        let take = end.map_or(n, |at| at + 1);
        stream.read_exact(&mut ahead[..take]).await?;
        line.extend_from_slice(&ahead[..take]);
        match end {
            Some(_) if line.ends_with(b"\r\n") => {
                line.truncate(line.len() - 2);
                return Ok(line);
            }
            Some(_) => return Err(malformed("a line of version 1 that ends with a bare LF")),
            None if n == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            None if line.len() == LONGEST_LINE => return Err(malformed("a line of version 1 that is too long")),
            None => {}
        }
    }
}

type Read = Result<Option<Ends>, &'static str>;

fn first(line: &[u8]) -> Read {
    const WORDS: &str = "a line of version 1 that is not `PROXY TCP4|TCP6 address address port port`";
    let line = std::str::from_utf8(line).map_err(|_| WORDS)?;
    let rest = line.strip_prefix("PROXY ").ok_or(WORDS)?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let [family, source, destination, from, to] = rest.split(' ').collect::<Vec<_>>()[..] else { return Err(WORDS) };
    let address = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| WORDS),
        "TCP6" => text.parse().map(IpAddr::V6).map_err(|_| WORDS),
        _ => Err(WORDS),
    };
    let port = |text: &str| match text.parse::<u16>() {
        // Rust would take a sign and leading zeros.
        Ok(port) if port.to_string() == text => Ok(port),
        _ => Err(WORDS),
    };
    Ok(Some(ends((address(source)?, port(from)?), (address(destination)?, port(to)?))))
}

fn second(version: u8, family: u8, rest: &[u8]) -> Read {
    match version {
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err("a header of version 2 with an unknown version or command"),
    }
    const SHORT: &str = "a header of version 2 that is too short for its addresses";
    let (found, length) = match family {
        0x11 => {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = *rest.first_chunk().ok_or(SHORT)?;
            let (source, destination) = (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h));
            (ends((source.into(), u16::from_be_bytes([i, j])), (destination.into(), u16::from_be_bytes([k, l]))), 12)
        }
        0x21 => {
            let (source, more) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let (destination, more) = more.split_first_chunk::<16>().ok_or(SHORT)?;
            let [i, j, k, l] = *more.first_chunk().ok_or(SHORT)?;
            let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
            (ends((source.into(), u16::from_be_bytes([i, j])), (destination.into(), u16::from_be_bytes([k, l]))), 36)
        }
        // Unspecified, or a UNIX socket: a connection, but of nobody with an address.
        0x00 | 0x31 => return Ok(None),
        _ => return Err("a header of version 2 of an unknown family, or not of a stream"),
    };
    fields(rest.get(length..).unwrap_or_default())?;
    Ok(Some(found))
}

/// Passes over what a load balancer tells besides: a type, a length, and so many bytes, again and again.
fn fields(mut rest: &[u8]) -> Result<(), &'static str> {
    const BROKEN: &str = "a header of version 2 with a field that is longer than the header";
    while !rest.is_empty() {
        let [_, high, low] = *rest.first_chunk().ok_or(BROKEN)?;
        rest = rest.get(3 + usize::from(u16::from_be_bytes([high, low]))..).ok_or(BROKEN)?;
    }
    Ok(())
}

fn ends(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Ends {
    let plain = |(ip, port): (IpAddr, u16)| SocketAddr::new(ip.to_canonical(), port);
    Ends { address: plain(source), local: plain(destination) }
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    /// What is read of `bytes`, sent in pieces, and what is left of them for HTTP.
    async fn read(bytes: &[u8], piece: usize) -> (io::Result<Option<Ends>>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        caller.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let sending = async {
            for piece in bytes.chunks(piece) {
                // Whoever has heard enough hangs up.
                let _ = caller.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = caller.shutdown().await;
        };
        let reading = async {
            let found = header(&mut stream).await;
            let mut left = Vec::new();
            if found.is_ok() {
                stream.read_to_end(&mut left).await.unwrap();
            }
            (found, left)
        };
        tokio::join!(sending, reading).1
    }

    fn v2(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut all = SIGNATURE.to_vec();
        all.extend([version, family]);
        all.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        all.extend(rest);
        all
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x9c, 0x40, 0, 80];

    fn v6() -> Vec<u8> {
        let (from, to): (Ipv6Addr, Ipv6Addr) = ("2001:db8::7".parse().unwrap(), "fd00::1".parse().unwrap());
        [&from.octets()[..], &to.octets()[..], &[0x9c, 0x40, 0, 80]].concat()
    }

    fn said(ends: Ends) -> String {
        format!("{} {}", ends.address, ends.local)
    }

    #[tokio::test]
    async fn what_load_balancers_say_is_read_and_not_a_byte_more() {
        let with_fields = |more: &[u8]| v2(0x21, 0x11, &[&V4[..], more].concat());
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_LINE - 16));
        let corpus: Vec<(Vec<u8>, &str)> = vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\n".to_vec(), "192.0.2.7:40000 10.0.0.1:80"),
            (b"PROXY TCP6 2001:db8::7 fd00::1 40000 80\r\n".to_vec(), "[2001:db8::7]:40000 [fd00::1]:80"),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 0 65535\r\n".to_vec(), "192.0.2.7:0 10.0.0.1:65535"),
            (b"PROXY UNKNOWN\r\n".to_vec(), ""),
            (b"PROXY UNKNOWN ffff:f:f x y z\r\n".to_vec(), ""),
            (long.into_bytes(), ""),
            (with_fields(&[]), "192.0.2.7:40000 10.0.0.1:80"),
            (with_fields(&[4, 0, 0]), "192.0.2.7:40000 10.0.0.1:80"),
            (with_fields(&[4, 0, 2, 1, 2, 0xea, 0, 1, 9]), "192.0.2.7:40000 10.0.0.1:80"),
            (with_fields(&[&[4, 0x0f, 0xf1][..], &[0; 0x0ff1]].concat()), "192.0.2.7:40000 10.0.0.1:80"),
            (v2(0x21, 0x21, &v6()), "[2001:db8::7]:40000 [fd00::1]:80"),
            (v2(0x20, 0x00, &[]), ""),
            (v2(0x20, 0x11, &V4), ""),
            (v2(0x20, 0xff, b"whatever"), ""),
            (v2(0x21, 0x00, &[1, 2, 3]), ""),
            (v2(0x21, 0x31, &[0; 216]), ""),
        ];
        for (header, wanted) in corpus {
            for piece in [1, 7, 5000] {
                let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
                let (found, left) = read(&bytes, piece).await;
                let found = found.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&header)));
                assert_eq!(found.map(said).unwrap_or_default(), wanted, "{}", String::from_utf8_lossy(&header));
                assert_eq!(left, b"GET / HTTP/1.1\r\n");
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_exactly_a_header_is_refused() {
        let too_long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_LINE - 15));
        let mut corpus: Vec<Vec<u8>> = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 40000 80 90\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 40000 80 \r\n",
            "PROXY  TCP4 192.0.2.7 10.0.0.1 40000 80\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +4000 80\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 04000 80\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 40000 80\r\n",
            "PROXY TCP4 2001:db8::7 fd00::1 40000 80\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 40000 80\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 40000 80\r\n",
            "PROXY UNKNOWNX\r\nGET",
            "proxy TCP4 192.0.2.7 10.0.0.1 40000 80\r\n",
            "PROXY TCP4 192.0.2.7",
            "PROXY",
            &too_long,
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec();
        corpus.extend([
            v2(0x11, 0x11, &V4),
            v2(0x22, 0x11, &V4),
            v2(0x21, 0x12, &V4),
            v2(0x21, 0x41, &V4),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x21, &V4),
            v2(0x21, 0x11, &[&V4[..], &[4, 0]].concat()),
            v2(0x21, 0x11, &[&V4[..], &[4, 0, 3, 1, 2]].concat()),
            v2(0x21, 0x11, &[0; LONGEST_REST + 1]),
            v2(0x21, 0x11, &V4)[..20].to_vec(),
            SIGNATURE.to_vec(),
        ]);
        for bytes in corpus {
            for piece in [1, 5000] {
                assert!(read(&bytes, piece).await.0.is_err(), "{}", String::from_utf8_lossy(&bytes));
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_confuse_it(version in any::<u8>(), family in any::<u8>(), rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (second(version, family, &rest), second(0x21, 0x11, &rest), second(0x21, 0x21, &rest), first(&rest));
        }
    }
}
