"""`python -m golib [--thread] [-m module | -c code | script] args…`: runs a program as the main goroutine, patched."""

from golib._program import main

if __name__ == "__main__":  # importing it runs nothing
    main()
