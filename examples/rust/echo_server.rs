//! Sends back what each connection sends. Usage: echo_server [ADDRESS], else a free port of 127.0.0.1.
//!
//! A goroutine for each connection; Ctrl-C ends the process, as it would without go-lib.

use std::io::{self, Write};

use go_lib::net::{TcpListener, TcpStream};

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        let n = stream.read(&mut buf)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n])?;
    }
}

#[go_lib::main]
fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        go_lib::go!(move || {
            if let Err(e) = echo(stream) {
                eprintln!("echo: {e}");
            }
        });
    }
    Ok(())
}
