//! A small HTTP/1.1 server: keep-alive, pipelining, bodies by length, a time limit for idle clients.
//! Usage: http_server [ADDRESS], else a free port of 127.0.0.1. `/` greets, `/echo` sends the body back,
//! `/stats` counts.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use go_lib::net::{TcpListener, TcpStream};

const MOST_HEAD: u64 = 16 * 1024;
const MOST_BODY: u64 = 1 << 20;
const IDLE: Duration = Duration::from_secs(60);

static REQUESTS: AtomicU64 = AtomicU64::new(0);

struct Request {
    method: String,
    path: String,
    keep_alive: bool,
    body: Vec<u8>,
}

/// What the client did wrong: a status line.
struct Bad(&'static str);

const BAD_REQUEST: Bad = Bad("400 Bad Request");

/// A line without its end; `None` at the end of the stream. A line that fills `head` is too long.
fn line(reader: &mut impl BufRead, head: &mut u64) -> io::Result<Option<Result<String, Bad>>> {
    let mut bytes = Vec::new();
    *head -= reader.take(*head).read_until(b'\n', &mut bytes)? as u64;
    if bytes.pop() != Some(b'\n') {
        let bad = if *head == 0 { Bad("431 Request Header Fields Too Large") } else { BAD_REQUEST };
        return Ok(if bytes.is_empty() && *head > 0 { None } else { Some(Err(bad)) });
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(Some(String::from_utf8(bytes).map_err(|_| BAD_REQUEST)))
}

/// The next request; `None` where the client has ended.
fn request(reader: &mut impl BufRead) -> io::Result<Option<Result<Request, Bad>>> {
    let mut head = MOST_HEAD;
    let first = match line(reader, &mut head)? {
        None => return Ok(None),
        Some(Err(bad)) => return Ok(Some(Err(bad))),
        Some(Ok(first)) => first,
    };
    let mut parts = first.split(' ');
    let (Some(method), Some(path), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Ok(Some(Err(BAD_REQUEST)));
    };
    if !path.starts_with('/') || !method.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(Some(Err(BAD_REQUEST)));
    }
    let mut keep_alive = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return Ok(Some(Err(Bad("505 HTTP Version Not Supported")))),
    };
    let mut length = 0;
    loop {
        let field = match line(reader, &mut head)? {
            None => return Ok(Some(Err(BAD_REQUEST))),
            Some(Err(bad)) => return Ok(Some(Err(bad))),
            Some(Ok(field)) => field,
        };
        if field.is_empty() {
            break;
        }
        let Some((name, value)) = field.split_once(':') else { return Ok(Some(Err(BAD_REQUEST))) };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "connection" if value.eq_ignore_ascii_case("close") => keep_alive = false,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => keep_alive = true,
            "content-length" => match value.parse() {
                Ok(n) if n <= MOST_BODY => length = n,
                Ok(_) => return Ok(Some(Err(Bad("413 Content Too Large")))),
                Err(_) => return Ok(Some(Err(BAD_REQUEST))),
            },
            "transfer-encoding" => return Ok(Some(Err(Bad("501 Not Implemented")))),
            _ => (),
        }
    }
    let mut body = vec![0; length as usize];
    reader.read_exact(&mut body)?;
    Ok(Some(Ok(Request { method: method.into(), path: path.into(), keep_alive, body })))
}

fn answer(out: &mut Vec<u8>, status: &str, body: &[u8], keep_alive: bool) {
    let connection = if keep_alive { "" } else { "Connection: close\r\n" };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{connection}\r\n", body.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

fn handle(request: &Request, out: &mut Vec<u8>) {
    let requests = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
    let (status, body) = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/") => ("200 OK", b"Hello, world!\n".to_vec()),
        ("POST", "/echo") => ("200 OK", request.body.clone()),
        ("GET", "/stats") => ("200 OK", format!("{requests} requests\n").into_bytes()),
        (_, "/" | "/echo" | "/stats") => ("405 Method Not Allowed", Vec::new()),
        _ => ("404 Not Found", b"not found\n".to_vec()),
    };
    answer(out, status, &body, request.keep_alive);
}

fn serve(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let mut reader = BufReader::new(stream);
    let mut out = Vec::new();
    loop {
        let keep_alive = match request(&mut reader)? {
            None => return Ok(()),
            Some(Ok(request)) => {
                handle(&request, &mut out);
                request.keep_alive
            }
            Some(Err(Bad(status))) => {
                answer(&mut out, status, b"", false);
                false
            }
        };
        // The answers to requests that came together leave together.
        if !keep_alive || reader.buffer().is_empty() || out.len() > 64 * 1024 {
            (&*stream).write_all(&out)?;
            out.clear();
        }
        if !keep_alive {
            stream.shutdown(std::net::Shutdown::Write)?;
            // What is still under way from a client that was refused must not become a reset.
            io::copy(&mut reader.take(MOST_BODY), &mut io::sink())?;
            return Ok(());
        }
    }
}

#[go_lib::main]
fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        go_lib::go!(move || match serve(&stream) {
            Err(e) if !matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::ConnectionReset) => {
                eprintln!("http: {e}");
            }
            _ => (),
        });
    }
    Ok(())
}
