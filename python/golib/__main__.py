"""`python -m golib [--thread] [-m module | -c code | script] args…`: runs a program as the main goroutine, patched."""

from golib._program import main

main()
