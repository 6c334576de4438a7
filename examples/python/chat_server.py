"""A chat: what one client writes, the others read. Each client has two goroutines and a channel.

`chat_server.py` plays a conversation and ends; `chat_server.py 127.0.0.1:7000` serves until Ctrl-C (try it with nc).
"""

import sys

import golib
from golib import net


class Room:
    """Who is there: the channel of each client's writer."""

    def __init__(self) -> None:
        self.clients: dict[str, golib.Chan[bytes]] = {}

    def say(self, sender: str, text: str) -> None:
        line = f"{sender}: {text}\n".encode()
        for name, client in list(self.clients.items()):
            if name != sender:
                client.try_send(line)  # one that is too slow misses lines, and stops nobody

    def handle(self, conn: net.Conn) -> None:
        name = conn.readline(limit=100).decode().strip()
        with golib.Chan[bytes](64) as lines:
            self.clients[name] = lines
            lines.send(f"welcome, {name}\n".encode())
            writer = golib.go(self.write, conn, lines)
            self.say(name, "is here")
            try:
                while line := conn.readline():
                    self.say(name, line.decode(errors="replace").strip())
            finally:
                del self.clients[name]
                self.say(name, "has left")
        writer.join()

    @staticmethod
    def write(conn: net.Conn, lines: golib.Chan[bytes]) -> None:
        try:
            for line in lines:
                conn.write(line)
        except OSError:
            pass  # the reader sees the end, too


def converse(addr: tuple[str, int]) -> None:
    with net.dial(addr) as anna, net.dial(addr) as ben:
        for client, name in ((anna, b"anna"), (ben, b"ben")):
            client.write(name + b"\n")
            print(client.readline().decode(), end="")
        print(anna.readline().decode(), end="")
        ben.write(b"good morning\n")
        print(anna.readline().decode(), end="")
        ben.close_write()
        print(anna.readline().decode(), end="")


@golib.main
def main(addr: str | None = None) -> None:
    room = Room()
    with net.listen(addr or "127.0.0.1:0") as listener:
        if addr is not None:
            listener.serve(room.handle)
            return
        server = golib.go(listener.serve, room.handle)
        converse(listener.addr)
        listener.shutdown(timeout=5)
        server.join()


if __name__ == "__main__":
    main(*sys.argv[1:2])
