//! Asks a health endpoint, as a container's health check without curl.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use kcl_examples::AnyError;

const PATIENCE: Duration = Duration::from_secs(3);

/// # Errors
/// Nobody answers, or not with 200.
pub(crate) fn ask(url: &str) -> Result<(), AnyError> {
    let (address, path) =
        parts(url).ok_or_else(|| format!("{url} is no URL like http://127.0.0.1:8080/live"))?;
    let resolved = address.to_socket_addrs()?.next();
    let resolved = resolved.ok_or_else(|| format!("{address} has no address"))?;
    let mut stream = TcpStream::connect_timeout(&resolved, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer)?;
    match answer.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        _ => Err(answer
            .lines()
            .last()
            .unwrap_or("nothing was answered")
            .to_owned()
            .into()),
    }
}

/// Host with port, and path.
fn parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let slash = rest.find('/')?;
    let (address, path) = rest.split_at(slash);
    let port = address.rsplit_once(':')?.1;
    port.parse::<u16>().ok().map(|_| (address, path))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_what_can_be_asked_for_is_a_url() {
        assert_eq!(
            parts("http://127.0.0.1:8080/live"),
            Some(("127.0.0.1:8080", "/live"))
        );
        assert_eq!(parts("http://[::1]:8080/"), Some(("[::1]:8080", "/")));
        for url in [
            "127.0.0.1:8080/live",
            "https://a:1/",
            "http://a/live",
            "http://a:80",
            "http://a:b/",
        ] {
            assert_eq!(parts(url), None, "{url}");
        }
    }

    #[test]
    fn only_200_is_well() {
        for (status, is_well) in [("200 OK", true), ("503 Service Unavailable", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/live", listener.local_addr().unwrap());
            let answering = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 512];
                let read = stream.read(&mut asked).unwrap();
                assert!(asked[..read].starts_with(b"GET /live HTTP/1.1\r\n"));
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nwell").unwrap();
            });
            assert_eq!(ask(&url).is_ok(), is_well);
            answering.join().unwrap();
            assert!(ask(&url).is_err(), "nobody answers any more");
        }
    }
}
