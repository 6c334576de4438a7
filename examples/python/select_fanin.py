"""One select over several producers, with a timeout; None disables a channel that has ended."""

import golib
from golib import Chan, RecvChan, go, select


def count(name: str, n: int, seconds: float) -> RecvChan[str]:
    out = Chan[str]()

    def produce() -> None:
        with out:
            for i in range(n):
                golib.sleep(seconds)
                out.send(f"{name} {i}")

    go(produce)
    return out.receiver


@golib.main
def main() -> None:
    sources: list[RecvChan[str] | None] = [count("fast", 6, 0.01), count("slow", 2, 0.03)]
    received = 0
    while any(source is not None for source in sources):
        case, text, ok = select(*sources, timeout=5)
        if ok:
            received += 1
            print(text)
        else:
            sources[case] = None
    print(f"{received} messages")


if __name__ == "__main__":
    main()
