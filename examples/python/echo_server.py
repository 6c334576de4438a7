"""An echo server, and the clients that try it.

`echo_server.py` serves itself a few clients and ends; `echo_server.py 127.0.0.1:7000` serves until Ctrl-C.
"""

import sys

import golib
from golib import net


def echo(conn: net.Conn) -> None:
    while data := conn.read():
        conn.write(data)


def client(addr: tuple[str, int], n: int) -> bytes:
    with net.dial(addr, timeout=5) as conn:
        conn.write(b"hello from %d" % n)
        conn.close_write()
        return b"".join(iter(conn.read, b""))


@golib.main
def main(addr: str | None = None) -> None:
    with net.listen(addr or "127.0.0.1:0") as listener:
        if addr is not None:
            listener.serve(echo)
            return
        server = golib.go(listener.serve, echo)
        with golib.scope() as clients:
            answers = [clients.go(client, listener.addr, n) for n in range(3)]
        for answer in answers:
            print(answer.join().decode())
        listener.shutdown(timeout=5)
        server.join()


if __name__ == "__main__":
    main(*sys.argv[1:2])
