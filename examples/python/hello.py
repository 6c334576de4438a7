"""Two goroutines greet through one channel."""

import golib
from golib import Chan, go


def greet(name: str, out: Chan[str]) -> None:
    out.send(f"hello, {name}")


@golib.main
def main() -> None:
    out = Chan[str]()
    for name in ("goroutine", "world"):
        go(greet, name, out)
    print(sorted([out.recv(), out.recv()]))


if __name__ == "__main__":
    main()
